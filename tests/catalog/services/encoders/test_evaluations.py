"""Which evaluations are requested, and when."""

from typing import Any

import pytest

from catalog.errors import Refused
from catalog.models import Encoder, EncoderState, Evaluation, EvaluationSet, EvaluationState
from catalog.services.encoders.evaluations import evaluation_request, evaluations_ensure
from tests.helpers.encoder_rows import embed_all, evaluation_set_of
from tests.helpers.factories import make_encoder, make_item, make_item_photo

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def live() -> Encoder:
    return make_encoder("live", state=EncoderState.LIVE)


@pytest.fixture
def chosen() -> EvaluationSet:
    return evaluation_set_of(make_item_photo())


def test_a_request_is_one_row_and_one_message_however_often_it_is_made(
    live: Encoder, chosen: EvaluationSet, django_capture_on_commit_callbacks: Any
) -> None:
    encoder = make_encoder()
    with django_capture_on_commit_callbacks() as sent:
        first = evaluation_request(encoder=encoder, against=live)
        assert evaluation_request(encoder=encoder, against=live, again=True) == first  # it waits already
    assert len(sent) == 1
    assert (first.evaluation_set, first.state) == (chosen, EvaluationState.QUEUED)
    assert evaluation_request(encoder=encoder) != first  # alone


def test_what_has_ended_stays_unless_it_is_asked_for_again(live: Encoder, chosen: EvaluationSet) -> None:
    encoder = make_encoder()
    ended = {"state": EvaluationState.FAILED, "reason": "The disk is full.", "attempts": 2}
    row = Evaluation.objects.create(encoder=encoder, against=live, evaluation_set=chosen, **ended)
    assert evaluation_request(encoder=encoder, against=live).state == EvaluationState.FAILED
    again = evaluation_request(encoder=encoder, against=live, again=True)
    assert (again.pk, again.state, again.reason, again.attempts) == (row.pk, EvaluationState.QUEUED, "", 0)


def test_encoders_of_two_kinds_or_one_with_itself_are_not_compared(live: Encoder, chosen: EvaluationSet) -> None:
    for encoder in (live, make_encoder(kind="classifier")):
        with pytest.raises(Refused) as refusal:
            evaluation_request(encoder=encoder, against=live)
        assert refusal.value.code == "evaluation_kind"


def test_without_anything_to_measure_on_the_request_is_refused(live: Encoder) -> None:
    with pytest.raises(Refused) as refusal:
        evaluation_request(encoder=make_encoder(), against=live)
    assert refusal.value.code == "no_evaluation_set"
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


def test_a_candidate_that_lacks_vectors_waits_for_them(live: Encoder, chosen: EvaluationSet) -> None:
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


def test_a_candidate_at_a_site_without_a_live_encoder_has_nobody_to_be_compared_with(chosen: EvaluationSet) -> None:
    embed_all(make_encoder())
    assert evaluations_ensure() == []


def test_the_first_comparison_draws_the_evaluation_set(live: Encoder) -> None:
    candidate = make_encoder()
    for _ in range(6):
        make_item_photo(make_item(category="Dress"))
    embed_all(candidate)
    (evaluation,) = evaluations_ensure()
    assert evaluation.evaluation_set == EvaluationSet.current()
