"""Requesting evaluations of encoders."""

from typing import Any

import pytest

from catalog.errors import Refused
from catalog.models import Encoder, EncoderState, Evaluation, EvaluationSet, EvaluationState
from catalog.services.encoders.evaluations import evaluation_request, evaluations_ensure
from tests.helpers.encoder_rows import embed_all, evaluation_set_of
from tests.helpers.errors import raises_code
from tests.helpers.factories import make_encoder, make_item, make_item_photo

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def live() -> Encoder:
    return make_encoder("live", state=EncoderState.LIVE)


@pytest.fixture
def chosen() -> EvaluationSet:
    return evaluation_set_of(make_item_photo())


def test_requesting_an_evaluation_is_idempotent(
    live: Encoder, chosen: EvaluationSet, django_capture_on_commit_callbacks: Any
) -> None:
    encoder = make_encoder()
    with django_capture_on_commit_callbacks() as sent:
        first = evaluation_request(encoder=encoder, against=live)
        assert evaluation_request(encoder=encoder, against=live, again=True) == first  # still queued
    assert len(sent) == 1
    assert (first.evaluation_set, first.state) == (chosen, EvaluationState.QUEUED)
    assert evaluation_request(encoder=encoder) != first  # alone


def test_an_ended_evaluation_is_only_repeated_on_request(live: Encoder, chosen: EvaluationSet) -> None:
    encoder = make_encoder()
    ended = {"state": EvaluationState.FAILED, "reason": "The disk is full.", "attempts": 2}
    row = Evaluation.objects.create(encoder=encoder, against=live, evaluation_set=chosen, **ended)
    assert evaluation_request(encoder=encoder, against=live).state == EvaluationState.FAILED
    again = evaluation_request(encoder=encoder, against=live, again=True)
    assert (again.pk, again.state, again.reason, again.attempts) == (row.pk, EvaluationState.QUEUED, "", 0)


def test_an_encoder_is_not_compared_with_itself_or_another_kind(live: Encoder, chosen: EvaluationSet) -> None:
    for encoder in (live, make_encoder(kind="classifier")):
        with raises_code(Refused, "evaluation_kind", encoder):
            evaluation_request(encoder=encoder, against=live)


def test_a_request_on_a_small_catalogue_is_refused(live: Encoder) -> None:
    with raises_code(Refused, "no_evaluation_set"):
        evaluation_request(encoder=make_encoder(), against=live)
    assert evaluations_ensure() == []


def test_complete_candidates_are_compared_and_candidate_classifiers_measured_once(
    live: Encoder, chosen: EvaluationSet
) -> None:
    complete = make_encoder("complete")
    embed_all(complete)
    make_encoder("retired", state=EncoderState.RETIRED)
    classifier = make_encoder("labels", kind="classifier")
    requested = {(evaluation.encoder, evaluation.against) for evaluation in evaluations_ensure()}
    assert requested == {(complete, live), (classifier, None)}
    Evaluation.objects.update(state=EvaluationState.FAILED)
    assert evaluations_ensure() == []


def test_a_candidate_is_compared_once_it_has_embedded_every_photo(live: Encoder, chosen: EvaluationSet) -> None:
    candidate = make_encoder()
    assert evaluations_ensure() == []
    embed_all(candidate)
    assert [evaluation.encoder for evaluation in evaluations_ensure()] == [candidate]


def test_after_a_promotion_candidates_are_compared_with_the_new_live_encoder(
    live: Encoder, chosen: EvaluationSet
) -> None:
    candidate = make_encoder()
    embed_all(candidate)
    evaluations_ensure()
    live.state = EncoderState.RETIRED
    live.save()
    other = make_encoder(state=EncoderState.LIVE)
    assert [evaluation.against for evaluation in evaluations_ensure()] == [other]


def test_without_a_live_encoder_candidates_are_not_compared(chosen: EvaluationSet) -> None:
    embed_all(make_encoder())
    assert evaluations_ensure() == []


def test_the_first_comparison_draws_the_evaluation_set(live: Encoder) -> None:
    candidate = make_encoder()
    for _ in range(6):
        make_item_photo(make_item(category="Dress"))
    embed_all(candidate)
    (evaluation,) = evaluations_ensure()
    assert evaluation.evaluation_set == EvaluationSet.current()
