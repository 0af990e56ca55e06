"""What staff can do in the admin: hide, change and delete items, photos and accounts."""

from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from catalog.models import CatalogItem, Recommendation, SimilarityQuery, UploadedPhoto, User
from tests.helpers.admin import run_action, stored_files
from tests.helpers.api import answered_query
from tests.helpers.factories import make_item, make_item_photo, make_query, make_upload, make_user

pytestmark = pytest.mark.django_db

ITEMS = "admin:catalog_catalogitem"


def test_items_are_hidden_and_shown_again(staff: Client) -> None:
    chosen, other = make_item(), make_item()
    run_action(staff, "hide", [chosen])
    assert list(CatalogItem.objects.findable()) == [other]
    run_action(staff, "show", [chosen])
    assert CatalogItem.objects.findable().count() == 2


def test_a_deleted_item_is_only_marked_and_stays_in_earlier_results(staff: Client) -> None:
    query = answered_query(make_user(), items=2)
    one, other = (recommendation.item for recommendation in query.recommendations.all())
    page = staff.get(reverse(f"{ITEMS}_delete", args=[one.pk]))
    assert page.status_code == 200
    assert staff.post(reverse(f"{ITEMS}_delete", args=[one.pk]), {"post": "yes"}).status_code == 302
    run_action(staff, "delete_selected", [other], post="yes")
    assert not CatalogItem.objects.findable().exists()
    assert CatalogItem.objects.filter(deleted_at=None).count() == 0
    assert Recommendation.objects.count() == 2


def test_changing_an_item_keeps_its_photos(staff: Client) -> None:
    item = make_item_photo().item
    page = staff.get(reverse(f"{ITEMS}_change", args=[item.pk]))
    body = {"external_id": item.external_id, "name": "Better name", "attributes": "{}", "is_active": "on"}
    management = {"photos-TOTAL_FORMS": "1", "photos-INITIAL_FORMS": "1", "photos-0-id": str(item.photos.get().pk)}
    response = staff.post(reverse(f"{ITEMS}_change", args=[item.pk]), body | management)
    assert (page.status_code, response.status_code) == (200, 302)
    item.refresh_from_db()
    assert item.name == "Better name"
    assert item.photos.count() == 1


def test_deleting_an_uploaded_photo_deletes_its_file_and_queries(staff: Client, media: Path) -> None:
    photo, other = make_upload(), make_upload()
    make_query(photo)
    url = reverse("admin:catalog_uploadedphoto_delete", args=[photo.pk])
    assert staff.post(url, {"post": "yes"}).status_code == 302
    assert not SimilarityQuery.objects.exists()
    assert len(stored_files(media)) == 1
    run_action(staff, "delete_selected", [other], model="uploadedphoto", post="yes")
    assert stored_files(media) == []


def test_deleting_an_account_deletes_its_photos_and_files(staff: Client, media: Path) -> None:
    user = make_user()
    make_query(make_upload(user))
    url = reverse("admin:catalog_user_delete", args=[user.pk])
    assert staff.get(url).status_code == 200
    assert staff.post(url, {"post": "yes"}).status_code == 302
    assert not User.objects.filter(pk=user.pk).exists()
    assert not UploadedPhoto.objects.exists()
    assert stored_files(media) == []


def test_an_account_can_be_created(staff: Client) -> None:
    body = {"username": "new", "password1": "a long pass 77", "password2": "a long pass 77", "usable_password": "true"}
    assert staff.post(reverse("admin:catalog_user_add"), body).status_code == 302
    assert User.objects.get(username="new").check_password("a long pass 77")
