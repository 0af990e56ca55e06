"""Deleting an account leaves no trace; the export has all data of the account."""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.core.files.storage import default_storage
from django.test import Client
from knox.models import AuthToken
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from catalog.models import Favourite, Feedback, Scope, SimilarityQuery, Triplet, TripletState, UploadedPhoto, User
from catalog.services.accounts import users
from catalog.services.accounts.devices import device_sign_in
from catalog.services.accounts.users import user_delete
from catalog.services.feedback.feedback import feedback_give, user_consent_set
from catalog.services.feedback.reviews import triplet_review
from catalog.services.queries.webhooks import webhook_create, webhook_secret
from tests.helpers.api import answered_query, assert_refused, signed_in_client
from tests.helpers.factories import jpeg, make_item, make_query, make_upload, make_user
from tests.helpers.judged_answers import judge, make_recommendations

pytestmark = [pytest.mark.django_db, pytest.mark.database]

ME, EXPORT = "/api/v1/me/", "/api/v1/me/export/"
PASSWORD = {"password": "long enough 1"}
NAME, EMAIL = "Wilhelmina-zu-Beispiel", "wilhelmina@beispiel.example"


def full_account(name: str = NAME, email: str = EMAIL, pk: int | None = None) -> User:
    """A user with rows in every table that refers to users."""
    person = make_user(name, email=email, first_name=name, is_staff=True, **({"pk": pk} if pk else {}))
    query = answered_query(person)
    query.more_photos.add(make_upload(person))
    make_query(item=make_item(), owner=person)
    fetched = make_query(owner=person, source_url="https://shop.example/shirt.jpg")
    webhook_create(query=fetched, url="https://shop.example/webhook")
    make_upload(person, content=jpeg("green"))
    Favourite.objects.create(user=person, item=make_item())
    _give_feedback(person, query)
    device_sign_in(user=person, name=f"{name}'s phone", scope=Scope.STAFF)
    token = AuthToken.objects.create(user=person)[0]
    Client().force_login(person)
    for typed in (name, email):
        for secret in ("wrong", "worse"):
            APIClient().post("/api/v1/auth/sign-in/", {"username": typed, "password": secret})
    _add_log_entries(person, token)
    return person


def _give_feedback(person: User, query: SimilarityQuery) -> None:
    """Feedback on own recommendations and, as staff, a review of another user's triplet."""
    user_consent_set(user=person, may_train=True)
    recommendations = list(query.recommendations.order_by("rank"))
    feedback_give(recommendation=recommendations[0], verdict="up", clicked=True, may_train=True)
    for recommendation in recommendations[1:]:
        feedback_give(recommendation=recommendation, verdict="down")
    theirs = make_recommendations()
    judge(theirs, up=(1,), down=(2,))
    triplet = Triplet.objects.get(query=theirs[0].query)
    triplet_review(triplet=triplet, state=TripletState.ACCEPTED, by=person)


def _add_log_entries(person: User, token: Any) -> None:
    boss = User.objects.filter(username="boss").first() or make_user("boss", is_superuser=True, is_staff=True)
    for writer, row in ((boss, person), (boss, token), (person, make_item())):
        LogEntry.objects.log_actions(writer.pk, type(row).objects.filter(pk=row.pk), 2, [])
    token.delete()


def columns() -> Iterator[tuple[str, str]]:
    """Every column of every row as text, and the decoded sessions."""
    for model in apps.get_models(include_auto_created=True):
        for row in model._base_manager.all():
            for field in model._meta.concrete_fields:
                yield f"{model._meta.label}.{field.name}", repr(getattr(row, field.attname))
            if isinstance(row, Session):
                yield "sessions.Session.opened", repr(row.get_decoded())


def traces(person_id: int) -> set[str]:
    """Columns that contain the name, the email address or the id of the user."""
    signs = (NAME.lower(), EMAIL.lower(), str(person_id))
    return {place for place, text in columns() if any(sign in text.lower() for sign in signs)}


def files(media: Path) -> set[str]:
    return {str(path.relative_to(media)) for path in media.rglob("*") if path.is_file()}


