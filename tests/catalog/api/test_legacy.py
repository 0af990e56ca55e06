"""The route of the existing Android app, without a worker."""

import base64
import hashlib
import io
import json
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from PIL import Image
from pytest_django import Settings

from catalog import events
from catalog.api import legacy
from catalog.api.legacy import TIMEOUT
from catalog.models import CatalogItem, Outcome, QueryState, Recommendation, SimilarityQuery, UploadedPhoto
from catalog.models.queries import NOT_CLOTHES
from tests.helpers.factories import jpeg, make_item_photo

pytestmark = pytest.mark.django_db

PHOTO = jpeg("teal", (200, 200))
COLOURS = {"red": (255, 0, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}


@pytest.fixture(autouse=True)
def switched_on(settings: Settings) -> None:
    settings.LEGACY_ROUTE = True


def send(body: Any = None, **headers: str) -> Any:
    """Post as the app does, to a client that enforces CSRF like a real site."""
    raw = body if isinstance(body, bytes) else json.dumps(app_body() if body is None else body).encode()
    kind = "application/json; charset=utf-8"
    return Client(enforce_csrf_checks=True).post("/", raw, content_type=kind, **{"CONTENT_TYPE": kind, **headers})


def app_body(photo: bytes = PHOTO, results: Any = 3) -> dict[str, Any]:
    """The app's body; encodebytes inserts line breaks as Android's Base64.DEFAULT does."""
    return {"numResults": results, "photo": base64.encodebytes(photo).decode()}


def answered(*colours: str, state: str = QueryState.DONE, **columns: Any) -> Callable[..., None]:
    """A replacement for `wait_until_ended` that finds one item of each colour, in this order."""

    def work(query_id: Any, seconds: float) -> None:
        assert TIMEOUT - 5 < seconds <= TIMEOUT
        for rank, colour in enumerate(colours, start=1):
            photo = make_item_photo(content=jpeg(colour, (600, 800)))
            Recommendation.objects.create(query_id=query_id, rank=rank, item=photo.item, photo=photo, score=1 / rank)
        SimilarityQuery.objects.filter(pk=query_id).update(state=state, finished_at=timezone.now(), **columns)

    return work


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def start(*colours: str, **columns: Any) -> None:
        monkeypatch.setattr(events, "wait_until_ended", answered(*colours, **columns))

    return start


def pictures(answer: Any) -> list[Image.Image]:
    return [Image.open(io.BytesIO(base64.b64decode(entry["image"]))) for entry in answer.json()["images"]]


def assert_app_problem(answer: Any, status: int, code: str) -> None:
    """Check a problem in the API's shape with the two members that the app reads."""
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], body["code"], body["images"]) == (status, code, [])
    assert body["hello"] == body["detail"] != ""


def test_the_pictures_come_by_rank_as_thumbnails(worker: Callable[..., None]) -> None:
    worker("red", "blue", "white")
    answer = send()
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/json"
    assert set(answer.json()) == {"hello", "images"}
    assert "best match first" in answer.json()["hello"]
    for colour, picture in zip(COLOURS, pictures(answer), strict=True):
        assert (picture.format, picture.size) == ("JPEG", (320, 427))
        middle = picture.convert("RGB").getpixel((160, 200))
        assert max(abs(got - meant) for got, meant in zip(middle, COLOURS[colour], strict=True)) < 8


def test_the_app_needs_no_csrf_token_but_a_form_does() -> None:
    assert send().status_code == 503
    form = Client(enforce_csrf_checks=True).post("/", {"photo": io.BytesIO(PHOTO), "numResults": 3})
    assert form.status_code == 403


def test_the_visitor_key_does_not_reveal_the_sender() -> None:
    for photo, address in ((PHOTO, "192.0.2.1"), (PHOTO, "192.0.2.2"), (jpeg("red"), "192.0.2.1")):
        send(app_body(photo), REMOTE_ADDR=address)
    first, second = (row.visitor for row in UploadedPhoto.objects.order_by("created_at"))
    assert first != second
    assert first.startswith("legacy-") and len(first) == 63
    assert hashlib.sha256(PHOTO).hexdigest()[:20] not in first


def test_a_late_answer_is_503_and_the_photo_is_kept(settings: Settings) -> None:
    answer = send(app_body(results=4))
    assert_app_problem(answer, 503, "answer_not_ready")
    assert answer["Retry-After"] == "5"
    query = SimilarityQuery.objects.get()
    assert (query.state, query.k, query.owner) == (QueryState.QUEUED, 4, None)
    assert query.photo is not None and query.photo.file.storage.exists(query.photo.file.name)
    assert query.timings["receive"] > 0


