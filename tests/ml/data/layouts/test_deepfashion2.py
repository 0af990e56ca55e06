import json
from pathlib import Path
from typing import Any

import pytest

from ml.data.layouts import deepfashion2
from ml.data.layouts.source_files import ConversionError
from ml.data.layouts.splits import val_by_hash
from ml.data.manifest import Manifest, validate_manifest
from tests.helpers.drawn_pictures import drawn_picture
from tests.helpers.errors import raises_code


def garment(category: str, style: int, box: list[int]) -> dict[str, Any]:
    return {"category_name": category, "category_id": 1, "style": style, "bounding_box": box, "scale": 2}


def write_annotation(folder: Path, name: str, entries: dict[str, Any]) -> None:
    for kind in ("image", "annos"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    drawn_picture(int(name)).save(folder / "image" / f"{name}.jpg")
    (folder / "annos" / f"{name}.json").write_text(json.dumps(entries))


@pytest.fixture
def source(tmp_path) -> Path:
    """A pair of a user's and a shop's picture, with a top in both and trousers in one; and a validation picture."""
    top, trousers = garment("short sleeve top", 1, [10, 5, 60, 50]), garment("trousers", 0, [10, 50, 60, 120])
    write_annotation(tmp_path / "train", "000001", {"source": "user", "pair_id": 7, "item1": top, "item2": trousers})
    write_annotation(tmp_path / "train", "000002", {"source": "shop", "pair_id": 7, "item1": top})
    skirt = garment("skirt", 1, [0, 0, 96, 128])
    write_annotation(tmp_path / "validation", "000001", {"source": "shop", "pair_id": 7, "item1": skirt})
    return tmp_path


def test_each_garment_is_a_row_and_pair_and_style_make_an_item(source):
    photos = deepfashion2.convert(source, source, subset=True)
    split = val_by_hash("train/7")
    assert [(photo.path, photo.label, photo.item, photo.split) for photo in photos] == [
        ("train/image/000001.jpg", "short sleeve top", "train/7/1", split),
        ("train/image/000001.jpg", "trousers", "train/000001/item2", split),
        ("train/image/000002.jpg", "short sleeve top", "train/7/1", split),
        ("validation/image/000001.jpg", "skirt", "validation/7/1", "test"),
    ]
    assert photos[1].extra == {"source": "user", "pair": "7", "style": "0", "box": "10,50,60,120"}


def test_the_manifest_of_a_picture_with_two_garments_is_valid(source):
    photos = deepfashion2.convert(source, source, subset=True)
    manifest = Manifest(source, tuple(photos))
    validate_manifest(manifest)
    assert [manifest.read(photo).size for photo in photos[:2]] == [(50, 45), (50, 70)]


def test_garments_with_the_same_box_count_once(source):
    top = garment("vest", 1, [10, 5, 60, 50])
    write_annotation(source / "train", "000003", {"source": "user", "pair_id": 8, "item1": top, "item2": top})
    photos = deepfashion2.convert(source, source, subset=True)
    assert len([photo for photo in photos if photo.path == "train/image/000003.jpg"]) == 1


def test_the_published_counts_are_required(source, monkeypatch):
    with raises_code(ConversionError, "count_mismatch", "2 annotated pictures in train/annos", "191,961"):
        deepfashion2.convert(source, source)
    monkeypatch.setattr(deepfashion2, "PICTURES", {"train": 2, "validation": 1})
    assert len(deepfashion2.convert(source, source)) == 4


def test_a_folder_without_annotations_is_refused(tmp_path):
    with raises_code(ConversionError, "nothing_listed", tmp_path):
        deepfashion2.convert(tmp_path, tmp_path, subset=True)


def test_an_annotation_without_its_picture_is_refused(source):
    (source / "train" / "image" / "000002.jpg").unlink()
    with raises_code(ConversionError, "file_missing", "000002.jpg"):
        deepfashion2.convert(source, source, subset=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "3",
        "{}",
        '{"source": "user"}',
        '{"source": "user", "pair_id": 1, "item1": 3}',
        '{"source": "user", "pair_id": 1, "item1": {"category_name": "vest", "style": 1, "bounding_box": [1, 2, 3]}}',
        '{"source": "user", "pair_id": 1, "item1": {"category_name": "vest", "style": null, "bounding_box": [1]}}',
    ],
)
def test_a_malformed_annotation_is_refused(source, text):
    (source / "train" / "annos" / "000002.json").write_text(text)
    with raises_code(ConversionError, "annotation_malformed", "000002.json"):
        deepfashion2.convert(source, source, subset=True)
