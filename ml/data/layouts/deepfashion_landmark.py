"""Layout of the DeepFashion Fashion Landmark Detection Benchmark: 123,016 photos of clothes with a box.

`Anno/list_bbox.txt`, `Anno/list_landmarks.txt`, `Eval/list_eval_partition.txt` and `img/`. Published with "Fashion
Landmark Detection in the Wild" (Liu et al., ECCV 2016).
"""

from pathlib import Path

from ml.data.layouts.deepfashion_lists import (
    BOX_COLUMNS,
    find_list,
    find_picture,
    index_by_picture,
    parse_box,
    parse_group,
    read_list,
    require_row,
)
from ml.data.layouts.source_files import ConversionError, relative_path, require_count, require_distinct
from ml.data.manifest import Photo
from ml.formats.manifest_csv import SPLITS

PHOTOS = 123_016
VARIATIONS = {"1": "normal", "2": "medium pose", "3": "large pose", "4": "medium zoom-in", "5": "large zoom-in"}


def convert(source: Path, manifest_folder: Path, subset: bool = False) -> list[Photo]:
    """Return one row per photo, each an item of its own; the label is the clothes type (upper, lower, full)."""
    bbox, landmarks = (find_list(source, "Anno", name) for name in ("list_bbox.txt", "list_landmarks.txt"))
    partition = find_list(source, "Eval", "list_eval_partition.txt")
    boxes = index_by_picture(read_list(bbox, ("image_name", *BOX_COLUMNS), subset))
    types = index_by_picture(read_list(landmarks, ("image_name", "clothes_type", "variation_type"), subset))
    listed = read_list(partition, ("image_name", "evaluation_status"), subset)
    require_distinct(row["image_name"] for row in listed)
    require_count("photos", len(listed), PHOTOS, subset)
    photos = []
    for row in listed:
        name, split = row["image_name"], row["evaluation_status"]
        if split not in SPLITS:
            raise ConversionError(f"{name!r} is in an unknown split {split!r}.", code="split_unknown")
        kind = require_row(types, name, "landmarks")
        photos.append(
            Photo(
                path=relative_path(find_picture(source, name), manifest_folder),
                label=parse_group(kind),
                item=Path(name).with_suffix("").as_posix(),
                split=split,
                extra={
                    "variation": VARIATIONS.get(kind["variation_type"], ""),
                    "box": parse_box(require_row(boxes, name, "box")),
                },
            )
        )
    return photos