def test_without_redis_the_503_comes_at_once() -> None:
    started = time.perf_counter()
    assert send().status_code == 503
    assert time.perf_counter() - started < 3


def test_a_photo_sent_again_waits_for_the_running_query(worker: Callable[..., None]) -> None:
    send()
    worker("red")
    assert len(pictures(send())) == 1
    assert SimilarityQuery.objects.count() == UploadedPhoto.objects.count() == 1


def test_a_late_answer_is_returned_when_the_photo_is_sent_again() -> None:
    send()
    query = SimilarityQuery.objects.get()
    answered("red", "blue")(query.pk, TIMEOUT)
    late = query.created_at + timedelta(seconds=TIMEOUT + 1)
    SimilarityQuery.objects.update(finished_at=late)
    hidden = CatalogItem.objects.order_by("pk")[0]
    hidden.is_active = False
    hidden.save()
    assert len(pictures(send())) == 1
    assert SimilarityQuery.objects.count() == 1


@pytest.mark.parametrize("change", ["in time", "long ago", "failed", "another number"])
def test_any_other_earlier_query_is_not_reused(worker: Callable[..., None], change: str) -> None:
    send(app_body(results=4 if change == "another number" else 3))
    ended = {"state": QueryState.DONE, "finished_at": timezone.now()}
    columns = {
        "in time": ended,
        "long ago": {"created_at": timezone.now() - timedelta(minutes=11)},
        "failed": ended | {"state": QueryState.FAILED},
        "another number": {},
    }[change]
    SimilarityQuery.objects.update(**columns)
    worker("red")
    assert len(pictures(send())) == 1
    assert SimilarityQuery.objects.count() == 2
    assert UploadedPhoto.objects.count() == 1


def test_a_failed_query_is_503_with_its_sentence(worker: Callable[..., None]) -> None:
    worker(state=QueryState.FAILED, error_code="no_encoder", error_detail="There is no encoder yet.")
    answer = send()
    assert_app_problem(answer, 503, "no_encoder")
    assert answer.json()["hello"] == "There is no encoder yet."


def test_a_photo_deleted_during_the_wait_is_410(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "wait_until_ended", lambda *_: UploadedPhoto.objects.all().delete())
    assert_app_problem(send(), 410, "photo_gone")


def test_no_close_match_and_no_match_have_their_own_sentences(worker: Callable[..., None]) -> None:
    worker("red", outcome=Outcome.NO_CLOSE_MATCH)
    assert "these come close" in send().json()["hello"]
    worker()
    nothing = send()
    assert (nothing.status_code, nothing.json()["images"]) == (200, [])
    assert "nothing similar" in nothing.json()["hello"]


def test_the_sentence_follows_accept_language(worker: Callable[..., None]) -> None:
    worker("red")
    polish = send(HTTP_ACCEPT_LANGUAGE="pl-PL")
    assert polish.json()["hello"] == "Te są najbardziej podobne do zdjęcia, od najlepiej pasującego."
    assert polish["Content-Language"] == "pl"
    assert send(HTTP_ACCEPT_LANGUAGE="de").json()["hello"].startswith("These are most similar to your photo")
    worker(state=QueryState.FAILED, error_code="crop_too_small", error_detail="It is 3 pixels.")
    late = send(app_body(jpeg("red")), HTTP_ACCEPT_LANGUAGE="pl")
    assert late.json()["hello"] == late.json()["detail"] == "Kadr obejmuje zbyt mały fragment zdjęcia."


def test_a_photo_without_clothes_has_its_own_sentence(worker: Callable[..., None]) -> None:
    worker("red", guess={NOT_CLOTHES: True})
    answer = send()
    assert "not look like a garment" in answer.json()["hello"]
    assert len(answer.json()["images"]) == 1


