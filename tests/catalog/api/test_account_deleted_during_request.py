"""The account is deleted while one of its requests is processed: a clear refusal, and no row is recreated."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rest_framework.test import APIClient

from catalog import events
from catalog.api.views import account, favourites
from catalog.models import Favourite, SimilarityQuery, UploadedPhoto, User
from catalog.services import uploads
from catalog.services.accounts.users import user_delete
from catalog.services.queries import create
from tests.helpers.api import QUERIES, assert_refused, in_base64, multipart
from tests.helpers.factories import jpeg, make_item, make_query, make_upload
from tests.helpers.sse import events_url, parse_events

pytestmark = [pytest.mark.django_db, pytest.mark.database]

ME, PHOTOS = "/api/v1/me/", "/api/v1/photos/"


def delete_account(me: User) -> None:
    """Delete the account as another device would."""
    user_delete(user=User.objects.get(pk=me.pk))


def deleting_before(me: User, work: Callable[..., Any]) -> Callable[..., Any]:
    def work_too_late(*args: Any, **kwargs: Any) -> Any:
        if User.objects.filter(pk=me.pk).exists():
            delete_account(me)
        return work(*args, **kwargs)

    return work_too_late


def assert_no_rows_and_files(media: Path) -> None:
    assert not User.objects.exists()
    assert not SimilarityQuery.objects.exists()
    assert not UploadedPhoto.objects.exists()
    assert [path for path in media.rglob("*") if path.is_file()] == []


def test_account_deleted_during_prefer_wait(
    device: APIClient, me: User, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "wait_until_ended", deleting_before(me, lambda *_: None))
    assert_refused(device.post(QUERIES, **multipart(), HTTP_PREFER="wait=5"), 404, "not_found")
    assert_no_rows_and_files(media)


def test_account_deleted_during_the_wait_for_a_batch(
    device: APIClient, me: User, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "wait_until_ended", deleting_before(me, lambda *_: None))
    answer = device.post(f"{QUERIES}batch/", {"queries": [{"photo": in_base64(jpeg())}]}, HTTP_PREFER="wait=5")
    assert [(one["status"], one["problem"]["code"]) for one in answer.json()["results"]] == [(404, "not_found")]
    assert_no_rows_and_files(media)


def test_account_deleted_during_an_event_stream(device: APIClient, me: User, media: Path) -> None:
    stream = parse_events(device.get(events_url(make_query(make_upload(me)))).streaming_content)
    assert [next(stream)[0], next(stream)[0]] == ["retry", "state"]
    delete_account(me)
    assert [event for event in stream if event[0] != "comment"] == [("gone", {})]


# From here on with real commits, since the foreign key to the owner is checked on commit.


@pytest.mark.parametrize("photo_before", [False, True])
def test_account_deleted_before_the_query_is_saved(
    transactional_db: None,
    device: APIClient,
    me: User,
    media: Path,
    monkeypatch: pytest.MonkeyPatch,
    photo_before: bool,
) -> None:
    if photo_before:
        device.post(PHOTOS, {"photo": in_base64(jpeg())})
    with monkeypatch.context() as patched:
        patched.setattr(create, "_save", deleting_before(me, create._save))
        assert_refused(device.post(QUERIES, **multipart()), 410, "photo_gone")
    assert_no_rows_and_files(media)


def test_account_deleted_before_the_photo_is_saved(
    transactional_db: None, device: APIClient, me: User, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_save", deleting_before(me, uploads._save))
    assert_refused(device.post(PHOTOS, {"photo": in_base64(jpeg())}), 410, "photo_gone")
    assert_no_rows_and_files(media)


def test_account_deleted_before_the_favourite_is_saved(
    transactional_db: None, device: APIClient, me: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(favourites, "favourite_add", deleting_before(me, favourites.favourite_add))
    assert_refused(device.put(f"/api/v1/favourites/{make_item().pk}/"), 503, "database_unavailable")
    assert not Favourite.objects.exists()


def test_account_deleted_before_the_name_is_saved(device: APIClient, me: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "user_update", deleting_before(me, account.user_update))
    assert_refused(device.patch(ME, {"first_name": "Anna"}), 503, "database_unavailable")
    assert not User.objects.exists()
