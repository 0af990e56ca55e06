"""Replay: a recorded query gives the same items and scores, or the command says what has changed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.core.management.base import CommandError
from pytest_django import Settings

from catalog.models import CatalogItem, Encoder, EncoderState, Promotion, SimilarityQuery
from demo.sample import draw_photo, sample_items
from tests.helpers.factories import (
    make_embedding,
    make_encoder,
    make_item,
    make_item_photo,
    make_query,
    make_upload,
    unit,
)
from tests.helpers.pictures import jpeg_of
from worker.tasks import search

pytestmark = [pytest.mark.django_db, pytest.mark.database]

SHIPPED = django_settings.BASE_DIR / "ml" / "encoders" / django_settings.DEFAULT_ENCODER


@pytest.fixture
def encoder() -> Encoder:
    return make_encoder("old", state=EncoderState.LIVE)


@pytest.fixture
def items(encoder: Encoder) -> list[CatalogItem]:
    """Six items, each a little further away from the query."""
    items = [make_item(category=("Dress", "Hat")[number % 2]) for number in range(6)]
    for number, item in enumerate(items):
        make_embedding(encoder, unit(1, number / 10), make_item_photo(item))
    return items


def answered(encoder: Encoder, **columns: Any) -> SimilarityQuery:
    """A query with the vector (1, 0, …), answered by the real task."""
    query = make_query(
        state="embedded", encoder=encoder, vector=unit(1).tobytes(), embedded_at=make_item().created_at, **columns
    )
    search.search_query(str(query.pk))
    query.refresh_from_db()
    assert query.state == "done"
    return query


def replayed(query: SimilarityQuery, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run the command; return its exit code and its output."""
    code, error_output = 0, ""
    try:
        call_command("replay", str(query.pk))
    except CommandError as error:
        code, error_output = error.returncode, str(error)
    return code, capsys.readouterr().out + error_output


@pytest.mark.parametrize(
    "columns",
    [{"k": 3}, {"k": 2, "filters": {"category": "hat"}}, {"k": 3, "diversity": 0.8}, {"k": 5, "min_score": 0.97}],
)
def test_the_answer_is_the_same_after_imports_and_a_promotion(
    encoder: Encoder, items: list[CatalogItem], capsys: pytest.CaptureFixture[str], columns: dict[str, Any]
) -> None:
    query = answered(encoder, **columns)
    for number in range(4):  # each nearer than the six
        make_embedding(encoder, unit(1, number / 100), make_item_photo(make_item(category="Hat")))
    new = make_encoder("new")
    make_embedding(new, unit(1))
    Encoder.objects.filter(pk=encoder.pk).update(state=EncoderState.RETIRED)
    Encoder.objects.filter(pk=new.pk).update(state=EncoderState.LIVE)
    code, output = replayed(query, capsys)
    assert (code, "answered by old" in output, "The answer is the same." in output) == (0, True, True)
    for recommendation in query.recommendations.all():
        assert f"{recommendation.rank:4}  {recommendation.item.external_id} " in output


def test_an_item_that_was_deleted_since_is_found(
    encoder: Encoder, items: list[CatalogItem], capsys: pytest.CaptureFixture[str]
) -> None:
    query = answered(encoder, k=3)
    items[1].mark_deleted()
    assert replayed(query, capsys)[0] == 0


def test_an_item_that_was_deleted_before_the_search_is_not_found(
    encoder: Encoder, items: list[CatalogItem], capsys: pytest.CaptureFixture[str]
) -> None:
    items[1].mark_deleted()
    query = answered(encoder, k=3)
    assert items[1].pk not in query.recommendations.values_list("item", flat=True)
    assert replayed(query, capsys)[0] == 0


def hide(items: list[CatalogItem]) -> None:
    CatalogItem.objects.filter(pk=items[0].pk).update(is_active=False)


def change(items: list[CatalogItem]) -> None:
    items[0].category = "Skirt"
    items[0].save()


def show(items: list[CatalogItem]) -> None:
    items[4].category = "Dress"
    items[4].is_active = True
    items[4].save()


