"""The review page of triplets: answers, undo, and access to uploaded photos."""

import io
import re

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from PIL import Image
from pytest_django import DjangoAssertNumQueries

from catalog.models import SimilarityQuery, Triplet, UploadedPhoto, User
from catalog.services.feedback.feedback import photo_consent_set
from tests.helpers.factories import jpeg, make_upload, make_user
from tests.helpers.judged_answers import judge, make_recommendations

pytestmark = pytest.mark.django_db

REVIEW = "/admin/catalog/triplet/review/"
HTMX = {"HX-Request": "true"}


def photo_url(triplet: Triplet) -> str:
    return f"{REVIEW}{triplet.pk}/photo/"


def propose(count: int = 2) -> list[Triplet]:
    photo = make_upload(visitor="a browser", may_train=True, content=jpeg("teal", (400, 300)))
    judge(make_recommendations(photo, items=count + 1), up=(1,), down=tuple(range(2, count + 2)))
    return list(Triplet.objects.order_by("pk"))


def reviewer(name: str = "reviewer", *permissions: str) -> tuple[User, Client]:
    person, client = make_user(name, is_staff=True), Client()
    for codename in permissions or ("view_triplet", "change_triplet"):
        person.user_permissions.add(Permission.objects.get(codename=codename))
    client.force_login(person)
    return person, client


def answer(client: Client, triplet: Triplet | None, choice: str) -> str:
    body = {"answer": choice} | ({"triplet": triplet.pk} if triplet else {})
    card = client.post(REVIEW, body, headers=HTMX)
    assert card.status_code == 200, card.content
    return card.content.decode()


def shown_triplet(html: str) -> int | None:
    match = re.search(r'name="triplet" value="(\d+)"', html)
    return int(match[1]) if match else None


def test_the_page_shows_three_pictures_and_preloads_the_next_triplet() -> None:
    first, second = propose()
    html = reviewer()[1].get(REVIEW).content.decode()
    assert "Is the photo more similar to the left garment than to the right one?" in html
    assert "1 of 2" in html
    for triplet in (first, second):
        assert photo_url(triplet) in html
        for picture in (triplet.positive_id, triplet.negative_id):
            assert reverse("item-photo", args=[picture]) in html
    for key in ("y", "n", "s", "arrowleft"):
        assert f'data-key="{key}' in html


@pytest.mark.database
def test_each_answer_shows_the_next_triplet_until_none_is_left() -> None:
    first, second = propose()
    person, client = reviewer()
    html = answer(client, first, "yes")
    assert (shown_triplet(html), "2 of 2" in html, "<html" in html) == (second.pk, True, False)
    html = answer(client, second, "no")
    assert (shown_triplet(html), "There is nothing to review." in html) == (None, True)
    assert list(Triplet.objects.order_by("pk").values_list("state", "reviewed_by")) == [
        ("accepted", person.pk),
        ("rejected", person.pk),
    ]
    assert shown_triplet(answer(client, None, "undo")) == second.pk
    answer(client, second, "skip")
    assert Triplet.objects.get(pk=second.pk).state == "skipped"


def test_without_scripts_an_answer_redirects_to_the_page() -> None:
    first, second = propose()
    _, client = reviewer()
    back = client.post(REVIEW, {"answer": "yes", "triplet": first.pk}, follow=True)
    assert back.redirect_chain == [(REVIEW, 302)]
    assert shown_triplet(back.content.decode()) == second.pk


def test_a_triplet_reviewed_by_another_person_is_not_changed() -> None:
    first, second = propose()
    (_, anna), (_, boris) = reviewer("anna"), reviewer("boris")
    assert shown_triplet(anna.get(REVIEW).content.decode()) == first.pk
    assert shown_triplet(boris.get(REVIEW).content.decode()) == second.pk
    answer(boris, first, "no")
    html = answer(anna, first, "yes")
    assert 'class="review-message"' in html
    assert Triplet.objects.get(pk=first.pk).state == "rejected"


def test_a_photo_withdrawn_during_the_review_is_gone() -> None:
    first, _ = propose()
    _, client = reviewer()
    assert client.get(photo_url(first)).status_code == 200
    photo_consent_set(photo=first.anchor, may_train=False)
    assert client.get(photo_url(first)).status_code == 404
    html = answer(client, first, "yes")
    assert "This triplet is gone" in html
    assert not Triplet.objects.exists()


