"""DeepFashion2 (Ge et al., CVPR 2019): pictures with several garments each, every one with its box and its pair.

`train/` and `validation/`, each with `image/000001.jpg` and `annos/000001.json`. The counts are those of the release
(191,961 and 32,153 pictures), which is smaller than what the paper describes; the labels of its test part are not out.
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
    """Each garment of a picture is a row of its own: the same path, another box. The label is its category.

    An item is (pair_id, style) of one part where the style is above 0; a garment of style 0 has no counterpart and is
    an item by itself. Validation, on which figures are published, becomes test; a tenth of the pairs of train is drawn
    as val, whole pairs, so that all garments of a picture stay together.
    """
    photos: list[Photo] = []
    for part, published in PICTURES.items():
        annotations = sorted((source / part / "annos").glob("*.json"))
        require_count(f"annotated pictures in {part}/annos", len(annotations), published, subset)
        for annotation in annotations:
            picture = require_file(source / part / "image", f"{annotation.stem}.jpg")
            photos += _garments(annotation, part, relative_path(picture, manifest_folder))
    if not photos:
        raise ConversionError(f"There are no annotations in {str(source)!r}: wanted are train/annos/*.json.")
    return photos


def _garments(annotation: Path, part: str, path: str) -> Iterator[Photo]:
    """The garments of one picture; one that is annotated twice with the same box is taken once."""
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
                more = {"source": source, "pair": str(pair), "style": str(style), "box": box}
                yield Photo(path, str(entry["category_name"]), item, split, more)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConversionError(f"{str(annotation)!r} is no annotation of DeepFashion2: {error!r}.") from error