def delete_vectors(items: list[CatalogItem]) -> None:
    items[0].photos.get().embeddings.all().delete()


def remove(items: list[CatalogItem]) -> None:
    items[0].delete()


def move(items: list[CatalogItem]) -> None:
    items[0].photos.get().embeddings.update(vector=unit(1, 0.01).tobytes())


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (hide, "{0} is no longer found: it is hidden."),
        (change, "{0} is no longer found: it was changed and does not match the filters."),
        (delete_vectors, "{0} is no longer found: its vectors were deleted."),
        (remove, "The item of rank 1 was removed, with its photos."),
        (show, "{4} is found now: it was changed since."),
        (move, "{0} scored 1.00000 and scores 0.99995 now."),
    ],
)
def test_each_difference_is_reported_with_its_reason(
    encoder: Encoder,
    items: list[CatalogItem],
    capsys: pytest.CaptureFixture[str],
    event: Callable[[list[CatalogItem]], None],
    line: str,
) -> None:
    CatalogItem.objects.filter(pk=items[4].pk).update(is_active=False)
    query = answered(encoder, k=3, filters={"category": "dress"})
    names = [f"{item.external_id} ({item.name})" for item in items]
    event(items)
    code, output = replayed(query, capsys)
    assert code == 1
    assert line.format(*names) in output.splitlines()


def test_an_old_query_without_last_vector_is_replayed_by_time(
    encoder: Encoder, items: list[CatalogItem], capsys: pytest.CaptureFixture[str]
) -> None:
    query = answered(encoder, k=3)
    make_embedding(encoder, unit(1))
    SimilarityQuery.objects.update(last_vector=None)
    assert replayed(query, capsys)[0] == 0


def test_a_query_about_an_item_is_replayed_with_its_recorded_vector(
    encoder: Encoder, items: list[CatalogItem], capsys: pytest.CaptureFixture[str]
) -> None:
    query = answered(encoder, k=3, item=items[2])
    make_embedding(encoder, unit(0, 1), make_item_photo(items[2]))
    code, output = replayed(query, capsys)
    assert (code, "about a catalogue item" in output) == (0, True)


def test_without_the_encoder_folder_the_recorded_vector_is_used(
    encoder: Encoder, items: list[CatalogItem], capsys: pytest.CaptureFixture[str]
) -> None:
    query = answered(encoder, k=3)
    code, output = replayed(query, capsys)
    assert (code, "only the recorded vector was used" in output) == (0, True)


@pytest.mark.parametrize("query_id", ["nonsense", "00000000-0000-0000-0000-000000000000", ""])
def test_an_unknown_id_is_refused(query_id: str) -> None:
    with pytest.raises(CommandError, match=repr(query_id)) as failure:
        call_command("replay", query_id)
    assert failure.value.returncode == 2


def test_a_query_that_is_not_done_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    code, output = replayed(make_query(), capsys)
    assert (code, "is queued" in output) == (2, True)


def test_the_photo_is_embedded_again_by_the_real_network(
    capsys: pytest.CaptureFixture[str], settings: Settings, tmp_path: Path
) -> None:
    call_command("register_encoder", SHIPPED, live=True, verbosity=0)
    for item in sample_items(12)[:4]:
        make_item_photo(content=jpeg_of(draw_photo(item)))
    search.embed_catalog(str(Encoder.objects.get().pk))
    query = make_query(make_upload(content=jpeg_of(draw_photo(sample_items(12)[2], 1))), k=3)
    search.embed_query(str(query.pk))
    search.search_query(str(query.pk))
    query.refresh_from_db()
    capsys.readouterr()
    code, output = replayed(query, capsys)
    assert code == 0
    assert "cosine to the recorded vector 1.0000000, the same items" in output
    other = make_upload(content=jpeg_of(draw_photo(sample_items(12)[0], 1)))
    SimilarityQuery.objects.update(photo=other)
    query.refresh_from_db()
    code, output = replayed(query, capsys)
    assert code == 1
    assert "The encoder computes a different vector" in output
    assert Promotion.objects.count() == 1
