"""Promoting, going back, retiring and deleting encoders."""

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
from tests.helpers.factories import make_embedding, make_encoder, make_item_photo, make_query, make_run, make_user, unit

pytestmark = [pytest.mark.django_db, pytest.mark.database]

WHY = "Its training data were wrong."


@pytest.fixture(autouse=True)
def place(tmp_path: Path, settings: Settings) -> Path:
    settings.ENCODER_DIRS = [tmp_path / "own", tmp_path / "shipped"]
    return tmp_path / "own"


@pytest.fixture
def first(place: Path) -> Encoder:
    """An encoder that answers, with all its vectors."""
    make_item_photo()
    encoder = encoder_in(place, "first")
    encoder_promote(encoder=encoder)
    embed_all(encoder)
    return Encoder.objects.get()


@pytest.fixture
def second(first: Encoder, place: Path) -> Encoder:
    """A candidate that passes the gate."""
    encoder = encoder_in(place, "second")
    embed_all(encoder)
    chosen = evaluation_set_of(make_embedding(first, unit(1)).photo)
    embed_all(encoder)
    Evaluation.objects.create(encoder=encoder, against=first, evaluation_set=chosen, state=EvaluationState.DONE)
    return encoder


def states() -> dict[str, str]:
    return dict(Encoder.objects.values_list("name", "state"))


def test_the_first_encoder_goes_live_even_before_the_catalogue_is_embedded(place: Path) -> None:
    make_item_photo()
    encoder = encoder_in(place, "first")
    promotion = encoder_promote(encoder=encoder)
    assert promotion is not None
    assert (promotion.encoder, promotion.previous, promotion.gate) == (encoder, None, [])
    assert Encoder.objects.live() == encoder


def test_a_promotion_changes_the_live_encoder_and_tells_who_when_and_why(first: Encoder, second: Encoder) -> None:
    somebody = make_user()
    before = timezone.now()
    promotion = encoder_promote(encoder=second, by=somebody, reason=" Better at dresses. ")
    assert promotion is not None
    assert states() == {"first": EncoderState.RETIRED, "second": EncoderState.LIVE}
    assert (promotion.by, promotion.reason, promotion.previous_name) == (somebody, "Better at dresses.", "first")
    assert promotion.at >= before
    assert first.embeddings.count() == 2
    assert first in Encoder.objects.in_use()


def test_promoting_the_live_encoder_changes_nothing(first: Encoder) -> None:
    assert encoder_promote(encoder=first) is None
    assert Promotion.objects.count() == 1


def test_what_speaks_against_it_needs_a_written_reason_which_is_kept_with_it(first: Encoder, second: Encoder) -> None:
    Evaluation.objects.all().delete()
    for reason in ("", "because", " " * 30):
        with pytest.raises(Refused, match="not compared with the live encoder first") as refusal:
            encoder_promote(encoder=second, reason=reason)
        assert (refusal.value.code, refusal.value.status) == ("gate", 409)
    assert states()["first"] == EncoderState.LIVE
    promotion = encoder_promote(encoder=second, reason=WHY)
    assert promotion is not None
    assert [objection["code"] for objection in promotion.gate] == ["not_compared"]


def test_no_reason_helps_an_encoder_that_lacks_vectors(first: Encoder, second: Encoder) -> None:
    second.embeddings.all()[0].delete()
    with pytest.raises(Refused, match="1 photo has no vector") as refusal:
        encoder_promote(encoder=second, reason=WHY)
    assert "give a reason" not in refusal.value.detail
    assert Encoder.objects.live() == first


def test_no_reason_helps_an_encoder_whose_files_have_changed(first: Encoder, second: Encoder, place: Path) -> None:
    (place / "second" / "weights.safetensors").write_bytes(b"changed")
    with pytest.raises(Refused, match=r"weights\.safetensors is not the file"):
        encoder_promote(encoder=second, reason=WHY)
    assert Encoder.objects.live() == first


def test_a_deleted_encoder_is_not_promoted(first: Encoder, second: Encoder) -> None:
    Encoder.objects.filter(pk=second.pk).delete()
    with pytest.raises(Refused) as refusal:
        encoder_promote(encoder=second)
    assert (refusal.value.code, refusal.value.status) == ("encoder_gone", 404)


def test_going_back_is_the_same_the_other_way_round(first: Encoder, second: Encoder) -> None:
    encoder_promote(encoder=second)
    promotion = encoder_roll_back(reason=WHY)
    assert states() == {"first": EncoderState.LIVE, "second": EncoderState.RETIRED}
    assert (promotion.encoder, promotion.previous, promotion.is_rollback) == (first, second, True)
    assert encoder_roll_back().encoder == second


def test_going_back_needs_no_comparison_and_notes_what_is_missing(first: Encoder, second: Encoder) -> None:
    encoder_promote(encoder=second)
    make_embedding(second, unit(1))
    assert [objection["code"] for objection in encoder_roll_back().gate] == ["coverage"]
    assert Encoder.objects.live() == first


def test_there_is_no_way_back_from_the_first_encoder(first: Encoder) -> None:
    with pytest.raises(Refused) as refusal:
        encoder_roll_back()
    assert refusal.value.code == "nothing_to_roll_back"


