"""Promoting, rolling back, retiring, restoring and deleting encoders."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone
from pytest_django import Settings

from catalog.errors import Refused
from catalog.models import Embedding, Encoder, EncoderState, Evaluation, EvaluationState, Promotion
from catalog.services.encoders.release import (
    encoder_coverage,
    encoder_delete,
    encoder_dependents,
    encoder_promote,
    encoder_restore,
    encoder_retire,
    encoder_roll_back,
)
from tests.helpers.api import run_concurrently
from tests.helpers.encoder_rows import embed_all, encoder_in, evaluation_set_of
from tests.helpers.errors import raises_code
from tests.helpers.factories import make_embedding, make_encoder, make_item_photo, make_query, make_run, make_user, unit

pytestmark = [pytest.mark.django_db, pytest.mark.database]

REASON = "Its training data were wrong."


@pytest.fixture(autouse=True)
def encoder_dir(tmp_path: Path, settings: Settings) -> Path:
    settings.ENCODER_DIRS = [tmp_path / "own", tmp_path / "shipped"]
    return tmp_path / "own"


@pytest.fixture
def first(encoder_dir: Path) -> Encoder:
    """The live encoder, with all its embeddings."""
    make_item_photo()
    encoder = encoder_in(encoder_dir, "first")
    encoder_promote(encoder=encoder)
    embed_all(encoder)
    return Encoder.objects.get()


@pytest.fixture
def second(first: Encoder, encoder_dir: Path) -> Encoder:
    """A candidate without objections."""
    encoder = encoder_in(encoder_dir, "second")
    embed_all(encoder)
    chosen = evaluation_set_of(make_embedding(first, unit(1)).photo)
    embed_all(encoder)
    Evaluation.objects.create(encoder=encoder, against=first, evaluation_set=chosen, state=EvaluationState.DONE)
    return encoder


def states() -> dict[str, str]:
    return dict(Encoder.objects.values_list("name", "state"))


def test_the_first_encoder_goes_live_even_before_the_catalogue_is_embedded(encoder_dir: Path) -> None:
    make_item_photo()
    encoder = encoder_in(encoder_dir, "first")
    promotion = encoder_promote(encoder=encoder)
    assert promotion is not None
    assert (promotion.encoder, promotion.previous, promotion.gate) == (encoder, None, [])
    assert Encoder.objects.live() == encoder


def test_a_promotion_changes_the_live_encoder_and_records_who_when_and_why(first: Encoder, second: Encoder) -> None:
    user = make_user()
    before = timezone.now()
    promotion = encoder_promote(encoder=second, by=user, reason=" Better at dresses. ")
    assert promotion is not None
    assert states() == {"first": EncoderState.RETIRED, "second": EncoderState.LIVE}
    assert (promotion.by, promotion.reason, promotion.previous_name) == (user, "Better at dresses.", "first")
    assert promotion.at >= before
    assert first.embeddings.count() == 2
    assert first in Encoder.objects.in_use()


def test_promoting_the_live_encoder_changes_nothing(first: Encoder) -> None:
    assert encoder_promote(encoder=first) is None
    assert Promotion.objects.count() == 1


def test_an_objection_needs_a_written_reason_and_is_recorded(first: Encoder, second: Encoder) -> None:
    Evaluation.objects.all().delete()
    for reason in ("", "because", " " * 30):
        with raises_code(Refused, "gate", "second", "first") as refusal:
            encoder_promote(encoder=second, reason=reason)
        assert refusal.value.status == 409
    assert states()["first"] == EncoderState.LIVE
    promotion = encoder_promote(encoder=second, reason=REASON)
    assert promotion is not None
    assert [objection["code"] for objection in promotion.gate] == ["not_compared"]


def test_no_reason_overrides_missing_embeddings(first: Encoder, second: Encoder) -> None:
    second.embeddings.all()[0].delete()
    with raises_code(Refused, "gate", "1 photo ") as refusal:
        encoder_promote(encoder=second, reason=REASON)
    assert "reason" not in refusal.value.detail
    assert Encoder.objects.live() == first


def test_no_reason_overrides_changed_files(first: Encoder, second: Encoder, encoder_dir: Path) -> None:
    (encoder_dir / "second" / "weights.safetensors").write_bytes(b"changed")
    with raises_code(Refused, "gate", "weights.safetensors"):
        encoder_promote(encoder=second, reason=REASON)
    assert Encoder.objects.live() == first


def test_a_deleted_encoder_is_not_promoted(first: Encoder, second: Encoder) -> None:
    Encoder.objects.filter(pk=second.pk).delete()
    with raises_code(Refused, "encoder_gone", "second") as refusal:
        encoder_promote(encoder=second)
    assert refusal.value.status == 404


def test_a_roll_back_restores_the_previous_encoder_and_can_be_undone(first: Encoder, second: Encoder) -> None:
    encoder_promote(encoder=second)
    promotion = encoder_roll_back(reason=REASON)
    assert states() == {"first": EncoderState.LIVE, "second": EncoderState.RETIRED}
    assert (promotion.encoder, promotion.previous, promotion.is_rollback) == (first, second, True)
    assert encoder_roll_back().encoder == second


def test_a_roll_back_needs_no_comparison_and_records_missing_embeddings(first: Encoder, second: Encoder) -> None:
    encoder_promote(encoder=second)
    make_embedding(second, unit(1))
    assert [objection["code"] for objection in encoder_roll_back().gate] == ["coverage"]
    assert Encoder.objects.live() == first


def test_the_first_encoder_cannot_be_rolled_back(first: Encoder) -> None:
    with raises_code(Refused, "nothing_to_roll_back"):
        encoder_roll_back()


def test_a_site_without_encoders_cannot_be_rolled_back() -> None:
    with raises_code(Refused, "nothing_to_roll_back"):
        encoder_roll_back()


def test_a_roll_back_to_an_unusable_encoder_is_refused(first: Encoder, second: Encoder, encoder_dir: Path) -> None:
    encoder_promote(encoder=second)
    (encoder_dir / "first" / "model.onnx").unlink()
    with raises_code(Refused, "gate", "first"):
        encoder_roll_back(reason=REASON)
    assert Encoder.objects.live() == second


def test_a_retired_encoder_keeps_its_embeddings_and_gets_no_more(first: Encoder, second: Encoder) -> None:
    encoder_retire(encoder=second)
    assert states()["second"] == EncoderState.RETIRED
    assert second.embeddings.count() == 2
    assert second not in Encoder.objects.in_use()
    encoder_restore(encoder=second)
    assert states()["second"] == EncoderState.CANDIDATE


def test_the_live_encoder_can_be_neither_retired_nor_deleted(first: Encoder) -> None:
    for change in (encoder_retire, encoder_delete):
        with raises_code(Refused, "encoder_is_live", "first"):
            change(encoder=first)
    encoder_restore(encoder=first)
    assert states() == {"first": EncoderState.LIVE}


def test_the_target_of_a_roll_back_is_not_deleted(first: Encoder, second: Encoder) -> None:
    encoder_promote(encoder=second)
    with raises_code(Refused, "encoder_is_way_back", "first", "second"):
        encoder_delete(encoder=first)


def test_an_encoder_with_queries_is_not_deleted(second: Encoder) -> None:
    make_query(encoder=second)
    with raises_code(Refused, "encoder_has_queries", "1 ", "second"):
        encoder_delete(encoder=second)


def test_deleting_an_encoder_deletes_its_embeddings_evaluations_and_folder(
    second: Encoder, encoder_dir: Path, django_capture_on_commit_callbacks: Any
) -> None:
    run = make_run(encoder=second)
    assert encoder_dependents(second) == {
        "vectors": 2,
        "queries": 0,
        "evaluations": 1,
        "comparisons_of_others": 0,
        "promotions": 0,
        "training_runs": 1,
    }
    with django_capture_on_commit_callbacks(execute=True):
        encoder_delete(encoder=second)
    assert list(states()) == ["first"]
    assert [path.name for path in encoder_dir.iterdir()] == ["first"]
    assert not Embedding.objects.filter(encoder=second.pk).exists()
    run.refresh_from_db()
    assert run.encoder is None


def test_the_folder_of_a_shipped_encoder_stays(
    second: Encoder, tmp_path: Path, django_capture_on_commit_callbacks: Any
) -> None:
    shipped = encoder_in(tmp_path / "shipped", "third")
    with django_capture_on_commit_callbacks(execute=True):
        encoder_delete(encoder=shipped)
    assert (tmp_path / "shipped" / "third" / "card.json").is_file()


def test_coverage_counts_embedded_photos_and_estimates_the_remaining_time() -> None:
    encoder = make_encoder()
    embeddings = [make_embedding(encoder, unit(1)) for _ in range(4)]
    make_item_photo(), make_item_photo()
    make_item_photo().item.mark_deleted()
    now = timezone.now()
    for embedding, seconds in zip(embeddings, (8, 8, 4, 0), strict=True):  # a batch of two, one more, and one more
        Embedding.objects.filter(pk=embedding.pk).update(created_at=now - timedelta(seconds=seconds))
    coverage = encoder_coverage(encoder)
    assert (coverage.embedded, coverage.photos, coverage.missing) == (4, 6, 2)
    assert coverage.per_minute == pytest.approx(15)
    assert coverage.seconds_left == pytest.approx(8)


def test_coverage_has_no_speed_without_recent_embeddings() -> None:
    encoder = make_encoder()
    make_item_photo()
    assert (encoder_coverage(encoder).per_minute, encoder_coverage(encoder).seconds_left) == (0, None)
    make_embedding(encoder, unit(1))
    Embedding.objects.update(created_at=timezone.now() - timedelta(hours=1))
    assert encoder_coverage(encoder).per_minute == 0


def test_commands_promote_and_roll_back(first: Encoder, second: Encoder, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("promote", "second")
    call_command("promote", "second")
    call_command("roll_back", reason=REASON)
    assert capsys.readouterr().out.splitlines() == [
        "second is live, replacing first.",
        "second is already live.",
        "first is live again, replacing second.",
    ]


@pytest.mark.parametrize(("command", "mentioned"), [(("promote", "nobody"), "'nobody'"), (("roll_back",), "roll back")])
def test_a_refused_command_exits_with_2(command: tuple[str, ...], mentioned: str) -> None:
    with pytest.raises(CommandError, match=mentioned) as failure:
        call_command(*command)
    assert failure.value.returncode == 2


@pytest.mark.django_db(transaction=True)
def test_concurrent_promotions_form_a_chain(encoder_dir: Path) -> None:
    encoders = [encoder_in(encoder_dir, name) for name in ("first", "second", "third")]
    encoder_promote(encoder=encoders[0])
    promotions = run_concurrently(3, lambda number: encoder_promote(encoder=encoders[number % 3], reason=REASON))
    assert len([promotion for promotion in promotions if promotion]) >= 2
    chain = list(Promotion.objects.order_by("pk").values_list("previous_name", "encoder_name"))
    assert [before for before, _ in chain[1:]] == [after for _, after in chain[:-1]]
    assert Encoder.objects.get(state=EncoderState.LIVE).name == chain[-1][1]
