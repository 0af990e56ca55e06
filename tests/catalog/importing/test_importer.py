"""Effect of an import on the catalogue: new, changed and unchanged items, refused rows, failures."""

import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from catalog import tasks
from catalog.errors import Refused
from catalog.importing import importer
from catalog.importing.importer import ImportStopped, catalog_import
from catalog.models import CatalogItem, ImportJob, ImportState, ItemPhoto
from tests.helpers.errors import raises_code
from tests.helpers.factories import make_encoder
from tests.helpers.shop import Shop, picture

pytestmark = [pytest.mark.django_db, pytest.mark.database]

ROW = {"item": "A", "image": "1.jpg", "name": "Shirt", "brand": "Acme", "price": "10", "fabric": "wool"}


def stored_files(media: Path) -> set[str]:
    return {path.relative_to(media).as_posix() for path in media.rglob("*") if path.is_file()}


def photo_files() -> set[str]:
    return set(ItemPhoto.objects.values_list("file", flat=True))


def test_an_import_creates_items_with_photos(shop: Shop, media: Path) -> None:
    shop.add("1.jpg", 1)
    shop.add("2.jpg", 2)
    shop.table([ROW, {**ROW, "image": "2.jpg", "name": ""}])

    job = shop.run()

    item = CatalogItem.objects.get()
    assert (item.external_id, item.name, item.brand, item.price) == ("A", "Shirt", "Acme", Decimal("10.00"))
    assert item.attributes == {"fabric": "wool"}
    photos = list(item.photos.all())
    assert [photo.position for photo in photos] == [0, 1]
    assert (photos[0].width, photos[0].height, photos[0].size) == (24, 32, photos[0].file.size)
    assert stored_files(media) == photo_files()
    assert (job.state, job.layout, job.source) == (ImportState.DONE, "items", str(shop.root))
    assert job.counts["items_created"] == 1
    assert job.counts["photos_created"] == 2
    assert job.finished_at is not None


def test_a_second_import_changes_nothing_and_cleans_no_picture(shop: Shop, media: Path, monkeypatch: Any) -> None:
    shop.add("1.jpg", 1)
    shop.table([ROW, {**ROW, "item": "B"}])
    shop.run()
    before = list(CatalogItem.objects.values()), list(ItemPhoto.objects.values()), stored_files(media)
    monkeypatch.setattr(importer, "clean_photo", lambda raw: pytest.fail("cleaned again"))

    job = shop.run()

    assert (list(CatalogItem.objects.values()), list(ItemPhoto.objects.values()), stored_files(media)) == before
    assert job.counts == {
        "items_created": 0,
        "items_updated": 0,
        "items_unchanged": 2,
        "photos_created": 0,
        "photos_unchanged": 2,
        "refused": 0,
    }


def test_a_picture_is_deduplicated_within_an_item_only(shop: Shop) -> None:
    shop.add("1.jpg", 1)
    shop.add("copy.jpg", 1)
    shop.table([ROW, {**ROW, "item": "B"}, {**ROW, "image": "copy.jpg"}])

    job = shop.run()

    assert sorted(ItemPhoto.objects.values_list("item__external_id", flat=True)) == ["A", "B"]
    assert (job.counts["photos_created"], job.counts["photos_unchanged"]) == (2, 1)


def test_a_changed_cell_updates_only_its_field(shop: Shop) -> None:
    shop.add("1.jpg")
    shop.table([ROW])
    shop.run()
    CatalogItem.objects.update(category="by staff", is_active=False)
    shop.table([{**ROW, "brand": "Other", "price": "", "fabric": ""}])

    job = shop.run()

    item = CatalogItem.objects.get()
    assert (item.brand, item.price, item.attributes) == ("Other", None, {})
    assert (item.category, item.is_active) == ("by staff", False)
    assert job.counts["items_updated"] == 1


def test_a_source_without_names_keeps_the_name_set_by_staff(shop: Shop) -> None:
    shop.add("img_1.jpg")
    shop.run()
    assert CatalogItem.objects.get().name == "img 1"
    CatalogItem.objects.update(name="Red shirt")

    shop.run()

    assert CatalogItem.objects.get().name == "Red shirt"


