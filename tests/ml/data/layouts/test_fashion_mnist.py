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


def write_part(folder: Path, part: str, pictures: np.ndarray, labels: list[int]) -> None:
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
    write_part(folder, "train", pixels[:3], [9, 0, 8])
    write_part(folder, "t10k", pixels[3:], [1, 6])
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


def test_the_published_counts_are_required_before_anything_is_written(source, tmp_path, monkeypatch):
    with raises_code(ConversionError, "count_mismatch", "3 pictures in train", "60,000"):
        convert(source, tmp_path)
    assert not (tmp_path / FOLDER).exists()
    monkeypatch.setattr(fashion_mnist, "PICTURES", {"train": 3, "t10k": 2})
    assert len(convert(source, tmp_path)) == 5


def test_an_existing_folder_is_left_alone(source, tmp_path):
    (tmp_path / FOLDER).mkdir()
    with raises_code(UnwritableError, "folder_exists", FOLDER):
        convert(source, tmp_path, subset=True)
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_a_full_disk_leaves_no_folder(source, tmp_path, monkeypatch):
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


def test_the_rest_of_an_interrupted_attempt_is_removed(source, tmp_path):
    part = tmp_path / f"{FOLDER}.part"
    (part / "train").mkdir(parents=True)
    (part / "train" / "99999.png").write_bytes(b"old")
    convert(source, tmp_path, subset=True)
    assert not part.exists()
    assert not (tmp_path / FOLDER / "train" / "99999.png").exists()


def test_malformed_idx_files_are_refused(source, tmp_path, pixels):
    images, labels = (source / f"t10k-{name}-ubyte.gz" for name in ("images-idx3", "labels-idx1"))
    whole = idx(pixels[3:], 3)
    for file, content, code in (
        (images, b"", "idx_malformed"),
        (images, gzip.compress(whole[:-1]), "idx_truncated"),
        (images, gzip.compress(whole)[:-20], "file_unreadable"),
        (images, whole, "file_unreadable"),
        (images, gzip.compress(idx(pixels[3], 2)), "idx_malformed"),
        (labels, gzip.compress(idx(np.array([1], dtype=np.uint8), 1)), "count_mismatch"),
        (labels, gzip.compress(idx(np.array([1, 10], dtype=np.uint8), 1)), "labels_unknown"),
    ):
        original = file.read_bytes()
        file.write_bytes(content)
        with raises_code(ConversionError, code):
            convert(source, tmp_path, subset=True)
        file.write_bytes(original)
    assert [path.name for path in tmp_path.iterdir()] == ["idx"]
