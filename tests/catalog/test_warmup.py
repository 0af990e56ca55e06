"""The warm-up runs a whole query and leaves nothing behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.db import DatabaseError
from knox.models import AuthToken
from pytest_django import Settings

from catalog.models import SimilarityQuery, UploadedPhoto, User
from catalog.warmup import Application, example_photo, run_and_roll_back, warm_up_requests
from tests.helpers.redis_server import RedisServer

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def recording(requests: list[str]) -> Application:
    application: Any = WSGIHandler()

    def answer(environment: dict[str, Any], start: Callable[..., Any]) -> Any:
        def record(status: str, headers: list[tuple[str, str]], error: Any = None) -> Any:
            requests.append(f"{environment['REQUEST_METHOD']} {status}")
            return start(status, headers, error)

        return application(environment, record)

    return answer


def is_everything_removed(media: Path) -> bool:
    rows = sum(model.objects.count() for model in (SimilarityQuery, UploadedPhoto, User, AuthToken))
    return not rows and not [path for path in media.rglob("*") if path.is_file()]


@pytest.mark.parametrize("hosts", [["localhost"], ["*"], [".example.org"], ["*", "shop.example.org"]])
def test_a_photo_is_posted_and_its_query_read(
    media: Path, settings: Settings, hosts: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    settings.ALLOWED_HOSTS = hosts
    requests: list[str] = []
    warm_up_requests(recording(requests))
    assert requests == ["POST 202 Accepted", "GET 200 OK"]
    assert is_everything_removed(media)
    assert "warm-up" not in caplog.text


def test_a_message_is_sent_to_open_the_connection(
    own_redis: RedisServer, django_capture_on_commit_callbacks: Any, caplog: pytest.LogCaptureFixture
) -> None:
    own_redis.start()
    with django_capture_on_commit_callbacks(execute=True):
        warm_up_requests(recording([]))
    assert own_redis.client.llen("gpu") == 1
    assert not caplog.records  # waiting for the end did not fail


def test_the_file_of_the_example_photo_is_deleted(media: Path) -> None:
    stored: list[bool] = []

    def work(user: User) -> None:
        photo = example_photo(user)
        stored.append(photo.file.storage.exists(str(photo.file)))

    run_and_roll_back(work)
    assert stored == [True]
    assert is_everything_removed(media)


@pytest.mark.parametrize("error", [DatabaseError("the disk is full"), ValueError("the disk is full")])
def test_errors_are_logged_and_nothing_is_left(media: Path, error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    def work(user: User) -> None:
        example_photo(user)
        raise error

    run_and_roll_back(work)
    assert "the disk is full" in caplog.text
    assert is_everything_removed(media)


def test_a_refused_request_is_logged(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    settings.MAX_UPLOAD_MB = 0.0001
    warm_up_requests(WSGIHandler())
    assert "/api/v1/queries/ returned 413" in caplog.text