@pytest.mark.parametrize(
    "body", [{}, {"answer": "maybe"}, {"answer": "yes"}, {"answer": "yes", "triplet": "1²"}, {"triplet": "1"}]
)
def test_an_invalid_answer_is_refused(body: dict[str, str]) -> None:
    propose()
    assert reviewer()[1].post(REVIEW, body, headers=HTMX).status_code == 400
    assert Triplet.objects.filter(state="proposed").count() == 2


@pytest.mark.parametrize("number", ["0", "9" * 18])
def test_a_missing_triplet_is_gone(number: str) -> None:
    html = reviewer()[1].post(REVIEW, {"answer": "yes", "triplet": number}, headers=HTMX).content.decode()
    assert "This triplet is gone" in html


# --- the uploaded photo


def test_the_photo_is_shown_only_while_its_triplet_awaits_review() -> None:
    first, _ = propose()
    _, client = reviewer()
    picture = client.get(photo_url(first))
    assert (picture.status_code, picture["Content-Type"]) == (200, "image/jpeg")
    assert picture["Cache-Control"] == "private, no-cache"
    assert client.get(photo_url(first), headers={"If-None-Match": picture["ETag"]}).status_code == 304
    answer(client, first, "yes")
    assert client.get(photo_url(first)).status_code == 404


@pytest.mark.parametrize("column", ["may_train", "expires_at"])
def test_a_photo_without_consent_or_expired_is_not_shown(column: str) -> None:
    first, _ = propose()
    UploadedPhoto.objects.update(**{column: False if column == "may_train" else "2020-01-01T00:00Z"})
    assert reviewer()[1].get(photo_url(first)).status_code == 404


def test_only_the_searched_part_of_the_photo_is_shown() -> None:
    first, _ = propose()
    SimilarityQuery.objects.update(crop={"x": 0.5, "y": 0.0, "width": 0.25, "height": 1.0})
    picture = reviewer()[1].get(photo_url(first))
    with Image.open(io.BytesIO(picture.content)) as part:
        assert part.size == (100, 300)


def test_staff_who_may_only_view_lists_see_no_photo() -> None:
    first, _ = propose()
    _, client = reviewer("clerk", "view_triplet", "view_uploadedphoto", "view_similarityquery")
    assert client.get(REVIEW).status_code == 403
    assert client.post(REVIEW, {"answer": "yes", "triplet": first.pk}).status_code == 403
    assert client.get(photo_url(first)).status_code == 403
    pages = ["/admin/catalog/triplet/", f"/admin/catalog/triplet/{first.pk}/change/"]
    for page in pages:
        html = client.get(page).content.decode()
        assert reverse("item-photo", args=[first.positive_id]) in html
        for private in (photo_url(first), "/photos/uploads/", str(first.anchor_id), first.anchor.file.name):
            assert private not in html


def test_the_sidebar_shows_the_review_count_to_reviewers() -> None:
    propose(3)
    link = rf'href="{REVIEW}".*?>\s*3\s*<'
    assert re.search(link, reviewer()[1].get("/admin/").content.decode(), re.DOTALL)
    assert REVIEW not in reviewer("clerk", "view_triplet")[1].get("/admin/").content.decode()


def test_skipped_triplets_can_be_reviewed_again() -> None:
    first, second = propose()
    _, client = reviewer()
    answer(client, first, "skip")
    answer(client, second, "no")
    action = {"action": "review_again", "_selected_action": [first.pk, second.pk]}
    assert client.post("/admin/catalog/triplet/", action).status_code == 302
    assert shown_triplet(client.get(REVIEW).content.decode()) == first.pk
    assert Triplet.objects.get(pk=second.pk).state == "rejected"


@pytest.mark.parametrize("count", [4, 6])
def test_an_answer_takes_the_same_queries_however_many_triplets_wait(
    count: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    first = propose(count)[0]
    _, client = reviewer()
    answer(client, first, "skip")  # the first request loads the permissions
    second = Triplet.objects.filter(state="proposed").order_by("pk")[0]
    # session, user, permissions twice; the triplet, and its review in a savepoint with the photo;
    # the next triplet held or taken; the one after it; two counts
    with django_assert_num_queries(15):
        answer(client, second, "no")
