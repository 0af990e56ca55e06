"""Thumbs, opened items, consent and deleting the photo on the page of a query."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from catalog.models import Feedback, Recommendation, SimilarityQuery, Triplet, UploadedPhoto
from catalog.services.feedback.triplets import TRAINING_PHOTO_DAYS
from catalog.web.owners import VISITOR
from tests.helpers.factories import make_item, make_query, make_upload, make_user
from tests.helpers.judged_answers import judge, make_recommendations
from tests.helpers.redis_server import RedisServer

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}


def browser_of(visitor: str) -> Client:
    client = Client()
    session = client.session
    session[VISITOR] = visitor
    session.save()
    return client


@pytest.fixture
def browser(db: None) -> Client:
    return browser_of("this browser")


@pytest.fixture
def matches(db: None) -> list[Recommendation]:
    return make_recommendations(make_upload(visitor="this browser"))


def page(browser: Client, query: SimilarityQuery) -> str:
    return browser.get(reverse("query", args=[query.pk])).content.decode()


def thumb(browser: Client, match: Recommendation, verdict: str, **options: object) -> str:
    answer = browser.post(reverse("feedback", args=[match.pk]), {"verdict": verdict}, headers=HTMX)
    assert answer.status_code == 200
    return answer.content.decode()


def pressed(html: str) -> list[str]:
    """Return the ids of the pressed thumbs."""
    return re.findall(r'id="([a-z]+-\d+)"[^>]*aria-pressed="true"', html)


def test_every_match_has_two_labelled_thumbs(browser: Client, matches: list[Recommendation]) -> None:
    html = page(browser, matches[0].query)
    assert html.count('aria-pressed="false"') == 2 * len(matches)
    for match in matches:
        assert f"A good match: {match.item.name}" in html
        assert f"A poor match: {match.item.name}" in html
    assert pressed(html) == []


@pytest.mark.database
def test_a_verdict_is_stored_shown_announced_and_removable(browser: Client, matches: list[Recommendation]) -> None:
    second = matches[1]
    html = thumb(browser, second, "up")
    assert pressed(html) == [f"up-{second.pk}"]
    assert "<html" not in html
    assert '<p hx-swap-oob="innerHTML:#announce">Marked as a good match.</p>' in html
    assert pressed(page(browser, second.query)) == [f"up-{second.pk}"]
    assert pressed(thumb(browser, second, "down")) == [f"down-{second.pk}"]
    button = re.search(rf'id="down-{second.pk}" name="verdict" value="([^"]*)"', page(browser, second.query))
    assert button is not None
    assert pressed(thumb(browser, second, button[1])) == []
    assert not Feedback.objects.exists()


def test_without_scripts_a_thumb_redirects_to_its_match(browser: Client, matches: list[Recommendation]) -> None:
    answer = browser.post(reverse("feedback", args=[matches[2].pk]), {"verdict": "down"})
    assert (answer.status_code, answer["Location"]) == (302, f"/queries/{matches[0].query_id}/#match-3")
    assert 'id="match-3"' in page(browser, matches[0].query)


def test_an_opened_item_is_recorded_with_204(browser: Client, matches: list[Recommendation]) -> None:
    answer = browser.post(reverse("feedback", args=[matches[0].pk]), {"clicked": "1"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert Feedback.objects.get().clicked_at is not None


def test_the_link_to_an_item_names_the_form_for_its_beacon(browser: Client) -> None:
    query = make_query(make_upload(visitor="this browser"), state="done")
    (one,) = make_recommendations(query.photo, items=1)
    item = one.item
    item.url = "https://shop.example/1"
    item.save()
    html = page(browser, one.query)
    assert f'<a href="https://shop.example/1" rel="noopener noreferrer" data-opens="thumbs-{one.pk}">' in html
    assert f'id="thumbs-{one.pk}"' in html


def test_an_unknown_verdict_is_refused(browser: Client, matches: list[Recommendation]) -> None:
    assert browser.post(reverse("feedback", args=[matches[0].pk]), {"verdict": "sideways"}).status_code == 400
    assert not Feedback.objects.exists()


def test_feedback_on_the_matches_of_other_users_is_404(matches: list[Recommendation]) -> None:
    query = matches[0].query
    signed_in = Client()
    signed_in.force_login(make_user(is_staff=True, is_superuser=True))
    for client in (Client(), browser_of("another"), signed_in):
        for address in (
            reverse("feedback", args=[matches[0].pk]),
            reverse("photo-consent", args=[query.pk]),
            reverse("photo-delete", args=[query.photo_id]),
        ):
            assert client.post(address, {"verdict": "up", "may_train": "on"}).status_code == 404
    assert not Feedback.objects.exists()
    assert UploadedPhoto.objects.get().may_train is False


# --- consent


def consent(browser: Client, query: SimilarityQuery, **body: str) -> str:
    return browser.post(reverse("photo-consent", args=[query.pk]), body, headers=HTMX).content.decode()


def test_consent_is_off_by_default_and_can_be_withdrawn(browser: Client, matches: list[Recommendation]) -> None:
    query = matches[0].query
    judge(matches, up=(1,), down=(2,))
    html = page(browser, query)
    assert re.search(r'name="may_train"(?![^>]*checked)', html)
    assert "Only if you tick this box." in html
    assert "for up to 365 days instead of 30" in html
    assert not Triplet.objects.exists()
    html = consent(browser, query, may_train="on")
    assert re.search(r'name="may_train"[^>]* checked', html)
    assert "Thank you. Your photo helps to improve the matches." in html
    assert Triplet.objects.count() == 1
    html = consent(browser, query)
    assert "Your photo stays private." in html
    assert not Triplet.objects.exists()


def test_without_scripts_the_consent_box_has_a_button(browser: Client, matches: list[Recommendation]) -> None:
    query = matches[0].query
    assert re.search(r"<noscript><button[^>]*>Save</button></noscript>", page(browser, query))
    answer = browser.post(reverse("photo-consent", args=[query.pk]), {"may_train": "on"})
    assert (answer.status_code, answer["Location"]) == (302, f"/queries/{query.pk}/#consent")
    assert UploadedPhoto.objects.get().may_train


def test_consent_extends_the_visitors_session_to_the_retention_time(
    browser: Client, matches: list[Recommendation]
) -> None:
    consent(browser, matches[0].query, may_train="on")
    cookie = browser.cookies["sessionid"]
    assert cookie["max-age"] == TRAINING_PHOTO_DAYS * 24 * 3600
    assert browser.session.get_expiry_date() > timezone.now() + timedelta(days=TRAINING_PHOTO_DAYS - 1)


def test_a_query_by_item_has_no_consent_form(browser: Client) -> None:
    shown = make_recommendations(items=1)[0]
    query = make_query(visitor="this browser", item=make_item(), state="done")
    query.recommendations.create(rank=1, item=shown.item, photo=shown.photo, score=0.5)
    html = page(browser, query)
    assert html.count("aria-pressed") == 2
    assert "may_train" not in html
    assert browser.post(reverse("photo-consent", args=[query.pk]), {"may_train": "on"}).status_code == 404


def test_a_photo_can_be_deleted_from_the_page(browser: Client, matches: list[Recommendation]) -> None:
    query = matches[0].query
    assert f'action="{reverse("photo-delete", args=[query.photo_id])}"' in page(browser, query)
    answer = browser.post(reverse("photo-delete", args=[query.photo_id]))
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert not UploadedPhoto.objects.exists()
    assert not SimilarityQuery.objects.exists()


# --- CSRF and rate limits


@pytest.mark.parametrize("name", ["feedback", "photo-consent", "photo-delete"])
def test_feedback_needs_a_csrf_token_and_post(matches: list[Recommendation], name: str) -> None:
    strict = Client(enforce_csrf_checks=True)
    session = strict.session
    session[VISITOR] = "this browser"
    session.save()
    query = matches[0].query
    pk = {"feedback": matches[0].pk, "photo-consent": query.pk, "photo-delete": query.photo_id}[name]
    address = reverse(name, args=[pk])
    assert strict.post(address, {"verdict": "up", "may_train": "on"}).status_code == 403
    assert strict.get(address).status_code == 405


def test_thumbs_are_throttled_like_api_changes(
    browser: Client, matches: list[Recommendation], rate_limit_redis: RedisServer, settings: Settings
) -> None:
    settings.RATES = {**settings.RATES, "write": "2/min"}
    for verdict in ("up", "down"):
        thumb(browser, matches[0], verdict)
    refused = browser.post(reverse("feedback", args=[matches[0].pk]), {"verdict": "up"}, headers=HTMX)
    assert (refused.status_code, refused["HX-Retarget"]) == (429, "#feedback-problem")
    assert int(refused["Retry-After"]) > 0
    assert "too much at once" in refused.content.decode()
    assert Feedback.objects.get().verdict == "down"
