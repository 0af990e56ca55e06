"""Indexes are read from files at the start, kept there, and shared by the processes of a machine."""

import fcntl
from pathlib import Path

import pytest
from pytest_django import DjangoAssertNumQueries, Settings

from catalog.models import CatalogItem, ChangeFeed, Embedding, Encoder
from ml.search import ExactIndex, Where
from ml.search.memory.snapshot import CURRENT, generation
from tests.helpers.factories import make_embedding, make_encoder, unit
from worker.index.snapshots import folder_of, keep, opened, remove_folders_of_the_gone
from worker.index.sync import NO_ROWS, CatalogIndex

# On PostgreSQL the marks of changes are those of transactions, so a test must not be one.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


@pytest.fixture
def encoder() -> Encoder:
    return make_encoder("a name / with .. anything")


def open_index(encoder: Encoder) -> CatalogIndex:
    return opened(encoder, ExactIndex)


def items_of(index: CatalogIndex, **asked: object) -> list[int]:
    found = index.refresh().search(unit(1), 100, encoder=index.encoder.name, where=Where(**asked))
    return [hit.item_id for hit in found]


def kept(encoder: Encoder, count: int) -> tuple[list[Embedding], CatalogIndex]:
    """Vectors, the first the nearest, and the index that was saved with them."""
    made = [make_embedding(encoder, unit(1, number / 10)) for number in range(count)]
    index = open_index(encoder)
    index.refresh()
    keep(index)
    return made, index


def test_what_was_saved_is_read_and_brought_up_to_date(
    encoder: Encoder, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    made, _ = kept(encoder, 5)
    read = open_index(encoder)
    assert len(read.index) == 5  # before any row was asked for
    with django_assert_num_queries(1):
        read.refresh()
    CatalogItem.objects.filter(pk=made[0].item_id).update(category="Hat")
    CatalogItem.objects.filter(pk=made[1].item_id).update(is_active=False)
    made[2].item.mark_deleted()
    new = make_embedding(encoder, unit(1, 2))
    again = open_index(encoder)
    assert items_of(again) == [made[0].item_id, made[3].item_id, made[4].item_id, new.item_id]
    assert items_of(again, category="hat") == [made[0].item_id]


def test_what_another_process_has_saved_is_taken_over(encoder: Encoder) -> None:
    _, first = kept(encoder, 20)
    second = open_index(encoder)
    before = generation(folder_of(encoder))
    for number in range(3):
        make_embedding(encoder, unit(1, 3 + number))
    second.refresh()
    keep(second)
    assert generation(folder_of(encoder)) == second.generation != before
    held, last = first.index, make_embedding(encoder, unit(1, 9))
    keep(first)
    assert first.generation == second.generation
    assert first.index is not held
    assert items_of(first)[-1] == last.item_id
    assert len(held) == 20  # whoever searches in it is not disturbed


def test_little_that_is_new_is_not_worth_saving(encoder: Encoder) -> None:
    _, index = kept(encoder, 30)
    saved = index.generation
    make_embedding(encoder, unit(1, 5))
    index.refresh()
    keep(index)
    assert generation(folder_of(encoder)) == saved
    assert open_index(encoder).refresh().contains([embedding.photo_id for embedding in Embedding.objects.all()]).all()


def test_only_one_process_saves_at_a_time(encoder: Encoder) -> None:
    _, index = kept(encoder, 2)
    saved = index.generation
    make_embedding(encoder, unit(1, 5))
    index.refresh()
    with (folder_of(encoder) / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        keep(index)
        assert index.generation == saved
    keep(index)
    assert index.generation != saved


@pytest.mark.parametrize("left", [0, 10, None])
def test_a_damaged_file_costs_a_warning_and_a_new_start(
    encoder: Encoder, left: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    made, _ = kept(encoder, 3)
    for file in folder_of(encoder).rglob("*"):
        if file.is_file() and file.suffix in (".npy", ".json"):
            file.unlink() if left is None and file.name != CURRENT else file.write_bytes(file.read_bytes()[:left])
    again = open_index(encoder)
    assert items_of(again) == [embedding.item_id for embedding in made]
    assert "cannot be read" in caplog.text
    keep(again)
    assert len(open_index(encoder).index) == 3


def test_files_of_another_encoder_are_not_used(encoder: Encoder, caplog: pytest.LogCaptureFixture) -> None:
    kept(encoder, 3)
    other = make_encoder()
    folder_of(encoder).rename(folder_of(other))
    mine = make_embedding(other, unit(1))
    assert items_of(open_index(other)) == [mine.item_id]
    assert "is of 'a name / with .. anything'" in caplog.text


def test_files_of_another_history_are_not_used(encoder: Encoder, caplog: pytest.LogCaptureFixture) -> None:
    made, _ = kept(encoder, 3)
    ChangeFeed.objects.update(history=7)
    CatalogItem.objects.filter(pk=made[0].item_id).update(is_active=False)
    read = open_index(encoder)
    assert len(read.index) == 3
    assert items_of(read) == [made[1].item_id, made[2].item_id]
    assert "does not belong to these rows" in caplog.text


def test_an_index_that_knows_of_the_future_starts_over(encoder: Encoder, caplog: pytest.LogCaptureFixture) -> None:
    made, index = kept(encoder, 3)
    held = index.index
    held.update(NO_ROWS, position={**held.position, "change": 2**62})
    assert items_of(index) == [embedding.item_id for embedding in made]
    assert index.index is not held
    assert "does not belong to these rows" in caplog.text


def test_without_a_place_to_write_the_index_stays_in_memory(
    encoder: Encoder, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    settings.INDEX_DIR = tmp_path / "file"
    made, index = kept(encoder, 3)
    assert items_of(index) == [embedding.item_id for embedding in made]
    assert "stays in memory, since it cannot be saved" in caplog.text
    caplog.clear()
    keep(index)
    assert caplog.text == ""  # not again within a minute


def test_the_folders_of_encoders_that_are_gone_are_removed(encoder: Encoder, settings: Settings) -> None:
    kept(encoder, 1)
    gone = make_encoder()
    kept(gone, 1)
    (Path(settings.INDEX_DIR) / "not ours").mkdir()
    gone.embeddings.all().delete()
    gone.delete()
    remove_folders_of_the_gone()
    assert {folder.name for folder in Path(settings.INDEX_DIR).iterdir()} == {folder_of(encoder).name, "not ours"}


def test_without_the_folder_all_is_read_again(encoder: Encoder, settings: Settings) -> None:
    made, _ = kept(encoder, 2)
    Path(settings.INDEX_DIR).rename(Path(settings.INDEX_DIR).with_name("away"))
    assert items_of(open_index(encoder)) == [embedding.item_id for embedding in made]
