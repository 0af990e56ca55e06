"""Layout of DeepFashion2 (Ge et al., CVPR 2019): several garments per picture, each with a box and a pair.

`train/` and `validation/`, each with `image/000001.jpg` and `annos/000001.json`. The counts are those of the release
(191,961 and 32,153 pictures), which is smaller than the paper describes; the labels of the test part are unpublished.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ml.data.layouts.source_files import ConversionError, format_box, relative_path, require_count, require_file
from ml.data.layouts.splits import val_by_hash
from ml.data.manifest import Photo

PICTURES = {"train": 191_961, "validation": 32_153}
GARMENT = re.compile(r"item\d+")


def convert(source: Path, manifest_folder: Path, subset: bool = False) -> list[Photo]:
    """Return one row per garment, with the path of its picture, its box, and its category as the label.

    An item is (pair_id, style) of one part; a garment of style 0 has no counterpart and is an item of its own.
    Validation, on which results are published, becomes test. A tenth of the pairs of train becomes val: whole pairs, so
    that all garments of a picture are in one split.
    """
    photos: list[Photo] = []
    for part, published in PICTURES.items():
        annotations = sorted((source / part / "annos").glob("*.json"))
        require_count(f"annotated pictures in {part}/annos", len(annotations), published, subset)
        for annotation in annotations:
            picture = require_file(source / part / "image", f"{annotation.stem}.jpg")
            photos += _read_garments(annotation, part, relative_path(picture, manifest_folder))
    if not photos:
        text = f"There are no annotations in {str(source)!r}; train/annos/*.json are needed."
        raise ConversionError(text, code="nothing_listed")
    return photos


def _read_garments(annotation: Path, part: str, path: str) -> Iterator[Photo]:
    """Yield the garments of one picture; garments with the same box count once. Raises `ConversionError`."""
    try:
        entries = json.loads(annotation.read_bytes())
        pair, source = int(entries["pair_id"]), str(entries["source"])
        split = "test" if part == "validation" else val_by_hash(f"{part}/{pair}")
        boxes = set()
        for name in sorted(filter(GARMENT.fullmatch, entries)):
            entry: Mapping[str, Any] = entries[name]
            style, box = int(entry["style"]), format_box(*(int(corner) for corner in entry["bounding_box"]))
            item = f"{part}/{pair}/{style}" if style > 0 else f"{part}/{annotation.stem}/{name}"
            if box not in boxes:
                boxes.add(box)
                extra = {"source": source, "pair": str(pair), "style": str(style), "box": box}
                yield Photo(path, str(entry["category_name"]), item, split, extra)
    except (OSError, ValueError, KeyError, TypeError) as error:
        text = f"{str(annotation)!r} is not an annotation of DeepFashion2: {error!r}."
        raise ConversionError(text, code="annotation_malformed") from error
