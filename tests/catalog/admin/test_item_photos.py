"""Staff add photos to an item, take them away, and bring deleted items back."""

from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from PIL import Image
from pytest_django import DjangoCaptureOnCommitCallbacks

from catalog import tasks
from catalog.errors import Refused
from catalog.models import CatalogItem, EncoderState, ItemPhoto
from catalog.services.items import item_photo_add, item_photo_prepare
from tests.catalog.admin.test_actions import act, files
from tests.helpers.api import answered_query
from tests.helpers.factories import jpeg, make_embedding, make_encoder, make_item, make_item_photo, make_user, unit

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(make_user("boss", is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The encoders that were told of photos to embed."""
    told: list[int] = []
    monkeypatch.setattr(tasks, "send_embed_catalog", told.append)
    return told


def save(staff: Client, item: CatalogItem, *new: bytes, remove: tuple[ItemPhoto, ...] = ()) -> Any:
    """Press Save on an item's page, with pictures chosen and photos ticked."""
    old = list(item.photos.all())
    body: dict[str, Any] = {"external_id": item.external_id, "name": item.name, "attributes": "{}", "is_active": "on"}
    body |= {"photos-TOTAL_FORMS": len(old) + len(new), "photos-INITIAL_FORMS": len(old)}
    for number, photo in enumerate(old):
        body[f"photos-{number}-id"] = photo.pk
        if photo in remove:
            body[f"photos-{number}-DELETE"] = "on"
    for number, content in enumerate(new, start=len(old)):
        body[f"photos-{number}-picture"] = SimpleUploadedFile("photo.jpg", content, "image/jpeg")
    return staff.post(reverse("admin:catalog_catalogitem_change", args=[item.pk]), body)


def test_a_photo_is_cleaned_comes_after_the_others_and_is_embedded(staff: Client, sent: list[int]) -> None:
    encoder = make_encoder(state=EncoderState.LIVE)
    item = make_item_photo(position=4).item
    assert save(staff, item, jpeg("red"), jpeg("green")).status_code == 302
    old, *new = item.photos.all()
    assert [photo.position for photo in (old, *new)] == [4, 5, 6]
    with Image.open(new[0].file) as picture:
        assert (picture.size, new[0].width, new[0].height) == ((60, 80), 60, 80)
    assert len(new[0].perceptual_hash) == 16
    assert sent == [encoder.pk, encoder.pk]


def test_the_first_photo_of_an_item_is_the_one_that_is_shown(staff: Client) -> None:
    item = make_item()
    assert save(staff, item, jpeg()).status_code == 302
    assert item.photos.get().position == 0


def test_a_new_item_may_come_with_its_photo(staff: Client) -> None:
    picture = SimpleUploadedFile("photo.jpg", jpeg(), "image/jpeg")
    body = {"external_id": "x", "name": "New", "attributes": "{}", "is_active": "on", "photos-0-picture": picture}
    body |= {"photos-TOTAL_FORMS": "1", "photos-INITIAL_FORMS": "0"}
    assert staff.post(reverse("admin:catalog_catalogitem_add"), body).status_code == 302
    assert CatalogItem.objects.get(name="New").photos.count() == 1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"this is no picture", "This is not a picture."), (b"", "empty"), (jpeg(size=(300, 300))[:400], "damaged")],
)
def test_a_refused_picture_is_told_beside_it_and_leaves_nothing(
    staff: Client, media: Path, content: bytes, sentence: str
) -> None:
    item = make_item()
    answer = save(staff, item, content)
    assert answer.status_code == 200
    assert sentence in answer.content.decode()
    assert not item.photos.exists()
    assert files(media) == []


def test_a_picture_that_the_item_has_already_is_refused(staff: Client, media: Path) -> None:
    item = make_item()
    save(staff, item, jpeg())
    assert "has this picture already" in save(staff, item, jpeg()).content.decode()
    save(staff, item, jpeg("red"), jpeg("red"))
    assert item.photos.count() == len(files(media)) == 2


def test_the_same_picture_at_the_same_moment_is_stored_once(media: Path) -> None:
    item = make_item()
    first, second = (item_photo_prepare(item=item, raw=jpeg()) for _ in range(2))
    item_photo_add(photo=first)
    with pytest.raises(Refused):
        item_photo_add(photo=second)
    assert item.photos.count() == len(files(media)) == 1


def test_a_removed_photo_goes_with_its_file_and_vectors_and_earlier_answers_stay(
    staff: Client, media: Path, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    query = answered_query(make_user(), items=1, photos=2)
    found = query.recommendations.get()
    make_embedding(make_encoder(), unit(1), found.photo)
    kept = found.item.photos.exclude(pk=found.photo_id).get()
    count = len(files(media))
    with django_capture_on_commit_callbacks(execute=True):
        assert save(staff, found.item, remove=(found.photo,)).status_code == 302
    assert found.item.photos.get() == kept
    assert query.recommendations.get().photo == kept
    assert not Path(found.photo.file.path).exists()
    assert len(files(media)) == count - 1


def test_the_last_photo_of_an_item_can_be_removed(staff: Client) -> None:
    found = answered_query(make_user(), items=1, photos=1).recommendations.get()
    assert save(staff, found.item, remove=(found.photo,)).status_code == 302
    assert not found.item.photos.exists()


def test_deleted_items_are_restored_and_what_they_lack_is_embedded(staff: Client, sent: list[int]) -> None:
    encoder = make_encoder(state=EncoderState.LIVE)
    item, other = make_item(), make_item()
    for gone in (item, other):
        gone.mark_deleted()
    act(staff, "restore", [item])
    assert list(CatalogItem.objects.findable()) == [item]
    assert sent == [encoder.pk]
