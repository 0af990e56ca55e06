"""Problems not caused by a body: storage, database, URL, method, crash. All have one shape."""

import errno
import json
from typing import Any

import pytest
from django.core.files.storage import FileSystemStorage
from django.db import OperationalError
from pytest_django import Settings
from rest_framework.exceptions import ValidationError
from rest_framework.test import APIClient

from catalog.http.error_handler import api_problem_for
from catalog.models import SimilarityQuery, User
from tests.helpers.api import QUERIES, assert_refused, in_base64, multipart
from tests.helpers.factories import jpeg

pytestmark = pytest.mark.django_db


def test_a_full_disk_is_507(device: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: FileSystemStorage, name: str, content: Any) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(FileSystemStorage, "_save", full)
    assert_refused(device.post(QUERIES, **multipart()), 507, "storage_full")


def test_an_unreachable_storage_is_503(device: APIClient, settings: Settings) -> None:
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {
            "BACKEND": "storages.backends.s3.S3Storage",
            "OPTIONS": {
                "bucket_name": "photos",
                "endpoint_url": "http://127.0.0.1:1",
                "access_key": "a",
                "secret_key": "b",
                "region_name": "here",
            },
        },
    }
    answer = device.post(QUERIES, **multipart())
    assert_refused(answer, 503, "storage_unavailable")
    assert answer["Retry-After"]


@pytest.mark.parametrize(
    ("message", "status", "code"),
    [("database is locked", 503, "database_unavailable"), ("database or disk is full", 507, "storage_full")],
)
@pytest.mark.database
def test_a_database_that_cannot_write_is_503_or_507(
    device: APIClient, monkeypatch: pytest.MonkeyPatch, message: str, status: int, code: str
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise OperationalError(message)

    monkeypatch.setattr(SimilarityQuery, "save", fail)
    assert_refused(device.post(QUERIES, **multipart()), status, code)


@pytest.mark.parametrize(
    "url",
    [
        f"{QUERIES}?cursor=abc",
        f"{QUERIES}?cursor=cD1hYmM%3D",
        f"{QUERIES}?cursor=cD0lMDA%3D",
        f"{QUERIES}?cursor=ö",
        "/api/v1/items/?cursor=cD1hYmM%3D",
        "/api/v1/items/?cursor=cD0lMDA%3D",
    ],
)
def test_an_invalid_cursor_is_refused(device: APIClient, url: str) -> None:
    assert_refused(device.get(url), 404, "invalid_cursor")


@pytest.mark.parametrize(
    "query", ["min_price=abc", "min_price=-1", "max_price=nan", "brand=%00", "search=%00", "min_price=9&max_price=1"]
)
def test_invalid_filters_of_the_item_list_are_refused(device: APIClient, query: str) -> None:
    assert_refused(device.get(f"/api/v1/items/?{query}"), 400, "invalid_input")


@pytest.mark.parametrize(
    "query", ["page_size=0", "page_size=-1", "page_size=abc", "page_size=1000000", "page_size=", "page_size=2.5"]
)
def test_an_invalid_page_size_is_refused(device: APIClient, query: str) -> None:
    assert_refused(device.get(f"/api/v1/items/?{query}"), 400, "invalid_input", "page_size")


@pytest.mark.parametrize("query", ["page_size=100", "cursor=", "search=%ff", "category="])
def test_unusual_but_valid_parameters_are_accepted(device: APIClient, query: str) -> None:
    assert device.get(f"/api/v1/items/?{query}").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "queries/00000000-0000-4000-8000-000000000000/",
        "queries/abc/",
        "queries/%00/",
        "items/99999999/",
        "items/-1/",
        "nothing/",
        "items/" + "9" * 30 + "/",
        "items/" + "9" * 5000 + "/",
        "",
        "queries/%ff/",
    ],
)
def test_an_unknown_url_is_404(device: APIClient, path: str) -> None:
    assert_refused(device.get(f"/api/v1/{path}"), 404, "not_found")


def test_a_url_outside_of_the_version_is_404_in_the_same_shape(device: APIClient) -> None:
    assert_refused(device.get("/api/v2/queries/"), 404, "not_found")
    assert_refused(device.get("/api/"), 404, "not_found")


def test_a_missing_slash_is_pointed_out_and_not_redirected(device: APIClient) -> None:
    answer = device.post("/api/v1/queries", {"photo": in_base64(jpeg())})
    assert_refused(answer, 404, "not_found")
    assert "/api/v1/queries/" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "queries/"), ("DELETE", "items/"), ("POST", "items/"), ("GET", "auth/sign-in/")]
)
def test_an_unsupported_method_is_405(device: APIClient, method: str, path: str) -> None:
    answer = device.generic(method, f"/api/v1/{path}", b"")
    assert_refused(answer, 405, "method_not_allowed")
    assert answer["Allow"]


def test_a_crash_has_the_same_shape_and_does_not_reveal_its_cause(
    device: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr("catalog.api.views.queries.query_create", crash)
    device.raise_request_exception = False
    answer = device.post(QUERIES, **multipart())
    assert_refused(answer, 500, "internal_error")
    assert "secret" not in json.dumps(answer.json())


def test_a_request_without_credentials_is_401(db: None) -> None:
    for path in ("queries/", "items/", "me/"):
        answer = APIClient().get(f"/api/v1/{path}")
        assert_refused(answer, 401, "not_authenticated")
        assert answer["WWW-Authenticate"] == "Token"


def test_a_session_needs_a_csrf_token_to_write(me: User) -> None:
    browser = APIClient(enforce_csrf_checks=True)
    browser.force_login(me)
    assert browser.get(QUERIES).status_code == 200
    assert_refused(browser.post(QUERIES, **multipart()), 403, "permission_denied")


PATHS = ["queries/", "items/", "me/", "auth/sign-in/", "auth/sign-out/", "schema/", "docs/", "items/1/", "nothing/"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["OPTIONS", "HEAD", "GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"])
@pytest.mark.parametrize("accept", ["*/*", "text/html", "application/json", "nonsense"])
def test_no_method_crashes_any_route(device: APIClient, path: str, method: str, accept: str) -> None:
    answer = device.generic(method, f"/api/v1/{path}", b"", content_type="application/json", HTTP_ACCEPT=accept)
    assert answer.status_code < 500
    if answer.status_code >= 400 and method != "HEAD":
        assert_refused(answer, answer.status_code, answer.json()["code"])


@pytest.mark.parametrize("scope", ["x" * 200_000, {"y" * 200_000: 1}])
def test_an_error_does_not_echo_a_large_body(db: None, scope: object) -> None:
    body = {"username": "anna", "password": "x", "scope": scope}
    answer = APIClient().post("/api/v1/auth/sign-in/", body)
    assert_refused(answer, 400, "invalid_input", "scope")
    assert len(answer.content) < 3000


def test_the_number_of_reported_fields_is_limited() -> None:
    wrong = {f"{number}" * 200: ["No."] for number in range(1000)}
    problem = api_problem_for(ValidationError(wrong))
    assert problem is not None
    assert len(problem.errors) == 50
    assert max(len(error.field) for error in problem.errors) == 100
