"""Creating a query from photos, a URL or an item; failures leave no row and no file."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import DatabaseError
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from catalog.errors import ClaimLost, Refused
from catalog.models import QueryState, SimilarityQuery, UploadedPhoto
from catalog.services.queries import create as service
from catalog.services.queries.create import query_create, query_delete
from tests.helpers.errors import raises_code
from tests.helpers.factories import jpeg, make_encoder, make_item, make_upload, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def files(media: Path) -> list[Path]:
    return [path for path in media.rglob("*") if path.is_file()]


def test_a_photo_becomes_a_queued_query(media: Path) -> None:
    user, started = make_user(), timezone.now()
    query = query_create(photo=jpeg(), owner=user, k=7, receive_ms=3.0)
    query.refresh_from_db()
    assert (query.state, query.k, query.photo.owner) == (QueryState.QUEUED, 7, user)
    assert query.timings["receive"] == 3.0 and query.timings["clean"] > 0
    assert query.created_at >= started + timedelta(
        milliseconds=query.timings["clean"] - 1
    )  # the time of cleaning is not counted twice
    assert [path.name for path in files(media)] == [f"{query.photo_id}.jpg"]


def test_a_visitor_without_an_account_owns_their_photo() -> None:
    query = query_create(photo=jpeg(), visitor="browser-1")
    assert query.photo.owner is None
    assert SimilarityQuery.objects.owned_by(visitor="browser-1").get() == query


def test_the_message_is_sent_after_the_commit_and_losing_it_is_no_error(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks, caplog: pytest.LogCaptureFixture
) -> None:
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        query = query_create(photo=jpeg(), owner=make_user())  # no Redis listens in these tests
    assert len(callbacks) == 1
    assert f"the sweep will send worker.embed_query {query.pk} again" in caplog.text


def test_the_same_bytes_of_one_owner_are_one_photo(media: Path) -> None:
    user = make_user()
    first, second = (query_create(photo=jpeg(), owner=user) for _ in range(2))
    assert first.photo == second.photo
    assert first.pk != second.pk
    assert len(files(media)) == 1


def test_the_same_bytes_of_two_owners_are_two_photos(media: Path) -> None:
    for owner in (make_user(), make_user()):
        query_create(photo=jpeg(), owner=owner)
    query_create(photo=jpeg(), visitor="browser-1")
    query_create(photo=jpeg(), visitor="browser-2")
    assert UploadedPhoto.objects.count() == 4
    assert len(files(media)) == 4


def test_sending_a_photo_again_extends_its_expiry() -> None:
    user = make_user()
    photo = query_create(photo=jpeg(), owner=user).photo
    before = photo.expires_at
    query_create(photo=jpeg(), owner=user)
    photo.refresh_from_db()
    assert photo.expires_at > before


def test_a_stored_photo_can_be_queried_again() -> None:
    photo = make_upload()
    assert query_create(photo=photo, owner=photo.owner).photo == photo


def test_bytes_that_are_not_a_picture_leave_nothing(media: Path) -> None:
    with raises_code(Refused, "photo_unreadable"):
        query_create(photo=b"this is text", owner=make_user())
    assert not UploadedPhoto.objects.exists()
    assert not SimilarityQuery.objects.exists()
    assert files(media) == []


def test_a_database_error_leaves_no_file(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(service, "_save", fail)
    with pytest.raises(DatabaseError):
        query_create(photo=jpeg(), owner=make_user())
    assert files(media) == []


def test_concurrent_requests_with_the_same_picture_both_get_a_query(
    media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = make_user()
    save: Callable[..., None] = service._save

    def save_after_a_concurrent_request(*rows: object) -> None:
        monkeypatch.setattr(service, "_save", save)
        query_create(photo=jpeg(), owner=user)  # it stores the photo between our check and our write
        save(*rows)

    monkeypatch.setattr(service, "_save", save_after_a_concurrent_request)
    query = query_create(photo=jpeg(), owner=user)
    assert UploadedPhoto.objects.get() == query.photo
    assert SimilarityQuery.objects.count() == 2
    assert len(files(media)) == 1


def test_known_photos_are_reused_and_new_ones_stored(media: Path) -> None:
    user = make_user()
    known = query_create(photo=jpeg("red"), owner=user).photo
    query = query_create(photo=jpeg("navy"), more_photos=[jpeg("red"), jpeg("navy"), jpeg("green")], owner=user)
    assert known in query.more_photos.all()
    assert query.more_photos.count() == 2
    assert len(files(media)) == UploadedPhoto.objects.count() == 3


def test_a_query_about_an_item_has_no_photo() -> None:
    item = make_item()
    query = query_create(item=item, owner=make_user())
    query.refresh_from_db()
    assert (query.item, query.photo, query.state) == (item, None, QueryState.QUEUED)


def test_a_photo_url_is_sent_to_be_fetched(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks, caplog: pytest.LogCaptureFixture
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        query = query_create(photo_url="https://shop.example/1.jpg", owner=make_user())
    assert query.state == QueryState.TO_FETCH
    assert f"the sweep will send worker.fetch_photo {query.pk} again" in caplog.text


def test_a_crop_that_is_too_small_leaves_only_the_stored_photo(media: Path) -> None:
    corner = {"x": 0.0, "y": 0.0, "width": 0.1, "height": 0.1}
    photo = make_upload()
    for picture in (jpeg("red"), photo):
        with raises_code(Refused, "crop_too_small", 16):
            query_create(photo=picture, crop=corner, owner=photo.owner)
    assert UploadedPhoto.objects.get() == photo
    assert len(files(media)) == 1
    assert not SimilarityQuery.objects.exists()


def test_a_photo_deleted_concurrently_is_reported_as_gone(transactional_db: None, media: Path) -> None:
    photo = make_upload()
    UploadedPhoto.objects.filter(pk=photo.pk).delete()
    with raises_code(Refused, "photo_gone"):
        query_create(photo=photo, more_photos=[jpeg("red")], owner=photo.owner)
    assert not SimilarityQuery.objects.exists()
    assert not UploadedPhoto.objects.exists()


def test_deleting_a_query_keeps_its_photo_and_its_worker_loses_the_claim() -> None:
    query = query_create(photo=jpeg(), owner=make_user())
    claimed = SimilarityQuery.objects.claim(query.pk, QueryState.QUEUED, worker="gpu@one")
    assert claimed is not None
    query_delete(query=query)
    with pytest.raises(ClaimLost):
        claimed.record_embedding(make_encoder(), b"", {})
    assert UploadedPhoto.objects.count() == 1
