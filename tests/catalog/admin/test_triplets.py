"""The page on which staff decide about triplets, and the only one on which they see a person's photo."""

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
from tests.helpers.judged_answers import answers, judge

pytestmark = [pytest.mark.django_db, pytest.mark.database]

REVIEW = "/admin/catalog/triplet/review/"
HTMX = {"HX-Request": "true"}


def photo_of(triplet: Triplet) -> str:
    return f"{REVIEW}{triplet.pk}/photo/"


def propose(count: int = 2) -> list[Triplet]:
    photo = make_upload(visitor="a browser", may_train=True, content=jpeg("teal", (400, 300)))
    judge(answers(photo, items=count + 1), up=(1,), down=tuple(range(2, count + 2)))
    return list(Triplet.objects.order_by("pk"))


def reviewer(name: str = "reviewer", *permissions: str) -> tuple[User, Client]:
    person, client = make_user(name, is_staff=True), Client()
    for codename in permissions or ("view_triplet", "change_triplet"):
        person.user_permissions.add(Permission.objects.get(codename=codename))
    client.force_login(person)
    return person, client


def answer(client: Client, triplet: Triplet | None, said: str) -> str:
    body = {"answer": said} | ({"triplet": triplet.pk} if triplet else {})
    card = client.post(REVIEW, body, headers=HTMX)
    assert card.status_code == 200, card.content
    return card.content.decode()


def shown(html: str) -> int | None:
    found = re.search(r'name="triplet" value="(\d+)"', html)
    return int(found[1]) if found else None


def test_the_page_shows_three_pictures_a_question_and_those_to_come() -> None:
    first, second = propose()
    html = reviewer()[1].get(REVIEW).content.decode()
    assert "Is the photo nearer to the left garment than to the right one?" in html
    assert "1 of 2" in html
    for triplet in (first, second):
        assert photo_of(triplet) in html
        for picture in (triplet.positive_id, triplet.negative_id):
            assert reverse("item-photo", args=[picture]) in html
    for key in ("y", "n", "s", "arrowleft"):
        assert f'data-key="{key}' in html


def test_each_answer_brings_the_next_one_until_there_is_none() -> None:
    first, second = propose()
    person, client = reviewer()
    html = answer(client, first, "yes")
    assert (shown(html), "2 of 2" in html, "<html" in html) == (second.pk, True, False)
    html = answer(client, second, "no")
    assert (shown(html), "Nothing waits for a decision now." in html) == (None, True)
    assert list(Triplet.objects.order_by("pk").values_list("state", "reviewed_by")) == [
        ("accepted", person.pk),
        ("rejected", person.pk),
    ]
    assert shown(answer(client, None, "undo")) == second.pk
    answer(client, second, "skip")
    assert Triplet.objects.get(pk=second.pk).state == "skipped"


def test_without_scripts_an_answer_leads_back_to_the_page() -> None:
    first, second = propose()
    _, client = reviewer()
    back = client.post(REVIEW, {"answer": "yes", "triplet": first.pk}, follow=True)
    assert back.redirect_chain == [(REVIEW, 302)]
    assert shown(back.content.decode()) == second.pk


def test_what_somebody_else_has_decided_is_told_and_stays() -> None:
    first, second = propose()
    (_, anna), (_, boris) = reviewer("anna"), reviewer("boris")
    assert shown(anna.get(REVIEW).content.decode()) == first.pk
    assert shown(boris.get(REVIEW).content.decode()) == second.pk
    answer(boris, first, "no")
    html = answer(anna, first, "yes")
    assert "Someone has decided about this one already." in html
    assert Triplet.objects.get(pk=first.pk).state == "rejected"


def test_a_photo_that_is_taken_back_while_one_looks_at_it_is_gone() -> None:
    first, _ = propose()
    _, client = reviewer()
    assert client.get(photo_of(first)).status_code == 200
    photo_consent_set(photo=first.anchor, may_train=False)
    assert client.get(photo_of(first)).status_code == 404
    html = answer(client, first, "yes")
    assert "This one is gone" in html
    assert not Triplet.objects.exists()


