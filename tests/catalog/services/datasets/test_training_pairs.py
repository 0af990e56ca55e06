"""Users' photos in training: only with consent, and without leaks from evaluation sets."""

import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from PIL import Image

from catalog.models import TripletState
from catalog.photos.validation import clean_photo
from ml.data.manifest import read_manifest
from tests.helpers.factories import make_item, make_item_photo, make_upload
from tests.helpers.training_catalogue import make_accepted_triplet, make_catalogue, make_evaluation_set
from tests.helpers.written_dataset import files, paths, picture, write

__all__ = ["write"]  # a fixture

pytestmark = pytest.mark.django_db


@pytest.mark.database
def test_an_accepted_photo_becomes_a_further_photo_of_its_item(write: Any) -> None:
    photos = make_catalogue(20)
    triplet = make_accepted_triplet(
        photos["Hat"][0], photos["Shirt"][0], crop={"x": 0.5, "y": 0, "width": 0.5, "height": 0.5}
    )
    make_evaluation_set()
    rows, counts = write()
    of_item = [row for row in rows if row["item"] == f"catalogue {photos['Hat'][0].item_id}"]
    anchor = next(row for row in of_item if row["path"] == triplet.anchor.file.path)
    assert len(of_item) == 2
    assert anchor | {"path": ""} == of_item[0] | {"path": "", "box": "30,0,60,40"}
    assert (anchor["label"], anchor["split"]) == ("Hat", "train")
    assert counts["pairs"] == 1


@pytest.mark.database
def test_a_photo_with_several_triplets_belongs_to_the_item_of_the_first(write: Any, tmp_path: Path) -> None:
    photos = make_catalogue(20)
    first = make_accepted_triplet(photos["Hat"][0], photos["Shirt"][0])
    make_accepted_triplet(photos["Hat"][0], photos["Shirt"][1], first.anchor)
    make_accepted_triplet(photos["Hat"][1], photos["Shirt"][0], first.anchor)
    make_evaluation_set()
    rows, counts = write()
    assert [row["item"] for row in rows if row["path"] == first.anchor.file.path] == [
        f"catalogue {photos['Hat'][0].item_id}"
    ]
    assert counts["pairs"] == 1
    assert len(read_manifest(tmp_path / "run" / "data.csv").photos) == 41


@pytest.mark.parametrize("state", [TripletState.PROPOSED, TripletState.REJECTED, TripletState.SKIPPED])
def test_only_accepted_triplets_are_used(write: Any, state: str) -> None:
    photos = make_catalogue(20)
    make_accepted_triplet(photos["Hat"][0], photos["Shirt"][0], state=state)
    make_evaluation_set()
    assert write()[1]["pairs"] == 0


@pytest.mark.parametrize("columns", [{"may_train": False}, {"expires_at": timezone.now() - timedelta(hours=1)}])
def test_photos_without_consent_and_expired_photos_are_not_used(write: Any, columns: dict[str, Any]) -> None:
    photos = make_catalogue(20)
    anchor = make_upload(**{"may_train": True} | columns)
    make_accepted_triplet(photos["Hat"][0], photos["Shirt"][0], anchor)
    make_evaluation_set()
    rows, counts = write()
    assert counts["pairs"] == 0
    assert not paths(rows) & files(anchor)


@pytest.mark.parametrize("side", ["positive", "negative"])
@pytest.mark.parametrize("is_current", [True, False])
def test_triplets_with_an_item_of_an_evaluation_set_are_not_used(write: Any, side: str, is_current: bool) -> None:
    photos = make_catalogue(20)
    positive, negative = photos["Hat"][0], photos["Shirt"][0]
    triplet = make_accepted_triplet(positive, negative)
    make_evaluation_set({"positive": positive, "negative": negative}[side], is_current=is_current)
    if not is_current:
        make_evaluation_set(name="now")
    rows, counts = write()
    assert counts["pairs"] == 0
    assert not paths(rows) & files(triplet.anchor)


@pytest.mark.parametrize("same", ["sha256", "source_sha256"])
def test_a_copy_of_a_photo_of_an_evaluation_set_is_not_used(write: Any, same: str) -> None:
    photos = make_catalogue(20)
    frozen = photos["Hat"][5]
    anchor = make_upload(may_train=True)
    setattr(anchor, same, getattr(frozen, same))
    anchor.save()
    make_accepted_triplet(photos["Hat"][0], photos["Shirt"][0], anchor)
    make_evaluation_set(frozen)
    rows, counts = write()
    assert counts["pairs"] == 0
    assert not paths(rows) & files(anchor)


@pytest.mark.parametrize("is_cropped", [False, True])
def test_a_screenshot_of_a_photo_of_an_evaluation_set_is_not_used(write: Any, is_cropped: bool) -> None:
    photos = make_catalogue(20)
    clean = clean_photo(picture(1))
    frozen = make_item_photo(make_item(category="Hat"), clean.content, perceptual_hash=clean.perceptual_hash)
    make_evaluation_set(frozen)
    shot = Image.open(io.BytesIO(clean.content)).resize((128, 160))
    page = Image.new("RGB", (256, 160), "white") if is_cropped else shot
    page.paste(shot, (128, 0) if is_cropped else (0, 0))
    buffer = io.BytesIO()
    page.save(buffer, "JPEG", quality=70)
    anchor = make_upload(may_train=True, content=buffer.getvalue())
    type(anchor).objects.filter(pk=anchor.pk).update(width=page.width, height=page.height)
    crop = {"x": 0.5, "y": 0, "width": 0.5, "height": 1} if is_cropped else None
    make_accepted_triplet(photos["Hat"][0], photos["Shirt"][0], anchor, crop=crop)
    rows, counts = write()
    assert counts["pairs"] == 0
    assert not paths(rows) & files(anchor)


def test_a_different_photo_of_the_same_category_is_used(write: Any) -> None:
    photos = make_catalogue(20)
    clean = clean_photo(picture(1))
    make_evaluation_set(
        make_item_photo(make_item(category="Hat"), clean.content, perceptual_hash=clean.perceptual_hash)
    )
    make_accepted_triplet(photos["Hat"][0], photos["Shirt"][0], make_upload(may_train=True, content=picture(2)))
    assert write()[1]["pairs"] == 1
