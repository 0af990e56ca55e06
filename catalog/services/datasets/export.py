"""Writing what a training, or an evaluation, reads: photos with label, item and split, as a table for `ml`."""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.core.files.storage import default_storage
from django.db.models import Max

from catalog.errors import Refused
from catalog.models import EvaluationItem, EvaluationSet, ItemPhoto, RunSource, TrainingRun
from catalog.photos.clean import compute_perceptual_hash
from catalog.services.datasets.evaluation_sets import evaluation_set_draw, evaluation_set_ensure
from catalog.services.datasets.leaks import Pair, accepted_triplets, training_pairs
from catalog.services.datasets.manifests import manifest_path, manifest_rows, manifest_write
from catalog.services.datasets.rows import (
    NO_FILE,
    SAME_LOOK,
    TEST,
    TRAIN,
    HeldOut,
    PhotoRow,
    held_out,
    photo_rows,
    training_rows,
)
from ml.formats.atomic_files import atomic_path
from ml.formats.manifest_csv import Row

__all__ = ["evaluation_data_write", "evaluation_set_draw", "training_data_write"]

Tick = Callable[[int, int], None]
"""Is told now and then how many of how many photos were looked at: whoever has a claim can renew it meanwhile."""


def training_data_write(*, run: TrainingRun, folder: Path, tick: Tick = lambda done, of: None) -> dict[str, Any]:
    """Write `data.csv` for a run, and return how much it is, for `TrainingRun.data`.

    A run that goes on keeps the photos of its first attempt, since its checkpoint is of those. Where one of them may
    no longer be learned from (a file is gone, a person has taken the permission back, a new evaluation set was drawn)
    all is written anew, and the run starts from its beginning: `started_over` is true then.
    """
    data = folder / "data.csv"
    folder.mkdir(parents=True, exist_ok=True)
    evaluation_set_ensure(by=run.started_by)
    earlier = _earlier(folder)
    if earlier is not None and _may_be_kept(earlier, data):
        return dict(earlier["counts"])
    if earlier is not None:
        shutil.rmtree(folder / "run", ignore_errors=True)
        shutil.rmtree(folder / "photos", ignore_errors=True)
    rows, told, anchors = _training_table(run, folder, tick)
    counts = _counts(rows) | told | ({"started_over": True} if earlier is not None else {})
    (folder / "data.json").unlink(missing_ok=True)
    manifest_write(data, rows)
    about = {"counts": counts, "anchors": anchors, "evaluation": _evaluation_stamp()}
    with atomic_path(folder / "data.json", fsync=True) as part:
        part.write_text(json.dumps(about), encoding="utf-8")
    return counts


def evaluation_data_write(*, evaluation_set: EvaluationSet, folder: Path, tick: Tick = lambda done, of: None) -> Path:
    """Write `data.csv` for comparing encoders: the items of the set as `test`, the rest of the catalogue as `train`.

    The set's items stay in it after they were taken out of the catalogue, so that figures remain comparable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    members = set(evaluation_set.members.values_list("item", flat=True))
    asked = photo_rows(ItemPhoto.objects.filter(item__in=evaluation_set.members.values("item"), problem=""))
    others = [row for row in photo_rows(ItemPhoto.objects.searchable()) if row.item not in members]
    labelled = [replace(row, split=TEST) for row in asked if row.label]
    labelled += [replace(row, split=TRAIN) for row in others if row.label]
    rows, _ = _catalogue_table(labelled, folder, tick)
    manifest_write(folder / "data.csv", rows)
    return folder / "data.csv"


def _training_table(run: TrainingRun, folder: Path, tick: Tick) -> tuple[list[Row], dict[str, Any], list[str]]:
    """The rows, what else is to be told of them, and the ids of people's photos among them."""
    held, rows, left_out, anchors = held_out(), list[Row](), Counter[str](), list[str]()
    if run.source != RunSource.MANIFEST:
        pairs = list(training_pairs(held=held))
        chosen = training_rows(held=held, keep=[pair.item for pair in pairs])
        rows, missing = _catalogue_table(chosen.rows, folder, tick)
        left_out = chosen.left_out + Counter({NO_FILE: missing})
        added = _pair_rows(pairs, chosen.rows, folder)
        rows += added.values()
        anchors = list(added)
    if run.source != RunSource.CATALOGUE:
        brought = _manifest_table(run, held, tick)
        rows += brought[0]
        left_out[SAME_LOOK] += brought[1]
    told = {"left_out": dict(+left_out), "pairs": len(anchors), "evaluation_items": len(held.items)}
    return rows, told, anchors


