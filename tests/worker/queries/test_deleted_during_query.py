"""A user deletes the account while a query is processed: the worker stops, and nothing is left."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command

from catalog.errors import Refused
from catalog.models import Encoder, EncoderState, QueryState, SimilarityQuery, UploadedPhoto, User
from catalog.services.accounts.users import user_delete
from catalog.services.queries.webhooks import webhook_create
from tests.helpers.factories import jpeg, make_encoder, make_query, make_upload, make_user, unit
from worker.encoders.embedding import QueryEmbedding
from worker.tasks import net, search

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def person() -> User:
    return make_user("somebody", email="somebody@private.example")


@pytest.fixture
def encoder() -> Encoder:
    return make_encoder(state=EncoderState.LIVE)


def query_of(person: User, state: QueryState, **columns: Any) -> SimilarityQuery:
    query = make_query(make_upload(person), state=state, **columns)
    webhook_create(query=query, url="http://a.example/")
    return query


def deleting_account(person: User, result: Any) -> Callable[..., Any]:
    """A function that deletes the account, and then returns `result` or raises it."""

    def work(*_: Any, **__: Any) -> Any:
        user_delete(user=User.objects.get(pk=person.pk))
        if isinstance(result, Exception):
            raise result
        return result

    return work


def assert_nothing_is_left(media: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert not User.objects.filter(username="somebody").exists()
    assert not SimilarityQuery.objects.exists()
    assert not UploadedPhoto.objects.exists()
    assert [path for path in media.rglob("*") if path.is_file()] == []
    assert [entry for entry in caplog.records if entry.levelno >= logging.ERROR] == []


def test_while_its_photo_is_embedded(
    person: User, encoder: Encoder, media: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    query = query_of(person, QueryState.QUEUED)
    embedded = QueryEmbedding(unit(1).tobytes(), None, {})
    monkeypatch.setattr(search.embedding, "embed_query", deleting_account(person, embedded))
    search.embed_query(str(query.pk))
    assert_nothing_is_left(media, caplog)


def test_before_its_photo_is_opened(
    person: User, media: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shipped = settings.BASE_DIR / "ml" / "encoders" / settings.DEFAULT_ENCODER  # it is loaded before the photo
    call_command("register_encoder", shipped, live=True, verbosity=0)
    query, embed_query = query_of(person, QueryState.QUEUED), search.embedding.embed_query

    def embed_too_late(*arguments: Any, **options: Any) -> Any:
        deleting_account(person, None)()
        return embed_query(*arguments, **options)

    monkeypatch.setattr(search.embedding, "embed_query", embed_too_late)
    search.embed_query(str(query.pk))
    assert_nothing_is_left(media, caplog)


def test_while_it_is_searched(
    person: User, encoder: Encoder, media: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    query = query_of(person, QueryState.EMBEDDED, encoder=encoder, vector=unit(1).tobytes())
    explain = search.explain

    def explain_too_late(*arguments: Any) -> Any:
        deleting_account(person, None)()
        return explain(*arguments)

    monkeypatch.setattr(search, "explain", explain_too_late)
    search.search_query(str(query.pk))
    assert_nothing_is_left(media, caplog)


def test_while_its_photo_is_fetched(
    person: User, media: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    query = make_query(owner=person, source_url="http://a.example/", state=QueryState.TO_FETCH)
    monkeypatch.setattr(net, "fetch_picture", deleting_account(person, jpeg()))
    net.fetch_photo(str(query.pk))
    assert_nothing_is_left(media, caplog)


def test_while_its_photo_cannot_be_fetched(
    person: User, media: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    query = make_query(owner=person, source_url="http://a.example/", state=QueryState.TO_FETCH)
    monkeypatch.setattr(net, "fetch_picture", deleting_account(person, Refused("url_timeout", "Too late.")))
    net.fetch_photo(str(query.pk))
    assert_nothing_is_left(media, caplog)