def test_a_match_without_its_file_is_omitted(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(query_id: Any, seconds: float) -> None:
        answered("red", "blue")(query_id, seconds)
        Recommendation.objects.get(rank=1).photo.file.delete(save=False)

    monkeypatch.setattr(events, "wait_until_ended", work)
    (left,) = pictures(send())
    assert left.convert("RGB").getpixel((9, 9))[2] > 200


@pytest.mark.parametrize("results", [1, 10, "5", 5.0])
def test_numbers_as_java_writes_them_are_accepted(results: Any) -> None:
    send(app_body(results=results))
    assert SimilarityQuery.objects.get().k == int(results)


@pytest.mark.parametrize("results", [0, 11, -1, 2.5, "many", True, None, [3], {"a": 1}, 10**400, "9" * 2000])
def test_any_other_number_is_refused(results: Any) -> None:
    assert_app_problem(send(app_body(results=results)), 400, "invalid_input")
    assert not UploadedPhoto.objects.exists()


def test_slashes_may_be_escaped_and_unknown_members_are_ignored() -> None:
    body = json.dumps(app_body() | {"version": 2}).replace("/", "\\/").replace("=", "\\u003d")
    assert_app_problem(send(body.encode()), 503, "answer_not_ready")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "invalid_input"),
        (b"{", 400, "parse_error"),
        (b"\xff\xfe", 400, "parse_error"),
        (b"[" * 100_000, 400, "parse_error"),
        (b"[]", 400, "invalid_input"),
        (b"3", 400, "invalid_input"),
        (b'{"numResults": 3}', 400, "invalid_input"),
        (b'{"photo": "AAAA"}', 400, "invalid_input"),
        (b'{"numResults": 3, "photo": 7}', 400, "invalid_input"),
        (b'{"numResults": 3, "photo": "!"}', 400, "invalid_input"),
        (b'{"numResults": 3, "photo": ""}', 400, "photo_empty"),
        (b'{"numResults": 3, "photo": "AAAA"}', 415, "photo_unreadable"),
        (json.dumps({"numResults": 3, "photo": base64.b64encode(PHOTO[:300]).decode()}).encode(), 400, "photo_damaged"),
    ],
)
def test_an_invalid_body_is_refused_with_a_code(media: Path, body: bytes, status: int, code: str) -> None:
    assert_app_problem(send(body), status, code)
    assert not SimilarityQuery.objects.exists()
    assert [path for path in media.rglob("*") if path.is_file()] == []


def test_a_body_above_the_limit_of_the_route_is_refused(settings: Settings) -> None:
    settings.LEGACY_MAX_KB = 1
    assert_app_problem(send(app_body(jpeg(size=(900, 900)))), 413, "body_too_large")
    assert not UploadedPhoto.objects.exists()


def test_a_body_above_the_limit_of_the_site_is_refused_in_the_apps_shape(settings: Settings) -> None:
    settings.MAX_BODY_BYTES = 10
    assert_app_problem(send(), 413, "body_too_large")


def test_an_unknown_charset_is_refused_in_the_apps_shape() -> None:
    kind = "application/json; charset=base64"
    assert_app_problem(Client().generic("POST", "/", b"{}", content_type=kind), 400, "bad_request")


def test_a_crash_is_reported_in_the_apps_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(legacy, "query_create", lambda **_: 1 / 0)
    client = Client(raise_request_exception=False)
    answer = client.post("/", json.dumps(app_body()), content_type="application/json")
    assert_app_problem(answer, 500, "internal_error")


def test_the_disabled_route_is_404(settings: Settings) -> None:
    settings.LEGACY_ROUTE = False
    for body in (None, b"{"):
        assert_app_problem(send(body), 404, "not_found")
    assert not UploadedPhoto.objects.exists()


@pytest.mark.parametrize("accept", ["*/*", "text/html", "image/png", "nonsense"])
def test_the_response_is_json_whatever_accept_says(accept: str) -> None:
    assert_app_problem(send(HTTP_ACCEPT=accept), 503, "answer_not_ready")


@pytest.mark.parametrize("method", ["get", "head"])
@pytest.mark.parametrize("headers", [{}, {"User-Agent": "okhttp/4.12.0"}, {"Accept": "application/json"}])
def test_get_and_head_requests_return_the_page(method: str, headers: dict[str, str]) -> None:
    assert getattr(Client(), method)("/", headers=headers).status_code == 200


def test_credentials_are_ignored() -> None:
    assert_app_problem(send(HTTP_AUTHORIZATION="Token nonsense"), 503, "answer_not_ready")


def test_the_number_of_sql_queries_does_not_grow_with_the_results(
    worker: Callable[..., None], django_assert_max_num_queries: Any
) -> None:
    send()
    query = SimilarityQuery.objects.get()
    answered(*["red"] * 10)(query.pk, TIMEOUT)
    SimilarityQuery.objects.update(finished_at=query.created_at + timedelta(seconds=TIMEOUT + 1))
    with django_assert_max_num_queries(3):  # the undelivered query, the query again, its pictures
        assert len(pictures(send())) == 10
