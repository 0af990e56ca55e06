"""From bytes to a queued query, and nothing left behind when that fails."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import DatabaseError
from pytest_django import DjangoCaptureOnCommitCallbacks

from catalog.errors import Refused
from catalog.models import QueryState, SimilarityQuery, UploadedPhoto
from catalog.services import queries as service
from catalog.services.queries import query_create
from tests.factories import jpeg, make_upload, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def files(media: Path) -> list[Path]:
    return [path for path in media.rglob("*") if path.is_file()]


def test_a_photo_becomes_a_queued_query(media: Path) -> None:
    user = make_user()
    query = query_create(photo=jpeg(), owner=user, k=7, receive_ms=3.0)
    query.refresh_from_db()
    assert (query.state, query.k, query.photo.owner) == (QueryState.QUEUED, 7, user)
    assert query.timings["receive"] == 3.0 and query.timings["clean"] > 0
    assert [path.name for path in files(media)] == [f"{query.photo_id}.jpg"]


def test_a_visitor_without_an_account_owns_their_photo() -> None:
    query = query_create(photo=jpeg(), visitor="browser-1")
    assert query.photo.owner is None
    assert SimilarityQuery.objects.of(visitor="browser-1").get() == query


def test_the_message_is_sent_after_the_commit_and_its_loss_is_no_error(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks, caplog: pytest.LogCaptureFixture
) -> None:
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        query = query_create(photo=jpeg(), owner=make_user())  # no Redis listens in these tests
    assert len(callbacks) == 1
    assert f"the sweep will send worker.embed_query {query.pk} again" in caplog.text


def test_the_same_bytes_of_one_person_are_one_photo(media: Path) -> None:
    user = make_user()
    first, second = (query_create(photo=jpeg(), owner=user) for _ in range(2))
    assert first.photo == second.photo
    assert first.pk != second.pk
    assert len(files(media)) == 1


def test_the_same_bytes_of_two_people_are_two_photos(media: Path) -> None:
    for owner in (make_user(), make_user()):
        query_create(photo=jpeg(), owner=owner)
    query_create(photo=jpeg(), visitor="browser-1")
    query_create(photo=jpeg(), visitor="browser-2")
    assert UploadedPhoto.objects.count() == 4
    assert len(files(media)) == 4


def test_sending_a_photo_again_keeps_it_for_longer() -> None:
    user = make_user()
    photo = query_create(photo=jpeg(), owner=user).photo
    before = photo.expires_at
    query_create(photo=jpeg(), owner=user)
    photo.refresh_from_db()
    assert photo.expires_at > before


def test_an_earlier_photo_can_be_asked_with_again() -> None:
    photo = make_upload()
    assert query_create(photo=photo, owner=photo.owner).photo == photo


def test_bytes_that_are_no_picture_leave_nothing(media: Path) -> None:
    with pytest.raises(Refused):
        query_create(photo=b"this is text", owner=make_user())
    assert not UploadedPhoto.objects.exists()
    assert not SimilarityQuery.objects.exists()
    assert files(media) == []


def test_a_database_that_fails_leaves_no_file(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(service, "_save", fail)
    with pytest.raises(DatabaseError):
        query_create(photo=jpeg(), owner=make_user())
    assert files(media) == []


def test_of_two_requests_with_the_same_picture_at_the_same_moment_both_get_an_answer(
    media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = make_user()
    save: Callable[..., None] = service._save

    def save_after_the_other(upload: UploadedPhoto, query: SimilarityQuery) -> None:
        monkeypatch.setattr(service, "_save", save)
        query_create(photo=jpeg(), owner=user)  # the other request comes between our check and our write
        save(upload, query)

    monkeypatch.setattr(service, "_save", save_after_the_other)
    query = query_create(photo=jpeg(), owner=user)
    assert UploadedPhoto.objects.get() == query.photo
    assert SimilarityQuery.objects.count() == 2
    assert len(files(media)) == 1
