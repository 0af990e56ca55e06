"""What staff may do."""

from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from catalog.models import CatalogItem, Recommendation, SimilarityQuery, UploadedPhoto, User
from tests.helpers.api import answered_query
from tests.helpers.factories import make_item, make_item_photo, make_query, make_upload, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.database]

ITEMS = "admin:catalog_catalogitem"


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(make_user("boss", is_staff=True, is_superuser=True))
    return client


def act(staff: Client, action: str, rows: Any, *, model: str = "catalogitem", **more: str) -> None:
    body = {"action": action, "_selected_action": [row.pk for row in rows], **more}
    assert staff.post(reverse(f"admin:catalog_{model}_changelist"), body).status_code == 302


def files(media: Path) -> list[Path]:
    return [path for path in media.rglob("*") if path.is_file()]


def test_items_are_hidden_and_shown_again(staff: Client) -> None:
    chosen, other = make_item(), make_item()
    act(staff, "hide", [chosen])
    assert list(CatalogItem.objects.findable()) == [other]
    act(staff, "show", [chosen])
    assert CatalogItem.objects.findable().count() == 2


def test_deleting_an_item_marks_it_and_earlier_answers_keep_it(staff: Client) -> None:
    query = answered_query(make_user(), items=2)
    one, other = (found.item for found in query.recommendations.all())
    page = staff.get(reverse(f"{ITEMS}_delete", args=[one.pk]))
    assert page.status_code == 200
    assert staff.post(reverse(f"{ITEMS}_delete", args=[one.pk]), {"post": "yes"}).status_code == 302
    act(staff, "delete_selected", [other], post="yes")
    assert not CatalogItem.objects.findable().exists()
    assert CatalogItem.objects.filter(deleted_at=None).count() == 0
    assert Recommendation.objects.count() == 2


def test_an_item_can_be_changed_and_its_photos_stay(staff: Client) -> None:
    item = make_item_photo().item
    page = staff.get(reverse(f"{ITEMS}_change", args=[item.pk]))
    body = {"external_id": item.external_id, "name": "Better name", "attributes": "{}", "is_active": "on"}
    management = {"photos-TOTAL_FORMS": "1", "photos-INITIAL_FORMS": "1", "photos-0-id": str(item.photos.get().pk)}
    answer = staff.post(reverse(f"{ITEMS}_change", args=[item.pk]), body | management)
    assert (page.status_code, answer.status_code) == (200, 302)
    item.refresh_from_db()
    assert item.name == "Better name"
    assert item.photos.count() == 1


def test_deleting_a_persons_photo_takes_its_file_and_queries_along(staff: Client, media: Path) -> None:
    photo, other = make_upload(), make_upload()
    make_query(photo)
    url = reverse("admin:catalog_uploadedphoto_delete", args=[photo.pk])
    assert staff.post(url, {"post": "yes"}).status_code == 302
    assert not SimilarityQuery.objects.exists()
    assert len(files(media)) == 1
    act(staff, "delete_selected", [other], model="uploadedphoto", post="yes")
    assert files(media) == []


def test_deleting_an_account_leaves_nothing_of_it(staff: Client, media: Path) -> None:
    user = make_user()
    make_query(make_upload(user))
    url = reverse("admin:catalog_user_delete", args=[user.pk])
    assert staff.get(url).status_code == 200
    assert staff.post(url, {"post": "yes"}).status_code == 302
    assert not User.objects.filter(pk=user.pk).exists()
    assert not UploadedPhoto.objects.exists()
    assert files(media) == []


def test_an_account_can_be_made(staff: Client) -> None:
    body = {"username": "new", "password1": "a long pass 77", "password2": "a long pass 77", "usable_password": "true"}
    assert staff.post(reverse("admin:catalog_user_add"), body).status_code == 302
    assert User.objects.get(username="new").check_password("a long pass 77")