def test_attributes_added_by_staff_are_kept(shop: Shop) -> None:
    shop.add("1.jpg")
    shop.table([ROW])
    shop.run()
    CatalogItem.objects.update(attributes={"fabric": "wool", "season": "winter"})

    job = shop.run()

    assert CatalogItem.objects.get().attributes == {"fabric": "wool", "season": "winter"}
    assert job.counts["items_unchanged"] == 1


def test_the_first_row_of_an_item_defines_its_fields(shop: Shop) -> None:
    for number in range(121):
        shop.add(f"{number}.jpg", number)
    others = [{**ROW, "item": f"B{number}", "image": f"{number}.jpg"} for number in range(120)]
    shop.table([ROW, *others, {**ROW, "image": "120.jpg", "name": "Contradiction"}])

    first, second = shop.run(), shop.run()

    assert CatalogItem.objects.get(external_id="A").name == "Shirt"
    assert list(ItemPhoto.objects.filter(item__external_id="A").values_list("position", flat=True)) == [0, 1]
    assert (first.counts["items_created"], first.counts["items_updated"]) == (121, 0)
    assert (second.counts["items_unchanged"], second.counts["photos_created"]) == (121, 0)


def test_a_new_picture_is_appended_to_the_photos(shop: Shop) -> None:
    shop.add("1.jpg", 1)
    shop.table([ROW])
    shop.run()
    shop.add("2.jpg", 2)
    shop.table([{**ROW, "image": "2.jpg"}, ROW])

    shop.run()

    assert list(ItemPhoto.objects.values_list("position", flat=True)) == [0, 1]
    assert ItemPhoto.objects.last().source_sha256 == importer.source_hash(picture(2))


def test_a_deleted_item_is_restored_by_an_import(shop: Shop) -> None:
    shop.add("1.jpg")
    shop.table([ROW])
    shop.run()
    CatalogItem.objects.update(deleted_at=timezone.now())

    job = shop.run()

    assert CatalogItem.objects.get().deleted_at is None
    assert (job.counts["items_updated"], job.counts["photos_created"]) == (1, 0)


def test_bad_pictures_are_refused_and_the_others_imported(shop: Shop, media: Path, settings: Any) -> None:
    settings.MAX_UPLOAD_MB = 1
    shop.add("empty.jpg", b"")
    shop.add("good.jpg")
    shop.add("huge.jpg", bytes(2**20 + 1))
    shop.add("half.jpg", picture()[:300])
    shop.add("text.jpg", b"hello")
    shop.add("scan.tif", b"II*\0")

    job = shop.run()

    assert CatalogItem.objects.get().name == "good"
    assert [(error["row"], error["file"], error["code"]) for error in sorted(job.errors, key=lambda e: e["row"])] == [
        (1, "empty.jpg", "photo_empty"),
        (3, "half.jpg", "photo_damaged"),
        (4, "huge.jpg", "photo_too_large"),
        (5, "scan.tif", "photo_format_unsupported"),
        (6, "text.jpg", "photo_unreadable"),
    ]
    assert all(error["reason"] for error in job.errors)
    assert job.counts["refused"] == 5
    assert stored_files(media) == photo_files()


def test_a_file_without_read_permission_is_refused(shop: Shop, monkeypatch: Any) -> None:
    shop.add("1.jpg")

    def denied(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)

    [error] = shop.run().errors
    assert error["code"] == "file_unreadable"
    assert "Permission denied" in error["reason"]


def test_a_named_pipe_is_refused_without_blocking(shop: Shop) -> None:
    os.mkfifo(shop.root / "pipe.jpg")
    assert [error["code"] for error in shop.run().errors] == ["file_unreadable"]


def test_the_list_of_refused_rows_is_bounded_but_their_count_is_not(shop: Shop, monkeypatch: Any) -> None:
    monkeypatch.setattr(importer, "MAX_ERRORS", 3)
    for number in range(5):
        shop.add(f"{number}.jpg", b"x")

    job = shop.run()

    assert (len(job.errors), job.counts["refused"]) == (3, 5)


def test_progress_counts_every_row_once(shop: Shop) -> None:
    for number in range(60):
        shop.add(f"{number}.jpg", number if number % 7 else b"bad")
    calls: list[tuple[int, int]] = []

    catalog_import(source=shop.root, progress=lambda done, total: calls.append((done, total)))

    assert calls == [(number, 60) for number in range(1, 61)]


