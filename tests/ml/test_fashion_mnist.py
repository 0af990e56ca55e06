"""Fashion-MNIST as Debian ships it: real files, with figures that others have published.

`apt-get install dataset-fashion-mnist` puts them where these tests look.
"""

import gzip
from pathlib import Path

import numpy as np
import pytest

from ml.data_check import check_data
from ml.layouts import fashion_mnist
from ml.layouts.fashion_mnist import LABELS
from ml.manifest import Manifest, read_manifest, write_manifest

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
PARTS = {"train": 400, "t10k": 100}

pytestmark = pytest.mark.skipif(
    not (DEBIAN / "t10k-labels-idx1-ubyte.gz").is_file(), reason="Debian's dataset-fashion-mnist is not installed"
)


def first_of(part: str, count: int, folder: Path) -> None:
    """Write the first `count` pictures and labels of a part as idx files of their own."""
    for name, axes in (("images-idx3", 3), ("labels-idx1", 1)):
        file = f"{part}-{name}-ubyte.gz"
        with gzip.open(DEBIAN / file) as whole:
            head = whole.read(4 + 4 * axes)
            body = whole.read(count * (28 * 28 if axes == 3 else 1))
        (folder / file).write_bytes(gzip.compress(head[:4] + count.to_bytes(4, "big") + head[8:] + body))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Manifest:
    folder = tmp_path_factory.mktemp("fashion-mnist")
    for part, count in PARTS.items():
        first_of(part, count, folder)
    write_manifest(folder / "m.csv", fashion_mnist.convert(folder, folder, subset=True))
    return read_manifest(folder / "m.csv")


def test_the_whole_files_have_the_published_counts():
    for part, count in fashion_mnist.PICTURES.items():
        with gzip.open(DEBIAN / f"{part}-labels-idx1-ubyte.gz") as file:
            labels = np.frombuffer(file.read()[8:], dtype=np.uint8)
        assert np.bincount(labels).tolist() == [count // len(LABELS)] * len(LABELS)


def test_a_subset_becomes_a_manifest_without_faults(manifest):
    assert len(manifest.photos) == sum(PARTS.values())
    assert {photo.label for photo in manifest.photos} == set(LABELS)
    assert manifest.photos[0].label == "Ankle boot"  # the first picture that every tutorial shows
    assert check_data(manifest.folder / "m.csv").errors == {}


def test_labels_and_pictures_belong_together(manifest):
    """Nearest neighbours in plain pixels are right far above chance (one in ten); 85 % are published for the whole."""
    pixels = np.stack([np.asarray(manifest.read(photo))[:, :, 0].ravel() for photo in manifest.photos]).astype(float)
    labels = np.array([photo.label for photo in manifest.photos])
    tested = np.array([photo.split == "test" for photo in manifest.photos])
    queries, gallery = pixels[tested], pixels[~tested]
    distances = (gallery**2).sum(axis=1) - 2 * queries @ gallery.T  # squared, less what is the same for each query
    assert np.mean(labels[~tested][distances.argmin(axis=1)] == labels[tested]) > 0.6