def _catalogue_table(chosen: Sequence[PhotoRow], folder: Path, tick: Tick) -> tuple[list[Row], int]:
    """The rows of photos whose file is there, and how many have none."""
    rows, missing = [], 0
    for done, photo in enumerate(chosen, start=1):
        if done % 20 == 0:
            tick(done, len(chosen))
        path = _local(photo.file, folder / "photos" / f"{photo.photo}.jpg", photo.size)
        if path is None:
            missing += 1
            continue
        rows.append(_table_row(path, photo))
    return rows, missing


def _table_row(path: Path, photo: PhotoRow, box: tuple[int, int, int, int] | None = None) -> Row:
    return {
        "path": str(path),
        "label": photo.label,
        "item": f"catalogue {photo.item}",
        "split": photo.split,
        "contributor": photo.group,
        "box": ",".join(map(str, box)) if box else "",
    }


def _pair_rows(pairs: Iterable[Pair], chosen: Iterable[PhotoRow], folder: Path) -> dict[str, Row]:
    """People's photos as further ones of their items, by the photo's id. An item is in one split, and they with it."""
    of_item = {photo.item: photo for photo in chosen}
    rows = {}
    for pair in pairs:
        name, size = pair.anchor.file.name or "", pair.anchor.size
        path = _local(name, folder / "photos" / f"{pair.anchor.pk}.jpg", size)
        if path is not None and pair.item in of_item:
            rows[str(pair.anchor.pk)] = _table_row(path, of_item[pair.item], pair.box)
    return rows


def _manifest_table(run: TrainingRun, held: HeldOut, tick: Tick) -> tuple[list[Row], int]:
    """The rows of the run's manifest but for photos that are in an evaluation set, and how many of those there were."""
    rows = list(manifest_rows(manifest_path(run.manifest)))
    kept = []
    for done, row in enumerate(rows, start=1):
        if not _is_held(Path(row["path"]), held):
            kept.append(row | {"item": f"manifest {row['item']}"})
        if done % 20 == 0:
            tick(done, len(rows))
    return kept, len(rows) - len(kept)


def _is_held(path: Path, held: HeldOut) -> bool:
    """What cannot be read is the training's to judge: it names the file."""
    if not held.items:
        return False
    try:
        raw = path.read_bytes()
        return held.shows_same([hashlib.sha256(raw).hexdigest()]) or held.shows_same([], compute_perceptual_hash(raw))
    except (OSError, Refused):
        return False


def _local(name: str, copy: Path, size: int) -> Path | None:
    """The stored file on this machine: itself, or a copy of what the storage has elsewhere. None if it is gone."""
    try:
        path = Path(default_storage.path(name))
        return path if path.is_file() else None
    except NotImplementedError:
        pass
    if copy.is_file() and copy.stat().st_size == size:
        return copy
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        with default_storage.open(name) as source, atomic_path(copy) as part, part.open("wb") as target:
            shutil.copyfileobj(source, target)
    except FileNotFoundError:
        return None
    return copy


def _counts(rows: Iterable[Row]) -> dict[str, Any]:
    splits, labels, items = Counter[str](), Counter[str](), set()
    for row in rows:
        splits[row["split"]] += 1
        items.add(row["item"])
        if row["split"] == TRAIN:
            labels[row["label"]] += 1
    return {"photos": splits.total(), **splits, "items": len(items), "labels": dict(labels.most_common())}


def _earlier(folder: Path) -> Any:
    """What an earlier attempt has written down of its data; None if there is none."""
    try:
        return json.loads((folder / "data.json").read_text())
    except (OSError, ValueError):
        return None


def _may_be_kept(earlier: Any, data: Path) -> bool:
    if earlier["evaluation"] != _evaluation_stamp():
        return False
    anchors = set(earlier["anchors"])
    usable = accepted_triplets().filter(anchor__in=anchors).order_by().values("anchor").distinct().count()
    try:
        return usable == len(anchors) and all(Path(row["path"]).is_file() for row in manifest_rows(data))
    except Refused:
        return False


def _evaluation_stamp() -> int:
    """Changes whenever an item comes into an evaluation set."""
    return EvaluationItem.objects.aggregate(Max("pk"))["pk__max"] or 0