@pytest.mark.parametrize(
    "body", [{}, {"answer": "maybe"}, {"answer": "yes"}, {"answer": "yes", "triplet": "1²"}, {"triplet": "1"}]
)
def test_an_answer_that_makes_no_sense_is_refused(body: dict[str, str]) -> None:
    propose()
    assert reviewer()[1].post(REVIEW, body, headers=HTMX).status_code == 400
    assert Triplet.objects.filter(state="proposed").count() == 2


@pytest.mark.parametrize("number", ["0", "9" * 18])
def test_a_triplet_that_there_is_not_is_gone(number: str) -> None:
    html = reviewer()[1].post(REVIEW, {"answer": "yes", "triplet": number}, headers=HTMX).content.decode()
    assert "This one is gone" in html


# --- the person's photo


def test_the_photo_is_shown_only_while_it_waits_for_a_decision() -> None:
    first, _ = propose()
    _, client = reviewer()
    picture = client.get(photo_of(first))
    assert (picture.status_code, picture["Content-Type"]) == (200, "image/jpeg")
    assert picture["Cache-Control"] == "private, no-cache"
    assert client.get(photo_of(first), headers={"If-None-Match": picture["ETag"]}).status_code == 304
    answer(client, first, "yes")
    assert client.get(photo_of(first)).status_code == 404


@pytest.mark.parametrize("column", ["may_train", "expires_at"])
def test_a_photo_that_is_not_lent_or_not_there_any_more_is_not_shown(column: str) -> None:
    first, _ = propose()
    UploadedPhoto.objects.update(**{column: False if column == "may_train" else "2020-01-01T00:00Z"})
    assert reviewer()[1].get(photo_of(first)).status_code == 404


def test_only_the_part_that_was_asked_about_is_shown() -> None:
    first, _ = propose()
    SimilarityQuery.objects.update(crop={"x": 0.5, "y": 0.0, "width": 0.25, "height": 1.0})
    picture = reviewer()[1].get(photo_of(first))
    with Image.open(io.BytesIO(picture.content)) as part:
        assert part.size == (100, 300)


def test_who_may_only_look_at_lists_sees_no_photo() -> None:
    first, _ = propose()
    _, client = reviewer("clerk", "view_triplet", "view_uploadedphoto", "view_similarityquery")
    assert client.get(REVIEW).status_code == 403
    assert client.post(REVIEW, {"answer": "yes", "triplet": first.pk}).status_code == 403
    assert client.get(photo_of(first)).status_code == 403
    pages = ["/admin/catalog/triplet/", f"/admin/catalog/triplet/{first.pk}/change/"]
    for page in pages:
        html = client.get(page).content.decode()
        assert reverse("item-photo", args=[first.positive_id]) in html
        for private in (photo_of(first), "/photos/uploads/", str(first.anchor_id), first.anchor.file.name):
            assert private not in html


def test_the_sidebar_says_how_many_wait_to_those_who_may_decide() -> None:
    propose(3)
    link = rf'href="{REVIEW}".*?>\s*3\s*<'
    assert re.search(link, reviewer()[1].get("/admin/").content.decode(), re.DOTALL)
    assert REVIEW not in reviewer("clerk", "view_triplet")[1].get("/admin/").content.decode()


def test_those_that_were_skipped_can_be_looked_at_again() -> None:
    first, second = propose()
    _, client = reviewer()
    answer(client, first, "skip")
    answer(client, second, "no")
    action = {"action": "look_again", "_selected_action": [first.pk, second.pk]}
    assert client.post("/admin/catalog/triplet/", action).status_code == 302
    assert shown(client.get(REVIEW).content.decode()) == first.pk
    assert Triplet.objects.get(pk=second.pk).state == "rejected"


@pytest.mark.parametrize("count", [4, 6])
def test_an_answer_takes_as_many_queries_however_many_wait(
    count: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    first = propose(count)[0]
    _, client = reviewer()
    answer(client, first, "skip")  # the first request finds out about permissions
    second = Triplet.objects.filter(state="proposed").order_by("pk")[0]
    # the session, the person, their permissions twice; the triplet, and the decision in a savepoint with the photo;
    # one that is held, or free, taken; the one after it; two counts
    with django_assert_num_queries(15):
        answer(client, second, "no")
