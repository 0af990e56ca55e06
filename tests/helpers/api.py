"""Signed-in API clients, photos in requests, answered queries, concurrent requests, and the check of a problem."""

import base64
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from knox.models import AuthToken
from rest_framework.test import APIClient

from catalog.models import Encoder, QueryState, Recommendation, SimilarityQuery, User
from catalog.services.accounts.devices import device_sign_in
from tests.helpers.factories import jpeg, make_encoder, make_item, make_item_photo, make_query, make_upload

T = TypeVar("T")
QUERIES = "/api/v1/queries/"


def in_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def multipart(content: bytes | None = None, **fields: Any) -> dict[str, Any]:
    """Return the arguments of `client.post` for a multipart form with a photo."""
    file = SimpleUploadedFile("photo.jpg", jpeg() if content is None else content, "image/jpeg")
    return {"data": {"photo": file, **fields}, "format": "multipart"}


def client_with(user: User, scope: str) -> APIClient:
    """Return a client that is signed in with a token of this scope."""
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {device_sign_in(user=user, scope=scope)[1]}")
    return client


def signed_in_client(user: User) -> APIClient:
    """Return a client that is signed in with a new token, without a device row."""
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {AuthToken.objects.create(user=user)[1]}")
    return client


def answered_query(user: User, *, items: int = 3, photos: int = 2, encoder: Encoder | None = None) -> SimilarityQuery:
    """Create a finished query with `items` recommendations, each of an item with `photos` photos."""
    query = make_query(
        make_upload(user),
        state=QueryState.DONE,
        encoder=encoder or make_encoder(),
        k=items,
        timings={"embed": 61.5, "total": 120.25},
        vector=b"\0" * 16,
    )
    for rank in range(1, items + 1):
        item = make_item(price="19.99", currency="EUR")
        shown = [make_item_photo(item, position=position) for position in range(photos)]
        Recommendation.objects.create(query=query, rank=rank, item=item, photo=shown[-1], score=1 - rank / 10)
    return query


def run_concurrently(count: int, work: Callable[[int], T]) -> list[T]:
    """Run `work(number)` in `count` threads, each with its own connection; return the results in order.

    For tests with real transactions. Skips on SQLite, whose in-memory database does not wait for locks.
    """
    if connection.vendor == "sqlite":
        pytest.skip("an in-memory SQLite database does not wait for locks")

    def run_one(number: int) -> T:
        try:
            return work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run_one, range(count)))


def assert_refused(
    response: Any, status: int, code: str, field: str | None = None, field_code: str | None = None
) -> None:
    """Check that a response is a problem (RFC 9457) with this status and code, and names the field."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body = response.json()
    assert set(body) == {"type", "title", "status", "detail", "code", "errors", "request_id"}
    assert body["request_id"] == response["X-Request-ID"]
    assert (body["status"], body["code"]) == (status, code)
    assert body["detail"]
    assert body["title"]
    if field is not None:
        errors = [(error["field"], error["code"]) for error in body["errors"]]
        assert (field, field_code) in errors if field_code else field in dict(errors)