def test_there_is_no_way_back_at_an_empty_site() -> None:
    with pytest.raises(Refused) as refusal:
        encoder_roll_back()
    assert refusal.value.code == "nothing_to_roll_back"


def test_there_is_no_way_back_to_an_encoder_that_cannot_be_used(first: Encoder, second: Encoder, place: Path) -> None:
    encoder_promote(encoder=second)
    (place / "first" / "model.onnx").unlink()
    with pytest.raises(Refused, match="first cannot come back"):
        encoder_roll_back(reason=WHY)
    assert Encoder.objects.live() == second


def test_a_retired_encoder_keeps_its_vectors_and_gets_no_more(first: Encoder, second: Encoder) -> None:
    encoder_retire(encoder=second)
    assert states()["second"] == EncoderState.RETIRED
    assert second.embeddings.count() == 2
    assert second not in Encoder.objects.in_use()
    encoder_restore(encoder=second)
    assert states()["second"] == EncoderState.CANDIDATE


def test_the_live_encoder_can_be_neither_retired_nor_deleted(first: Encoder) -> None:
    for change in (encoder_retire, encoder_delete):
        with pytest.raises(Refused) as refusal:
            change(encoder=first)
        assert refusal.value.code == "encoder_is_live"
    encoder_restore(encoder=first)
    assert states() == {"first": EncoderState.LIVE}


def test_the_way_back_is_not_deleted(first: Encoder, second: Encoder) -> None:
    encoder_promote(encoder=second)
    with pytest.raises(Refused, match="the way back from second"):
        encoder_delete(encoder=first)


def test_an_encoder_that_queries_name_is_not_deleted(second: Encoder) -> None:
    make_query(encoder=second)
    with pytest.raises(Refused, match="1 queries were answered by second"):
        encoder_delete(encoder=second)


def test_a_deleted_encoder_is_gone_with_all_that_hung_on_it(
    second: Encoder, place: Path, django_capture_on_commit_callbacks: Any
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
    assert [path.name for path in place.iterdir()] == ["first"]
    assert not Embedding.objects.filter(encoder=second.pk).exists()
    run.refresh_from_db()
    assert run.encoder is None


def test_the_folder_of_an_encoder_that_ships_stays(
    second: Encoder, tmp_path: Path, django_capture_on_commit_callbacks: Any
) -> None:
    shipped = encoder_in(tmp_path / "shipped", "third")
    with django_capture_on_commit_callbacks(execute=True):
        encoder_delete(encoder=shipped)
    assert (tmp_path / "shipped" / "third" / "card.json").is_file()


def test_coverage_tells_how_much_is_embedded_how_fast_and_how_long_it_takes_yet() -> None:
    encoder = make_encoder()
    made = [make_embedding(encoder, unit(1)) for _ in range(4)]
    make_item_photo(), make_item_photo()
    make_item_photo().item.mark_deleted()
    now = timezone.now()
    for embedding, seconds in zip(made, (8, 8, 4, 0), strict=True):  # a batch of two, one more, and one more
        Embedding.objects.filter(pk=embedding.pk).update(created_at=now - timedelta(seconds=seconds))
    coverage = encoder_coverage(encoder)
    assert (coverage.embedded, coverage.photos, coverage.missing) == (4, 6, 2)
    assert coverage.per_minute == pytest.approx(15)
    assert coverage.seconds_left == pytest.approx(8)


def test_coverage_knows_no_speed_while_nothing_is_embedded() -> None:
    encoder = make_encoder()
    make_item_photo()
    assert (encoder_coverage(encoder).per_minute, encoder_coverage(encoder).seconds_left) == (0, None)
    make_embedding(encoder, unit(1))
    Embedding.objects.update(created_at=timezone.now() - timedelta(hours=1))
    assert encoder_coverage(encoder).per_minute == 0


def test_the_commands_promote_and_go_back(first: Encoder, second: Encoder, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("promote", "second")
    call_command("promote", "second")
    call_command("roll_back", reason=WHY)
    assert capsys.readouterr().out.splitlines() == [
        "second is live, replacing first.",
        "second is already live.",
        "first is live again, replacing second.",
    ]


@pytest.mark.parametrize(
    ("command", "words"),
    [(("promote", "nobody"), "No encoder is called 'nobody'."), (("roll_back",), "no encoder to go back to")],
)
def test_a_command_that_cannot_be_obeyed_is_one_sentence_and_exit_code_2(command: tuple[str, ...], words: str) -> None:
    with pytest.raises(CommandError, match=words) as failure:
        call_command(*command)
    assert failure.value.returncode == 2


@pytest.mark.django_db(transaction=True)
def test_of_promotions_at_the_same_moment_each_follows_the_one_before(place: Path) -> None:
    encoders = [encoder_in(place, name) for name in ("first", "second", "third")]
    encoder_promote(encoder=encoders[0])
    told = run_concurrently(3, lambda number: encoder_promote(encoder=encoders[number % 3], reason=WHY))
    assert len([promotion for promotion in told if promotion]) >= 2
    chain = list(Promotion.objects.order_by("pk").values_list("previous_name", "encoder_name"))
    assert [before for before, _ in chain[1:]] == [after for _, after in chain[:-1]]
    assert Encoder.objects.get(state=EncoderState.LIVE).name == chain[-1][1]
