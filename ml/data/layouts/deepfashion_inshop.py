"""Layout of the DeepFashion In-shop Clothes Retrieval Benchmark: 52,712 photos of 7,982 items of one shop.

`Eval/list_eval_partition.txt`, `img/` and, optionally, `Anno/list_bbox_inshop.txt`. Published with "DeepFashion:
Powering Robust Clothes Recognition and Retrieval with Rich Annotations" (Liu et al., CVPR 2016).
"""

from pathlib import Path

from ml.data.layouts.deepfashion_lists import (
    Row,
    find_garment,
    find_list,
    find_picture,
    read_garments,
    read_list,
    require_one_split,
)
from ml.data.layouts.source_files import ConversionError, relative_path, require_count, require_distinct
from ml.data.layouts.splits import val_by_hash
from ml.data.manifest import Photo

PHOTOS = 52_712
ITEMS = 7_982
ROLES = {"train": "", "query": "query", "gallery": "gallery"}


def convert(source: Path, manifest_folder: Path, subset: bool = False) -> list[Photo]:
    """Return one row per photo. The label is the folder (`img/WOMEN/Dresses/id_…/02_1_front.jpg` is of Dresses).

    Query and gallery become the test split, with the column `role`; a tenth of the train items becomes val, which the
    benchmark lacks. `group` (upper, lower, full) and `box` are filled from the list of boxes.
    """
    partition = find_list(source, "Eval", "list_eval_partition.txt")
    listed = read_list(partition, ("image_name", "item_id", "evaluation_status"), subset)
    require_distinct(row["image_name"] for row in listed)
    require_count("photos", len(listed), PHOTOS, subset)
    require_count("items", len({row["item_id"] for row in listed}), ITEMS, subset)
    garments = read_garments(find_list(source, "Anno", "list_bbox_inshop.txt"), subset)
    split_of: dict[str, str] = {}
    photos = []
    for row in listed:
        name, item = row["image_name"], row["item_id"]
        split = _split(row)
        require_one_split(item, split, split_of)
        if len(Path(name).parts) < 5:
            text = f"{name!r} lies in no folder of a gender, a label and an item."
            raise ConversionError(text, code="folder_missing")
        gender, label = Path(name).parts[-4:-2]
        extra = {"gender": gender, "role": ROLES[row["evaluation_status"]], **find_garment(garments, name)}
        photos.append(Photo(relative_path(find_picture(source, name), manifest_folder), label, item, split, extra))
    return photos


def _split(row: Row) -> str:
    status = row["evaluation_status"]
    if status not in ROLES:
        raise ConversionError(f"{row['image_name']!r} has the unknown status {status!r}.", code="status_unknown")
    return "test" if ROLES[status] else val_by_hash(row["item_id"])
