"""Layout of the DeepFashion Consumer-to-shop Benchmark: 239,557 photos of 33,881 items, by consumers and by shops.

`Eval/list_eval_partition.txt`, `img/` and, optionally, `Anno/list_bbox_consumer2shop.txt`. Published with
"DeepFashion: Powering Robust Clothes Recognition and Retrieval with Rich Annotations" (Liu et al., CVPR 2016).
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ml.data.layouts.deepfashion_lists import (
    Row,
    find_garment,
    find_list,
    find_picture,
    read_garments,
    read_list,
    require_one_split,
)
from ml.data.layouts.source_files import ConversionError, relative_path, require_count
from ml.data.manifest import Photo
from ml.formats.manifest_csv import SPLITS

PHOTOS = 239_557
ITEMS = 33_881
SOURCES = {"image_pair_name_1": "consumer", "image_pair_name_2": "shop"}


class _Listed(NamedTuple):
    """A photo as the list of pairs describes it."""

    item: str
    split: str
    source: str


def convert(source: Path, manifest_folder: Path, subset: bool = False) -> list[Photo]:
    """Return one row per photo of the pairs of a consumer's and a shop's photo.

    The label is the folder (`img/DRESSES/Dress/id_…/shop_01.jpg` is a Dress), the column `source` is consumer or shop.
    `group` (upper, lower, full) and `box` are filled from the list of boxes.
    """
    partition = find_list(source, "Eval", "list_eval_partition.txt")
    pairs = read_list(partition, (*SOURCES, "item_id", "evaluation_status"), subset)
    listed = _collect_photos(pairs)
    require_count("photos", len(listed), PHOTOS, subset)
    require_count("items", len({photo.item for photo in listed.values()}), ITEMS, subset)
    garments = read_garments(find_list(source, "Anno", "list_bbox_consumer2shop.txt"), subset)
    photos = []
    for name, photo in listed.items():
        if len(Path(name).parts) < 4:
            raise ConversionError(f"{name!r} lies in no folder of a label and an item.", code="folder_missing")
        extra = {"source": photo.source, **find_garment(garments, name)}
        path = relative_path(find_picture(source, name), manifest_folder)
        photos.append(Photo(path, Path(name).parts[-3], photo.item, photo.split, extra))
    return photos


def _collect_photos(pairs: Iterable[Row]) -> dict[str, _Listed]:
    """Return the photos of the pairs by name; most are in several pairs. Raises `ConversionError` for a conflict."""
    listed: dict[str, _Listed] = {}
    split_of: dict[str, str] = {}
    for name, photo in _photos_of_pairs(pairs):
        if photo.split not in SPLITS:
            raise ConversionError(f"{name!r} is in an unknown split {photo.split!r}.", code="split_unknown")
        require_one_split(photo.item, photo.split, split_of)
        if listed.setdefault(name, photo) != photo:
            text = f"{name!r} is listed as {' '.join(listed[name])} and as {' '.join(photo)}."
            raise ConversionError(text, code="rows_contradict")
    return listed


def _photos_of_pairs(pairs: Iterable[Row]) -> Iterator[tuple[str, _Listed]]:
    for row in pairs:
        for column, source in SOURCES.items():
            yield row[column], _Listed(row["item_id"], row["evaluation_status"], source)
