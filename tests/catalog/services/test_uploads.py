"""Storing, expiring and deleting uploaded photos: rows and files together."""

import errno
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.utils import timezone
from pytest_django import Settings

from catalog.models import QueryState, Recommendation, SimilarityQuery, UploadedPhoto
from catalog.photos.files import store_picture
from catalog.services import uploads
from catalog.services.uploads import (
    upload_create,
    upload_delete,
    upload_prepare,
    uploads_expire,
    uploads_remove_orphans,
)
from tests.helpers.factories import jpeg, make_item_photo, make_query, make_upload, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_an_expired_photo_is_deleted_with_its_file_queries_and_recommendations() -> None:
    old = make_upload(expires_at=timezone.now() - timedelta(seconds=1))
    query, match = make_query(old), make_item_photo()
    Recommendation.objects.create(query=query, rank=1, item=match.item, photo=match, score=0.5)
    fresh = make_upload()
    assert uploads_expire() == 1
    assert UploadedPhoto.objects.get() == fresh
    assert not SimilarityQuery.objects.exists()
    assert not Recommendation.objects.exists()
    assert not Path(old.file.path).exists()
    assert Path(fresh.file.path).exists()


def test_a_photo_without_a_file_can_be_deleted() -> None:
    photo = make_upload()
    Path(photo.file.path).unlink()
    upload_delete(photo=photo)
    assert not UploadedPhoto.objects.exists()


def stored(media: Path) -> list[Path]:
    return [path for path in media.rglob("*") if path.is_file()]


def test_of_two_concurrent_requests_with_the_same_bytes_one_gets_the_photo_of_the_other(
    media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, twins = make_user(), []

    def store_after_a_concurrent_request(*, name: str, content: bytes) -> str:
        monkeypatch.setattr(uploads, "store_picture", store_picture)
        twins.append(upload_create(raw=jpeg("red"), owner=owner)[0])
        return store_picture(name=name, content=content)

    monkeypatch.setattr(uploads, "store_picture", store_after_a_concurrent_request)
    assert upload_create(raw=jpeg("red"), owner=owner) == (twins[0], False)
    assert UploadedPhoto.objects.get() == twins[0]
    assert stored(media) == [Path(twins[0].file.path)]


def test_a_failing_attachment_leaves_no_row_and_no_file(media: Path) -> None:
    def fail(photo: UploadedPhoto) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        upload_create(raw=jpeg("red"), owner=make_user(), attach=fail)
    assert not UploadedPhoto.objects.exists()
    assert stored(media) == []


def test_a_failing_attachment_keeps_an_existing_photo() -> None:
    def fail(photo: UploadedPhoto) -> None:
        raise RuntimeError("no")

    owner = make_user()
    photo, is_new = upload_create(raw=jpeg("red"), owner=owner)
    assert is_new
    with pytest.raises(RuntimeError):
        upload_create(raw=jpeg("red"), owner=owner, attach=fail)
    assert Path(photo.file.path).exists()
    assert upload_create(raw=jpeg("red"), owner=owner) == (photo, False)


def test_a_query_without_its_photo_expires_like_a_photo(settings: Settings) -> None:
    long_ago = timezone.now() - timedelta(days=settings.PHOTO_DAYS, seconds=1)
    make_query(source_url="https://a.example/", state=QueryState.FAILED, created_at=long_ago)
    recent = make_query(source_url="https://a.example/", state=QueryState.FAILED)
    about_an_item = make_query(item=make_item_photo().item, created_at=long_ago)
    uploads_expire()
    assert set(SimilarityQuery.objects.all()) == {recent, about_an_item}


def test_photos_do_not_expire_early() -> None:
    make_upload(expires_at=timezone.now() + timedelta(hours=1))
    assert uploads_expire() == 0


def aged(photo: UploadedPhoto, hours: float) -> Path:
    file = Path(photo.file.path)
    then = (timezone.now() - timedelta(hours=hours)).timestamp()
    os.utime(file, (then, then))
    return file


def test_a_file_without_a_row_is_deleted_after_an_hour() -> None:
    orphan = upload_prepare(raw=jpeg("red"), owner=make_user())  # its row was never saved
    young = upload_prepare(raw=jpeg("blue"), owner=make_user())
    saved = make_upload()
    files = aged(orphan, 2), aged(young, 0.5), aged(saved, 2)
    assert uploads_remove_orphans() == 1
    assert [file.exists() for file in files] == [False, True, True]


def test_a_full_disk_leaves_no_file(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(self: ContentFile, *_: object) -> Iterator[bytes]:
        yield self.read(100)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ContentFile, "chunks", half)
    with pytest.raises(OSError, match="No space left"):
        upload_prepare(raw=jpeg(), owner=make_user())
    assert [path for path in media.rglob("*") if path.is_file()] == []


def test_without_uploads_there_are_no_orphans() -> None:
    assert uploads_remove_orphans() == 0