def test_deleting_an_account_leaves_no_trace(media: Path) -> None:
    number = 8_642_975_311
    other = answered_query(make_user("somebody else"))
    before = files(media)
    person = full_account(pk=number)
    assert {place.rpartition(".")[0] for place in traces(number)} >= {
        "catalog.User",
        "catalog.UploadedPhoto",
        "catalog.SimilarityQuery",
        "catalog.Favourite",
        "catalog.Triplet",
        "catalog.Device",
        "knox.AuthToken",
        "axes.AccessAttempt",
        "admin.LogEntry",
        "sessions.Session",
    }
    own_files = set(person.photos.values_list("file", flat=True))
    left_by_items = files(media) - own_files

    answer = signed_in_client(person).delete(ME, PASSWORD)
    assert answer.status_code == 200
    assert answer.json() == {
        "photos": 3,
        "queries": 3,
        "recommendations": 3,
        "feedback": 3,
        "triplets": 2,
        "favourites": 1,
        "devices": 2,
        "sessions": 1,
        "sign_in_attempts": 2,
    }
    assert traces(number) == set()
    assert files(media) == left_by_items
    assert not any(default_storage.exists(name) for name in own_files)
    assert before <= files(media)
    assert not Feedback.objects.filter(recommendation__query__owner__isnull=False).exists()
    assert SimilarityQuery.objects.filter(owner__isnull=False).get() == other
    assert other.recommendations.count() == 3


def test_the_full_account_has_a_row_in_every_related_table() -> None:
    person = full_account()
    for relation in User._meta.related_objects:
        if relation.related_model is not None:
            rows = relation.related_model._base_manager.filter(**{relation.field.name: person})
            assert rows.exists(), relation.related_model


def test_deleting_in_the_admin_leaves_no_trace(media: Path) -> None:
    person = full_account(pk=8_642_975_311)
    boss = Client()
    boss.force_login(User.objects.get(username="boss"))
    answer = boss.post(f"/admin/catalog/user/{person.pk}/delete/", {"post": "yes"})
    assert answer.status_code == 302
    assert traces(person.pk) == set()
    assert not UploadedPhoto.objects.filter(visitor="").exists()


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"password": "wrong"}, 403, "wrong_password"),
        ({}, 400, "invalid_input"),
        ({"password": ""}, 400, "invalid_input"),
        ([], 400, "invalid_input"),
        ({**PASSWORD, "sure": "yes"}, 400, "invalid_input"),
    ],
)
def test_without_the_password_nothing_is_deleted(me: User, body: object, status: int, code: str) -> None:
    photo = make_upload(me)
    assert_refused(signed_in_client(me).delete(ME, body), status, code)
    assert default_storage.exists(photo.file.name)
    assert User.objects.filter(pk=me.pk).exists()


def test_an_account_can_be_deleted_by_session(me: User) -> None:
    browser = APIClient()
    browser.force_login(me)
    assert browser.delete(ME, PASSWORD).json()["sessions"] == 1
    assert browser.get(ME).status_code == 401


def test_a_storage_failure_keeps_the_account_and_a_retry_deletes_it(me: User, monkeypatch: pytest.MonkeyPatch) -> None:
    answered_query(me)
    device = signed_in_client(me)

    def away(*_: object) -> None:
        raise OSError("no route to the disk")

    with monkeypatch.context() as broken:
        broken.setattr("django.core.files.storage.FileSystemStorage.delete", away)
        assert_refused(device.delete(ME, PASSWORD), 503, "storage_unavailable")
    assert device.get(ME).status_code == 200
    assert device.delete(ME, PASSWORD).json()["queries"] == 1


