"""Page of a query in each of its states."""

import re

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from catalog import events
from catalog.models import QueryState, Recommendation, SimilarityQuery
from tests.helpers.factories import make_encoder, make_item, make_item_photo, make_query, make_upload

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}
VISITOR = "this browser"


@pytest.fixture
def browser(client: Client) -> Client:
    session = client.session
    session["visitor"] = VISITOR
    session.save()
    return client


def make(state: str, **columns: object) -> SimilarityQuery:
    return make_query(make_upload(visitor=VISITOR), state=state, **columns)


def answered(matches: int = 2, **item: object) -> SimilarityQuery:
    query = make(QueryState.DONE, encoder=make_encoder(), timings={"total": 214.0})
    for rank in range(1, matches + 1):
        photo = make_item_photo(make_item(**item))
        Recommendation.objects.create(query=query, rank=rank, item=photo.item, photo=photo, score=0.876)
    return query


def page(browser: Client, query: SimilarityQuery) -> str:
    answer = browser.get(reverse("query", args=[query.pk]))
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    return answer.content.decode()


@pytest.mark.parametrize("state", [QueryState.QUEUED, QueryState.EMBEDDING, QueryState.EMBEDDED, QueryState.SEARCHING])
def test_without_scripts_the_page_refreshes_until_the_query_has_ended(browser: Client, state: str) -> None:
    html = page(browser, make(state))
    assert '<noscript><meta http-equiv="refresh"' in html
    assert html.count('aria-current="step"') == 1
    assert f"?seen={state}" in html


def test_an_answer_lists_the_matches_by_rank_with_their_details(browser: Client) -> None:
    html = page(browser, answered(name="Red dress", brand="Norrland", category="Dress", price="19.99", currency="EUR"))
    assert "http-equiv" not in html
    assert "hx-get" not in html
    for text in ("Red dress", "Norrland · Dress", "19.99&nbsp;EUR", "88&nbsp;%", "0.21&nbsp;s with encoder-"):
        assert text in html
    assert re.findall(r"Rank </span>(\d)", html) == ["1", "2"]
    assert 'alt="Your photo"' in html
    assert "Search with another photo" in html


def test_only_http_urls_become_links(browser: Client) -> None:
    assert 'href="https://shop.example/1"' in page(browser, answered(1, url="https://shop.example/1"))
    assert "javascript:" not in page(browser, answered(1, url="javascript:alert(1)"))


def test_catalogue_text_is_escaped(browser: Client) -> None:
    assert "<b>bold" not in page(browser, answered(1, name="<b>bold", brand="<b>bold", category="<b>bold"))


def test_an_empty_answer_has_its_own_page(browser: Client) -> None:
    assert "No similar items found" in page(browser, answered(0))


def test_a_failed_query_has_its_error(browser: Client) -> None:
    query = make(QueryState.FAILED, error_code="no_encoder", error_detail="The catalogue is not ready yet.")
    assert "The catalogue is not ready yet." in page(browser, query)


@pytest.mark.parametrize("matches", [1, 12])
def test_an_answer_page_takes_a_fixed_number_of_sql_queries(
    browser: Client, matches: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    query = answered(matches)
    # the session; the query, its other photos, its recommendations, the photos of their items
    with django_assert_num_queries(5):
        page(browser, query)


def test_htmx_gets_204_while_nothing_changed(browser: Client) -> None:
    query = make(QueryState.QUEUED)
    answer = browser.get(reverse("query", args=[query.pk]), {"seen": "queued"}, headers=HTMX)
    assert answer.status_code == 204


def test_htmx_gets_the_part_that_changed(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "wait_until_ended", lambda *_: pytest.fail("it waited"))
    query = make(QueryState.EMBEDDING)
    answer = browser.get(reverse("query", args=[query.pk]), {"seen": "queued"}, headers=HTMX)
    assert answer.status_code == 200
    assert "<html" not in answer.content.decode()
    assert "seen=embedding" in answer.content.decode()


def test_htmx_gets_an_answer_that_arrives_during_the_wait(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    query = answered()
    SimilarityQuery.objects.update(state=QueryState.SEARCHING)
    done = {"state": QueryState.DONE}
    monkeypatch.setattr(events, "wait_until_ended", lambda *_: SimilarityQuery.objects.update(**done))
    answer = browser.get(reverse("query", args=[query.pk]), {"seen": "searching"}, headers=HTMX)
    assert "2 best matches" in answer.content.decode()


def test_an_answer_without_a_close_match_shows_similar_items(browser: Client) -> None:
    query = answered(name="Grey coat")
    SimilarityQuery.objects.update(outcome="no_close_match")
    html = page(browser, query)
    assert "Similar items" in html
    assert "We may not have this exact garment" in html
    assert "Grey coat" in html
    assert "best matches" not in html


@pytest.mark.parametrize("matches", [0, 2])
def test_a_photo_without_clothes_has_a_hint(browser: Client, matches: int) -> None:
    query = answered(matches)
    assert "does not seem to show clothes" not in page(browser, query)
    SimilarityQuery.objects.update(guess={"not_clothes": True})
    assert "does not seem to show clothes" in page(browser, query)


@pytest.mark.parametrize("state", [QueryState.TO_FETCH, QueryState.FETCHING])
def test_a_photo_being_fetched_is_waited_for(browser: Client, state: str) -> None:
    query = make_query(visitor=VISITOR, source_url="https://shop.example/1.jpg", state=state)
    html = page(browser, query)
    assert f"?seen={state}" in html
    assert 'alt="Your photo"' not in html


def test_a_query_by_item_shows_the_item(browser: Client) -> None:
    photo = make_item_photo(make_item(name="Green hat"))
    query = make_query(visitor=VISITOR, item=photo.item, state=QueryState.DONE, encoder=make_encoder())
    html = page(browser, query)
    assert 'alt="Green hat"' in html
    assert reverse("item-photo", args=[photo.pk]) in html
