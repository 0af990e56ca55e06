"""Request IDs in responses, problems and log lines."""

import logging
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from catalog.http.request_ids import RequestIdFilter, begin_request, request_id

HEADER = "X-Request-ID"


@pytest.mark.parametrize(
    "path", ["/api/v1/schema/", "/healthz", "/", "/nothing/", "/api/v1/me/", "/static/nothing.css"]
)
@pytest.mark.django_db
def test_every_response_has_its_own_request_id(client: Client, path: str) -> None:
    first, second = client.get(path)[HEADER], client.get(path)[HEADER]
    assert re.fullmatch("[0-9a-f]{32}", first)
    assert first != second


@pytest.mark.parametrize("name", ["a", "7f3c-91", "proxy/Fra1:00000000-0000-4000-8000-000000000000", "x" * 128])
def test_a_safe_request_id_of_the_client_is_kept(client: Client, name: str) -> None:
    assert client.get("/api/v1/nothing/", headers={HEADER: name})[HEADER] == name


@pytest.mark.parametrize(
    "name", ["", " ", "x" * 129, "a b", "a\r\nSet-Cookie: x=y", "a\0", "zażółć", "<script>", 'a"b', "a\n"]
)
def test_an_unsafe_request_id_is_replaced(client: Client, name: str) -> None:
    answer = client.get("/api/v1/nothing/", headers={HEADER: name})
    assert re.fullmatch("[0-9a-f]{32}", answer[HEADER])
    assert "Set-Cookie" not in answer


def test_a_problem_has_its_request_id(client: Client) -> None:
    answer = client.get("/api/v1/nothing/", headers={HEADER: "mine"})
    assert answer.json()["request_id"] == "mine"


@pytest.mark.django_db
def test_a_crash_and_a_too_large_body_have_their_request_id(device: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("catalog.api.views.items.ItemList.get_queryset", crash)
    device.raise_request_exception = False
    crashed = device.get("/api/v1/items/", headers={HEADER: "mine"})
    too_large = device.post("/api/v1/queries/", {}, CONTENT_LENGTH=str(10**12), headers={HEADER: "mine"})
    assert [answer.status_code for answer in (crashed, too_large)] == [500, 413]
    for answer in (crashed, too_large):
        assert answer[HEADER] == answer.json()["request_id"] == "mine"


def test_log_lines_have_the_request_id_even_djangos_last_one(client: Client) -> None:
    records: list[Any] = []

    class RecordingHandler(logging.Handler):
        def emit(self, record: Any) -> None:
            records.append((record.request_id, record.getMessage()))

    handler = RecordingHandler()
    handler.addFilter(RequestIdFilter())
    logging.getLogger("django.request").addHandler(handler)
    try:
        client.get("/api/v1/nothing/", headers={HEADER: "mine"})
    finally:
        logging.getLogger("django.request").removeHandler(handler)
    assert records == [("mine", "Not Found: /api/v1/nothing/")]


def test_threads_have_separate_request_ids() -> None:
    def answer(number: int) -> bool:
        begin_request(f"request-{number}")
        return all(request_id() == f"request-{number}" for _ in range(200))

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(answer, range(64)))


def test_outside_of_a_request_the_id_is_a_dash() -> None:
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(request_id).result() == "-"
