"""Layout of Fashion-MNIST (Xiao et al., 2017): 60,000 + 10,000 grey pictures of 28 x 28 pixels, ten labels, four files.

Debian's package dataset-fashion-mnist installs them in /usr/share/datasets/fashion-mnist. The format is idx: a magic
number (two zero bytes, 8 for unsigned bytes, the number of axes), the length of each axis as big-endian 32-bit, bytes.
"""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ml.data.layouts.source_files import ConversionError, relative_path, require_count
from ml.data.layouts.splits import val_by_hash
from ml.data.manifest import Photo
from ml.formats.atomic_files import UnwritableError, atomic_folder, translate_to_unwritable

LABELS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
PICTURES = {"train": 60_000, "t10k": 10_000}
FOLDER = "fashion-mnist-pictures"
"""Folder beside the manifest for the pictures."""

Bytes = npt.NDArray[np.uint8]


def convert(source: Path, manifest_folder: Path, subset: bool = False) -> list[Photo]:
    """Write each picture as a PNG, an item of its own; t10k becomes test, and a tenth of train becomes val.

    The folder of PNGs is written atomically. Raises `UnwritableError`, also if it exists already.
    """
    parts = {part: _read_part(source, part) for part in PICTURES}
    for part, published in PICTURES.items():
        require_count(f"pictures in {part}", len(parts[part][1]), published, subset)
    photos = []
    target = manifest_folder / FOLDER
    if target.exists():
        raise UnwritableError(f"{str(target)!r} exists already; remove it first.", code="folder_exists")
    with translate_to_unwritable(target), atomic_folder(target) as folder:
        for part, (pictures, labels) in parts.items():
            (folder / part).mkdir()
            for number, (pixels, label) in enumerate(zip(pictures, labels, strict=True)):
                item = f"{part}/{number:05}"
                Image.fromarray(pixels).save(folder / f"{item}.png")
                path = relative_path(target / f"{item}.png", manifest_folder)
                photos.append(Photo(path, LABELS[label], item, "test" if part == "t10k" else val_by_hash(item)))
    return photos


def _read_part(source: Path, part: str) -> tuple[Bytes, Bytes]:
    """Return pictures (n, height, width) and labels (n,) of "train" or "t10k". Raises `ConversionError`."""
    pictures = _read_idx(source / f"{part}-images-idx3-ubyte.gz", axes=3)
    labels = _read_idx(source / f"{part}-labels-idx1-ubyte.gz", axes=1)
    if len(pictures) != len(labels):
        text = f"{part} has {len(pictures)} pictures and {len(labels)} labels."
        raise ConversionError(text, code="count_mismatch")
    if not len(labels) or labels.max() >= len(LABELS):
        raise ConversionError(f"The labels of {part} are not the ten of Fashion-MNIST.", code="labels_unknown")
    return pictures, labels


def _read_idx(path: Path, axes: int) -> Bytes:
    """Return the array in an idx file, with `axes` dimensions. Raises `ConversionError`."""
    try:
        data = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        text = f"Cannot read {str(path)!r}: {getattr(error, 'strerror', None) or error}."
        raise ConversionError(text, code="file_unreadable") from error
    start = 4 + 4 * axes
    if len(data) < start or data[:4] != bytes((0, 0, 8, axes)):
        raise ConversionError(f"{str(path)!r} is not an idx file of bytes with {axes} axes.", code="idx_malformed")
    shape = struct.unpack(f">{axes}I", data[4:start])
    if len(data) - start != np.prod(shape, dtype=np.int64):
        text = f"{str(path)!r} declares {shape} bytes and has {len(data) - start:,}; download the file again."
        raise ConversionError(text, code="idx_truncated")
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)
