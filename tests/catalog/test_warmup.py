"""The rehearsal of the first query: it goes the whole way, and nothing is left of it."""

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
from tests.helpers.redis_server import OwnRedis

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def watched(told: list[str]) -> Application:
    application: Any = WSGIHandler()

    def answer(environment: dict[str, Any], start: Callable[..., Any]) -> Any:
        def note(status: str, headers: list[tuple[str, str]], error: Any = None) -> Any:
            told.append(f"{environment['REQUEST_METHOD']} {status}")
            return start(status, headers, error)

        return application(environment, note)

    return answer


def is_nothing_left(media: Path) -> bool:
    rows = sum(model.objects.count() for model in (SimilarityQuery, UploadedPhoto, User, AuthToken))
    return not rows and not [path for path in media.rglob("*") if path.is_file()]


@pytest.mark.parametrize("hosts", [["localhost"], ["*"], [".example.org"], ["*", "shop.example.org"]])
def test_a_photo_is_sent_and_its_query_asked_for(
    media: Path, settings: Settings, hosts: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    settings.ALLOWED_HOSTS = hosts
    told: list[str] = []
    warm_up_requests(watched(told))
    assert told == ["POST 202 Accepted", "GET 200 OK"]
    assert is_nothing_left(media)
    assert "rehears" not in caplog.text


def test_a_message_is_sent_for_the_sake_of_the_connection(
    own_redis: OwnRedis, django_capture_on_commit_callbacks: Any, caplog: pytest.LogCaptureFixture
) -> None:
    own_redis.start()
    with django_capture_on_commit_callbacks(execute=True):
        warm_up_requests(watched([]))
    assert own_redis.client.llen("gpu") == 1
    assert not caplog.records  # nor was the end waited for in vain


def test_a_photo_of_the_rehearsal_is_taken_back_too(media: Path) -> None:
    seen: list[bool] = []

    def work(person: User) -> None:
        photo = example_photo(person)
        seen.append(photo.file.storage.exists(str(photo.file)))

    run_and_roll_back(work)
    assert seen == [True]
    assert is_nothing_left(media)


@pytest.mark.parametrize("error", [DatabaseError("the disk is full"), ValueError("the disk is full")])
def test_an_error_is_told_and_nothing_is_left(media: Path, error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    def work(person: User) -> None:
        example_photo(person)
        raise error

    run_and_roll_back(work)
    assert "the disk is full" in caplog.text
    assert is_nothing_left(media)


def test_a_refusal_is_told(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    settings.MAX_UPLOAD_MB = 0.0001
    warm_up_requests(WSGIHandler())
    assert "/api/v1/queries/ was answered with 413" in caplog.text
