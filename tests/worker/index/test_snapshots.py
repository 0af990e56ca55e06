"""Snapshots: indexes are loaded from files at the start, saved, and shared by the processes of a machine."""

from pathlib import Path

import pytest
from pytest_django import DjangoAssertNumQueries, Settings

from catalog.models import CatalogItem, ChangeFeed, Embedding, Encoder
from ml.formats.file_lock import lock_file
from ml.search import ExactIndex, Where
from ml.search.memory.snapshot import CURRENT, generation
from tests.helpers.factories import make_embedding, make_encoder, unit
from worker.index.snapshots import load_index, remove_orphaned_folders, snapshot_folder, sync_snapshot
from worker.index.sync import NO_ROWS, CatalogIndex

# On PostgreSQL a version is a transaction id, so a test must not be one transaction.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


@pytest.fixture
def encoder() -> Encoder:
    return make_encoder("a name / with .. anything")


def open_index(encoder: Encoder) -> CatalogIndex:
    return load_index(encoder, ExactIndex)


def items_of(index: CatalogIndex, **filters: object) -> list[int]:
    found = index.refresh().search(unit(1), 100, encoder=index.encoder.name, where=Where(**filters))
    return [hit.item_id for hit in found]


def make_saved(encoder: Encoder, count: int) -> tuple[list[Embedding], CatalogIndex]:
    """`count` vectors, the nearest first, and the index that was saved with them."""
    embeddings = [make_embedding(encoder, unit(1, number / 10)) for number in range(count)]
    index = open_index(encoder)
    index.refresh()
    sync_snapshot(index)
    return embeddings, index


def test_a_saved_index_is_loaded_and_brought_up_to_date(
    encoder: Encoder, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    embeddings, _ = make_saved(encoder, 5)
    read = open_index(encoder)
    assert len(read.index) == 5  # before any row was asked for
    with django_assert_num_queries(1):
        read.refresh()
    CatalogItem.objects.filter(pk=embeddings[0].item_id).update(category="Hat")
    CatalogItem.objects.filter(pk=embeddings[1].item_id).update(is_active=False)
    embeddings[2].item.mark_deleted()
    new = make_embedding(encoder, unit(1, 2))
    again = open_index(encoder)
    assert items_of(again) == [embeddings[0].item_id, embeddings[3].item_id, embeddings[4].item_id, new.item_id]
    assert items_of(again, category="hat") == [embeddings[0].item_id]


def test_a_snapshot_of_another_process_is_adopted(encoder: Encoder) -> None:
    _, first = make_saved(encoder, 20)
    second = open_index(encoder)
    before = generation(snapshot_folder(encoder))
    for number in range(3):
        make_embedding(encoder, unit(1, 3 + number))
    second.refresh()
    sync_snapshot(second)
    assert generation(snapshot_folder(encoder)) == second.generation != before
    held, last = first.index, make_embedding(encoder, unit(1, 9))
    sync_snapshot(first)
    assert first.generation == second.generation
    assert first.index is not held
    assert items_of(first)[-1] == last.item_id
    assert len(held) == 20  # a search that runs on it goes on


def test_few_changes_are_not_saved(encoder: Encoder) -> None:
    _, index = make_saved(encoder, 30)
    saved = index.generation
    make_embedding(encoder, unit(1, 5))
    index.refresh()
    sync_snapshot(index)
    assert generation(snapshot_folder(encoder)) == saved
    assert open_index(encoder).refresh().contains([embedding.photo_id for embedding in Embedding.objects.all()]).all()


def test_only_one_process_saves_at_a_time(encoder: Encoder) -> None:
    _, index = make_saved(encoder, 2)
    saved = index.generation
    make_embedding(encoder, unit(1, 5))
    index.refresh()
    with lock_file(snapshot_folder(encoder) / "lock"):
        sync_snapshot(index)
        assert index.generation == saved
    sync_snapshot(index)
    assert index.generation != saved


@pytest.mark.parametrize("left", [0, 10, None])
def test_a_damaged_snapshot_is_logged_and_rebuilt(
    encoder: Encoder, left: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    embeddings, _ = make_saved(encoder, 3)
    for file in snapshot_folder(encoder).rglob("*"):
        if file.is_file() and file.suffix in (".npy", ".json"):
            file.unlink() if left is None and file.name != CURRENT else file.write_bytes(file.read_bytes()[:left])
    again = open_index(encoder)
    assert items_of(again) == [embedding.item_id for embedding in embeddings]
    assert "cannot be read" in caplog.text
    sync_snapshot(again)
    assert len(open_index(encoder).index) == 3


def test_a_snapshot_of_another_encoder_is_not_used(encoder: Encoder, caplog: pytest.LogCaptureFixture) -> None:
    make_saved(encoder, 3)
    other = make_encoder()
    snapshot_folder(encoder).rename(snapshot_folder(other))
    mine = make_embedding(other, unit(1))
    assert items_of(open_index(other)) == [mine.item_id]
    assert "is of 'a name / with .. anything'" in caplog.text


def test_a_snapshot_of_another_feed_is_not_used(encoder: Encoder, caplog: pytest.LogCaptureFixture) -> None:
    embeddings, _ = make_saved(encoder, 3)
    ChangeFeed.objects.update(history=7)
    CatalogItem.objects.filter(pk=embeddings[0].item_id).update(is_active=False)
    read = open_index(encoder)
    assert len(read.index) == 3
    assert items_of(read) == [embeddings[1].item_id, embeddings[2].item_id]
    assert "does not belong to these rows" in caplog.text


def test_an_index_ahead_of_the_feed_is_rebuilt(encoder: Encoder, caplog: pytest.LogCaptureFixture) -> None:
    embeddings, index = make_saved(encoder, 3)
    held = index.index
    held.update(NO_ROWS, position={**held.position, "change": 2**62})
    assert items_of(index) == [embedding.item_id for embedding in embeddings]
    assert index.index is not held
    assert "does not belong to these rows" in caplog.text


def test_an_index_that_cannot_be_saved_stays_in_memory(
    encoder: Encoder, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    settings.INDEX_DIR = tmp_path / "file"
    embeddings, index = make_saved(encoder, 3)
    assert items_of(index) == [embedding.item_id for embedding in embeddings]
    assert "stays in memory" in caplog.text
    caplog.clear()
    sync_snapshot(index)
    assert caplog.text == ""  # not again within a minute


def test_the_snapshots_of_deleted_encoders_are_removed(encoder: Encoder, settings: Settings) -> None:
    make_saved(encoder, 1)
    deleted = make_encoder()
    make_saved(deleted, 1)
    (Path(settings.INDEX_DIR) / "not ours").mkdir()
    deleted.embeddings.all().delete()
    deleted.delete()
    remove_orphaned_folders()
    assert {folder.name for folder in Path(settings.INDEX_DIR).iterdir()} == {snapshot_folder(encoder).name, "not ours"}


def test_a_missing_folder_is_read_again_from_the_rows(encoder: Encoder, settings: Settings) -> None:
    embeddings, _ = make_saved(encoder, 2)
    Path(settings.INDEX_DIR).rename(Path(settings.INDEX_DIR).with_name("away"))
    assert items_of(open_index(encoder)) == [embedding.item_id for embedding in embeddings]