def test_never_more_than_two_batches_are_in_memory(shop: Shop, monkeypatch: Any) -> None:
    monkeypatch.setattr(importer, "BATCH", 2)
    for number in range(20):
        shop.add(f"{number:02}.jpg", number)
    started, ended = [], []
    submit, write = importer._ImportRun._submit_batch, importer._ImportRun._write_batch

    def counted_submit(self: Any, *args: Any) -> Any:
        started.append(len(started) - len(ended))
        return submit(self, *args)

    def counted_write(self: Any, *args: Any) -> None:
        write(self, *args)
        ended.append(1)

    monkeypatch.setattr(importer._ImportRun, "_submit_batch", counted_submit)
    monkeypatch.setattr(importer._ImportRun, "_write_batch", counted_write)
    shop.run()

    assert len(started) == 10
    assert max(started) == 1  # at most one other when a batch starts


def test_an_unreadable_source_leaves_a_failed_job_with_the_reason(tmp_path: Path) -> None:
    with raises_code(Refused, "source_missing", "nowhere"):
        catalog_import(source=tmp_path / "nowhere")

    job = ImportJob.objects.get()
    assert job.state == ImportState.FAILED
    assert "nowhere" in job.reason


def test_a_full_disk_stops_the_import_without_orphaned_files(shop: Shop, media: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(importer, "BATCH", 4)
    for number in range(12):
        shop.add(f"{number:02}.jpg", number)
    save, stored = default_storage.save, []

    def save_six(name: str, content: Any) -> str:
        if len(stored) == 6:
            raise OSError(28, "No space left on device")
        stored.append(name)
        return str(save(name, content))

    with monkeypatch.context() as patch:
        patch.setattr(default_storage._wrapped, "save", save_six)
        with raises_code(ImportStopped, "import_stopped", "No space left on device"):
            shop.run()

    assert ImportJob.objects.get().state == ImportState.FAILED
    assert ItemPhoto.objects.count() == CatalogItem.objects.count() == 4
    assert stored_files(media) == photo_files()
    assert shop.run().counts["photos_created"] == 8


def test_a_crash_while_writing_rows_leaves_neither_rows_nor_files(shop: Shop, media: Path, monkeypatch: Any) -> None:
    shop.add("1.jpg")

    def crash(*args: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("catalog.importing.item_writer.ItemWriter._write_photos", crash)
    with pytest.raises(ZeroDivisionError):
        shop.run()

    assert not CatalogItem.objects.exists()
    assert not stored_files(media)
    assert "ZeroDivisionError" in ImportJob.objects.get().reason


def test_ctrl_c_leaves_an_interrupted_job_without_orphaned_files(shop: Shop, media: Path, monkeypatch: Any) -> None:
    shop.add("1.jpg")

    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("catalog.importing.item_writer.ItemWriter._write_photos", interrupt)
    with pytest.raises(KeyboardInterrupt):
        shop.run()

    assert ImportJob.objects.get().state == ImportState.INTERRUPTED
    assert not stored_files(media)


def test_an_import_queues_the_live_encoder(shop: Shop, monkeypatch: Any) -> None:
    encoder_ids: list[int] = []
    monkeypatch.setattr(tasks, "send_embed_catalog", encoder_ids.append)
    shop.add("1.jpg")
    shop.run()
    assert encoder_ids == []
    encoder = make_encoder(state="live")

    shop.run()

    assert encoder_ids == [encoder.pk]


def test_stock_and_collection_are_updated_from_the_source(shop: Shop) -> None:
    shop.add("1.jpg")
    shop.table([{**ROW, "In stock": "no", "Season": "Summer 26", "stock": "7"}])
    shop.run()
    item = CatalogItem.objects.get()
    assert (item.in_stock, item.collection) == (False, "Summer 26")
    assert not {"In stock", "Season", "stock"} & set(item.attributes)

    shop.table([{**ROW, "stock": "3", "collection": "Winter 26", "season": "cold"}])
    job = shop.run()

    item.refresh_from_db()
    assert (item.in_stock, item.collection, item.attributes["season"]) == (True, "Winter 26", "cold")
    assert job.counts["items_updated"] == 1

    shop.table([{**ROW, "stock": "", "collection": "Winter 26", "season": "cold"}])
    assert shop.run().counts["items_unchanged"] == 1
