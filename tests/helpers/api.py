"""Signed-in API clients, answered queries, concurrent requests, and the check of an error response."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from django.db import connection
from knox.models import AuthToken
from rest_framework.test import APIClient

from catalog.models import Encoder, QueryState, Recommendation, SimilarityQuery, User
from tests.helpers.factories import make_encoder, make_item, make_item_photo, make_query, make_upload

T = TypeVar("T")


def device_of(user: User) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {AuthToken.objects.create(user=user)[1]}")
    return client


def answered_query(user: User, *, items: int = 3, photos: int = 2, encoder: Encoder | None = None) -> SimilarityQuery:
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


def at_once(count: int, work: Callable[[int], T]) -> list[T]:
    """What `count` requests at the same moment get, each in a thread with a connection of its own.

    For tests with real transactions. Skips where the database cannot wait for a lock.
    """
    if connection.vendor == "sqlite":
        pytest.skip("SQLite's database in memory, as tests have it, does not wait for a lock")

    def one(number: int) -> T:
        try:
            return work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def assert_refused(
    answer: Any, status: int, code: str, field: str | None = None, field_code: str | None = None
) -> None:
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert set(body) == {"type", "title", "status", "detail", "code", "errors", "request_id"}
    assert body["request_id"] == answer["X-Request-ID"]
    assert (body["status"], body["code"]) == (status, code)
    assert body["detail"]
    assert body["title"]
    if field is not None:
        found = [(error["field"], error["code"]) for error in body["errors"]]
        assert (field, field_code) in found if field_code else field in dict(found)
