"""Release status of encoders: what can be done with one, and what to compare it with."""

from pathlib import Path

import pytest
from pytest_django import Settings

from catalog.models import EncoderState, Evaluation, EvaluationSet, EvaluationState, Promotion
from catalog.services.encoders.evaluations import comparison_candidate, evaluation_against, latest_evaluation
from catalog.services.encoders.release_status import coverage_percent, coverage_text, release_status
from tests.helpers.factories import make_encoder, make_item_photo

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture(autouse=True)
def encoder_dirs(tmp_path: Path, settings: Settings) -> None:
    settings.ENCODER_DIRS = [tmp_path / "encoders"]


def test_a_candidate_with_a_blocking_objection_cannot_be_promoted() -> None:
    make_encoder(state=EncoderState.LIVE)
    make_item_photo()
    status = release_status(make_encoder())  # it has no folder
    assert (status.can_promote, status.needs_reason, status.is_changing) == (False, True, True)
    assert status.rollback_target is None


def test_the_live_encoder_has_no_objections_and_names_the_rollback_target() -> None:
    live, previous = make_encoder(state=EncoderState.LIVE), make_encoder()
    Promotion.objects.create(encoder=live, encoder_name=live.name, previous=previous, previous_name=previous.name)
    status = release_status(live)
    assert (status.objections, status.rollback_target, status.is_changing) == ([], previous, False)


def test_a_classifier_has_neither_coverage_nor_objections() -> None:
    status = release_status(make_encoder(kind="classifier"))
    assert (status.coverage, status.objections, status.comparison) == (None, [], None)


def test_an_encoder_is_compared_with_the_live_one_and_the_live_one_with_its_last_opponent() -> None:
    live, other = make_encoder(state=EncoderState.LIVE), make_encoder()
    assert comparison_candidate(other) == live
    assert comparison_candidate(live) is None
    drawn = EvaluationSet.objects.create(name="set")
    Evaluation.objects.create(encoder=live, against=other, evaluation_set=drawn)
    assert comparison_candidate(live) == other


def test_an_evaluation_on_the_current_set_is_preferred() -> None:
    encoder, other = make_encoder(), make_encoder()
    current, past = (EvaluationSet.objects.create(name=str(flag), is_current=flag) for flag in (True, False))
    preferred, _ = (
        Evaluation.objects.create(
            encoder=encoder, against=other, evaluation_set=evaluation_set, state=EvaluationState.DONE
        )
        for evaluation_set in (current, past)
    )
    assert latest_evaluation(encoder) == evaluation_against(encoder, other) == preferred
    assert evaluation_against(encoder, None) is None


@pytest.mark.parametrize(
    ("embedded", "photos", "per_minute", "text", "percent"),
    [
        (3000, 4000, 350.0, "3,000 of 4,000 photos, 350 a minute, 3 min left", 75),
        (3999, 4000, 0.0, "3,999 of 4,000 photos", 99),
        (4000, 4000, 350.0, "4,000 of 4,000 photos", 100),
        (0, 0, 0.0, "0 of 0 photos", 100),
        (0, 50_000, 100.0, "0 of 50,000 photos, 100 a minute, 8.3 hours left", 0),
        (99, 100, 350.0, "99 of 100 photos, 350 a minute, less than a minute left", 99),
    ],
)
def test_coverage_as_text_and_percentage(
    embedded: int, photos: int, per_minute: float, text: str, percent: int
) -> None:
    assert (coverage_text(embedded, photos, per_minute), coverage_percent(embedded, photos)) == (text, percent)
