import gzip
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml.data.layouts import fashion_mnist
from ml.data.layouts.fashion_mnist import FOLDER, LABELS, convert
from ml.data.layouts.source_files import ConversionError
from ml.data.layouts.splits import val_by_hash
from ml.data.manifest import Manifest, validate_manifest
from ml.formats.atomic_files import UnwritableError
from tests.helpers.errors import raises_code


def idx(pixels: np.ndarray, axes: int) -> bytes:
    return bytes((0, 0, 8, axes)) + b"".join(side.to_bytes(4, "big") for side in pixels.shape) + pixels.tobytes()


def written(folder: Path, part: str, pictures: np.ndarray, labels: list[int]) -> None:
    data = {"images-idx3": idx(pictures, 3), "labels-idx1": idx(np.array(labels, dtype=np.uint8), 1)}
    for name, content in data.items():
        (folder / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(content))


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (5, 28, 28), dtype=np.uint8)


@pytest.fixture
def source(tmp_path, pixels) -> Path:
    folder = tmp_path / "idx"
    folder.mkdir()
    written(folder, "train", pixels[:3], [9, 0, 8])
    written(folder, "t10k", pixels[3:], [1, 6])
    return folder


def test_pictures_become_pngs_with_their_labels(source, pixels, tmp_path):
    photos = convert(source, tmp_path, subset=True)
    assert [(photo.item, photo.label) for photo in photos] == [
        ("train/00000", "Ankle boot"),
        ("train/00001", "T-shirt/top"),
        ("train/00002", "Bag"),
        ("t10k/00000", "Trouser"),
        ("t10k/00001", "Shirt"),
    ]
    assert photos[0].path == f"{FOLDER}/train/00000.png"
    assert [photo.split for photo in photos[:3]] == [val_by_hash(photo.item) for photo in photos[:3]]
    assert {photo.split for photo in photos[3:]} == {"test"}
    for photo, expected in zip(photos, pixels, strict=True):
        assert np.array_equal(np.asarray(Image.open(tmp_path / photo.path)), expected)
    manifest = Manifest(tmp_path, tuple(photos))
    validate_manifest(manifest)
    assert np.array_equal(np.asarray(manifest.read(photos[1]))[:, :, 2], pixels[1])


def test_there_are_ten_labels():
    assert len(set(LABELS)) == 10


def test_the_published_counts_are_asked_for_before_anything_is_written(source, tmp_path, monkeypatch):
    with pytest.raises(ConversionError, match="3 pictures in train, published are 60,000"):
        convert(source, tmp_path)
    assert not (tmp_path / FOLDER).exists()
    monkeypatch.setattr(fashion_mnist, "PICTURES", {"train": 3, "t10k": 2})
    assert len(convert(source, tmp_path)) == 5


def test_a_folder_that_is_there_is_never_written_into(source, tmp_path):
    (tmp_path / FOLDER).mkdir()
    with raises_code(UnwritableError, "folder_exists", FOLDER):
        convert(source, tmp_path, subset=True)
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_a_full_disk_leaves_nothing(source, tmp_path, monkeypatch):
    saved = []

    def full(image: Image.Image, path: Path) -> None:
        saved.append(path)
        path.write_bytes(b"half")
        if len(saved) == 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with raises_code(UnwritableError, "unwritable", FOLDER):
        convert(source, tmp_path, subset=True)
    assert [path.name for path in tmp_path.iterdir()] == ["idx"]


def test_what_an_interrupted_attempt_left_is_cleared_away(source, tmp_path):
    part = tmp_path / f"{FOLDER}.part"
    (part / "train").mkdir(parents=True)
    (part / "train" / "99999.png").write_bytes(b"old")
    convert(source, tmp_path, subset=True)
    assert not part.exists()
    assert not (tmp_path / FOLDER / "train" / "99999.png").exists()


def test_files_that_are_no_idx_are_refused(source, tmp_path, pixels):
    images, labels = (source / f"t10k-{name}-ubyte.gz" for name in ("images-idx3", "labels-idx1"))
    whole = idx(pixels[3:], 3)
    for file, content, complaint in (
        (images, b"", "no idx file"),
        (images, gzip.compress(whole[:-1]), "announces"),
        (images, gzip.compress(whole)[:-20], "Cannot read"),
        (images, whole, "Cannot read"),
        (images, gzip.compress(idx(pixels[3], 2)), "no idx file"),
        (labels, gzip.compress(idx(np.array([1], dtype=np.uint8), 1)), "2 pictures and 1 labels"),
        (labels, gzip.compress(idx(np.array([1, 10], dtype=np.uint8), 1)), "not the ten"),
    ):
        kept = file.read_bytes()
        file.write_bytes(content)
        with pytest.raises(ConversionError, match=complaint):
            convert(source, tmp_path, subset=True)
        file.write_bytes(kept)
    assert [path.name for path in tmp_path.iterdir()] == ["idx"]