def test_a_photo_uploaded_during_the_deletion_is_deleted_too(
    me: User, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, delete_files = [], users._delete_files

    def overtaken(photos: list[UploadedPhoto]) -> None:
        delete_files(photos)
        if not late:
            late.append(make_upload(me))

    monkeypatch.setattr(users, "_delete_files", overtaken)
    make_upload(me)
    assert user_delete(user=me)["photos"] == 2
    assert late
    assert files(media) == set()


@pytest.mark.parametrize("times", [1, 3])
def test_deleting_an_account_takes_a_fixed_number_of_sql_queries(
    me: User, times: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(times):
        answered_query(me)
        device_sign_in(user=me)
        Client().force_login(me)
    with django_assert_num_queries(34):
        user_delete(user=me)
    assert not AccessAttempt.objects.exists()


def exported(device: APIClient) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the JSON files and the pictures of the archive, by name."""
    answer = device.get(EXPORT)
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/zip"
    assert answer["Content-Disposition"] == 'attachment; filename="clothes-matcher.zip"'
    with zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content))) as archive:
        assert archive.testzip() is None
        content = {name: archive.read(name) for name in archive.namelist()}
    texts = {name: json.loads(raw) for name, raw in content.items() if name.endswith(".json")}
    return texts, {name: raw for name, raw in content.items() if not name.endswith(".json")}


def test_the_archive_has_all_my_data() -> None:
    person = full_account()
    texts, pictures = exported(signed_in_client(person))
    account = texts["account.json"]
    assert (account["id"], account["username"], account["email"]) == (person.pk, NAME, EMAIL)
    assert {device["name"] for device in texts["devices.json"]} == {"", f"{NAME}'s phone"}
    assert [favourite["item"]["id"] for favourite in texts["favourites.json"]] == [person.favourites.get().item_id]
    assert set(pictures) == {f"photos/{photo.pk}.jpg" for photo in person.photos.all()}
    assert {photo["file"] for photo in texts["photos.json"]} == set(pictures)
    for photo in person.photos.all():
        assert pictures[f"photos/{photo.pk}.jpg"] == photo.file.read()
    queries = {query["id"]: query for query in texts["queries.json"]}
    assert set(queries) == {str(query.pk) for query in person.queries.all()}
    answered = person.queries.get(state="done")
    row = queries[str(answered.pk)]
    assert [recommendation["rank"] for recommendation in row["recommendations"]] == [1, 2, 3]
    feedback = [recommendation["feedback"] for recommendation in row["recommendations"]]
    assert [one["verdict"] for one in feedback] == ["up", "down", "down"]
    assert [one["clicked_at"] is not None for one in feedback] == [True, False, False]
    assert account["may_train"] is True
    lent = {photo["id"]: photo for photo in texts["photos.json"] if photo["may_train"]}
    assert set(lent) == {str(answered.photo_id)}
    assert [triplet["state"] for triplet in lent[str(answered.photo_id)]["triplets"]] == ["proposed"] * 2
    assert row["photos"] == [str(photo.pk) for photo in (answered.photo, *answered.more_photos.all())]
    assert bytes.fromhex(row["vector"]) == bytes(answered.vector or b"")
    webhooks = [query["webhook"]["url"] for query in queries.values() if query["webhook"]]
    assert webhooks == ["https://shop.example/webhook"]


def test_the_archive_has_no_data_of_other_users(me: User) -> None:
    full_account()
    texts, pictures = exported(signed_in_client(me))
    assert pictures == {}
    assert texts.pop("account.json")["id"] == me.pk
    (here,) = texts.pop("devices.json")
    assert here["scope"] == "user"
    assert set(map(len, texts.values())) == {0}


def test_the_archive_has_no_secrets(me: User) -> None:
    device = signed_in_client(me)
    token, signs = AuthToken.objects.get(), webhook_secret(user=me)
    text = json.dumps(exported(device)[0])
    assert not [secret for secret in (me.password, token.digest, token.token_key, signs) if secret in text]


def test_a_photo_without_its_file_is_omitted_from_the_archive(me: User) -> None:
    photo, other = make_upload(me), make_upload(me)
    default_storage.delete(photo.file.name)
    texts, pictures = exported(signed_in_client(me))
    assert set(pictures) == {f"photos/{other.pk}.jpg"}
    assert len(texts["photos.json"]) == 2


@pytest.mark.parametrize("accept", ["application/zip", "*/*", "application/json"])
def test_the_archive_ignores_accept(me: User, accept: str) -> None:
    assert signed_in_client(me).get(EXPORT, HTTP_ACCEPT=accept)["Content-Type"] == "application/zip"


@pytest.mark.parametrize("times", [1, 4])
def test_an_export_takes_a_fixed_number_of_sql_queries(
    me: User, times: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(times):
        answered_query(me)
    device = signed_in_client(me)
    # the token; photos and what is learned from them, devices, favourites; queries, their further photos and answers
    with django_assert_num_queries(8):
        exported(device)
