"""Admin of item photos: add, remove, refuse; restoring deleted items."""

from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.forms import BaseForm
from django.test import Client
from django.urls import reverse
from PIL import Image
from pytest_django import DjangoCaptureOnCommitCallbacks

from catalog import tasks
from catalog.errors import Refused
from catalog.models import CatalogItem, EncoderState, ItemPhoto
from catalog.services.items import item_photo_add, item_photo_prepare
from tests.helpers.admin import error_codes, run_action, stored_files
from tests.helpers.api import answered_query
from tests.helpers.errors import raises_code
from tests.helpers.factories import jpeg, make_embedding, make_encoder, make_item, make_item_photo, make_user, unit

pytestmark = pytest.mark.django_db


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ids of the encoders that were sent to embed the catalogue."""
    encoder_ids: list[int] = []
    monkeypatch.setattr(tasks, "send_embed_catalog", encoder_ids.append)
    return encoder_ids


def save_item(staff: Client, item: CatalogItem, *new: bytes, remove: tuple[ItemPhoto, ...] = ()) -> Any:
    """Save an item's page with new pictures chosen and photos ticked for removal."""
    present = list(item.photos.all())
    body: dict[str, Any] = {"external_id": item.external_id, "name": item.name, "attributes": "{}", "is_active": "on"}
    body |= {"photos-TOTAL_FORMS": len(present) + len(new), "photos-INITIAL_FORMS": len(present)}
    for number, photo in enumerate(present):
        body[f"photos-{number}-id"] = photo.pk
        if photo in remove:
            body[f"photos-{number}-DELETE"] = "on"
    for number, content in enumerate(new, start=len(present)):
        body[f"photos-{number}-picture"] = SimpleUploadedFile("photo.jpg", content, "image/jpeg")
    return staff.post(reverse("admin:catalog_catalogitem_change", args=[item.pk]), body)


def photo_form(response: Any) -> BaseForm:
    """The form of the last new photo on an item's page."""
    form: BaseForm = response.context["inline_admin_formsets"][0].formset.forms[-1]
    return form


def test_a_new_photo_is_cleaned_appended_and_embedded(staff: Client, sent: list[int]) -> None:
    encoder = make_encoder(state=EncoderState.LIVE)
    item = make_item_photo(position=4).item
    assert save_item(staff, item, jpeg("red"), jpeg("green")).status_code == 302
    first, *new = item.photos.all()
    assert [photo.position for photo in (first, *new)] == [4, 5, 6]
    with Image.open(new[0].file) as picture:
        assert (picture.size, new[0].width, new[0].height) == ((60, 80), 60, 80)
    assert len(new[0].perceptual_hash) == 16
    assert sent == [encoder.pk, encoder.pk]


def test_the_first_photo_of_an_item_has_position_0(staff: Client) -> None:
    item = make_item()
    assert save_item(staff, item, jpeg()).status_code == 302
    assert item.photos.get().position == 0


def test_a_new_item_can_be_saved_with_a_photo(staff: Client) -> None:
    picture = SimpleUploadedFile("photo.jpg", jpeg(), "image/jpeg")
    body = {"external_id": "x", "name": "New", "attributes": "{}", "is_active": "on", "photos-0-picture": picture}
    body |= {"photos-TOTAL_FORMS": "1", "photos-INITIAL_FORMS": "0"}
    assert staff.post(reverse("admin:catalog_catalogitem_add"), body).status_code == 302
    assert CatalogItem.objects.get(name="New").photos.count() == 1


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"this is no picture", "photo_unreadable"), (b"", "empty"), (jpeg(size=(300, 300))[:400], "photo_damaged")],
)
def test_a_refused_picture_is_shown_at_its_field_and_not_stored(
    staff: Client, media: Path, content: bytes, code: str
) -> None:
    item = make_item()
    response = save_item(staff, item, content)
    assert response.status_code == 200
    assert error_codes(photo_form(response)) == {"picture": [code]}
    assert not item.photos.exists()
    assert stored_files(media) == []


def test_a_duplicate_picture_is_refused(staff: Client, media: Path) -> None:
    item = make_item()
    save_item(staff, item, jpeg())
    assert error_codes(photo_form(save_item(staff, item, jpeg()))) == {"picture": ["photo_known"]}
    save_item(staff, item, jpeg("red"), jpeg("red"))
    assert item.photos.count() == len(stored_files(media)) == 2


@pytest.mark.database
def test_the_same_picture_added_concurrently_is_stored_once(media: Path) -> None:
    item = make_item()
    first, second = (item_photo_prepare(item=item, raw=jpeg()) for _ in range(2))
    item_photo_add(photo=first)
    with raises_code(Refused, "photo_known"):
        item_photo_add(photo=second)
    assert item.photos.count() == len(stored_files(media)) == 1


@pytest.mark.database
def test_removing_a_photo_deletes_file_and_vectors_but_keeps_earlier_results(
    staff: Client, media: Path, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    query = answered_query(make_user(), items=1, photos=2)
    match = query.recommendations.get()
    make_embedding(make_encoder(), unit(1), match.photo)
    remaining = match.item.photos.exclude(pk=match.photo_id).get()
    count = len(stored_files(media))
    with django_capture_on_commit_callbacks(execute=True):
        assert save_item(staff, match.item, remove=(match.photo,)).status_code == 302
    assert match.item.photos.get() == remaining
    assert query.recommendations.get().photo == remaining
    assert not Path(match.photo.file.path).exists()
    assert len(stored_files(media)) == count - 1


def test_the_last_photo_of_an_item_can_be_removed(staff: Client) -> None:
    match = answered_query(make_user(), items=1, photos=1).recommendations.get()
    assert save_item(staff, match.item, remove=(match.photo,)).status_code == 302
    assert not match.item.photos.exists()


@pytest.mark.database
def test_restored_items_are_embedded(staff: Client, sent: list[int]) -> None:
    encoder = make_encoder(state=EncoderState.LIVE)
    item, other = make_item(), make_item()
    for each in (item, other):
        each.mark_deleted()
    run_action(staff, "restore", [item])
    assert list(CatalogItem.objects.findable()) == [item]
    assert sent == [encoder.pk]
