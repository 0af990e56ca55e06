"""Write the manifest that a training run or an evaluation reads: photos with label, item and split."""

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
from catalog.photos.validation import compute_perceptual_hash
from catalog.services.datasets.evaluation_sets import evaluation_set_ensure
from catalog.services.datasets.manifests import manifest_path, manifest_rows, manifest_write
from catalog.services.datasets.rows import (
    NEAR_DUPLICATE,
    NO_FILE,
    TEST,
    TRAIN,
    HeldOut,
    PhotoRow,
    held_out,
    photo_rows,
    training_rows,
)
from catalog.services.datasets.training_pairs import TrainingPair, accepted_triplets, training_pairs
from ml.formats.atomic_files import atomic_path
from ml.formats.manifest_csv import Row

Progress = Callable[[int, int], None]
"""Callback with the number of photos done and of all photos, called every 20 photos: the caller renews its claim."""


def training_data_write(
    *, run: TrainingRun, folder: Path, progress: Progress = lambda done, of: None
) -> dict[str, Any]:
    """Write `data.csv` for a run. Returns its counts, for `TrainingRun.data`.

    A resumed run keeps the photos of its first attempt, because its checkpoint belongs to them. When one of them must
    not be used any more (a file is gone, consent was withdrawn, a new evaluation set was drawn), the data is written
    again and the checkpoint is deleted: `started_over` is true then.
    """
    data = folder / "data.csv"
    folder.mkdir(parents=True, exist_ok=True)
    evaluation_set_ensure(by=run.started_by)
    earlier_attempt = _read_earlier_attempt(folder)
    if earlier_attempt is not None and _is_reusable(earlier_attempt, data):
        return dict(earlier_attempt["counts"])
    if earlier_attempt is not None:
        shutil.rmtree(folder / "run", ignore_errors=True)
        shutil.rmtree(folder / "photos", ignore_errors=True)
    rows, further_counts, anchors = _training_table(run, folder, progress)
    counts = _count_rows(rows) | further_counts | ({"started_over": True} if earlier_attempt is not None else {})
    (folder / "data.json").unlink(missing_ok=True)
    manifest_write(data, rows)
    description = {"counts": counts, "anchors": anchors, "evaluation": _evaluation_stamp()}
    with atomic_path(folder / "data.json", fsync=True) as part:
        part.write_text(json.dumps(description), encoding="utf-8")
    return counts


def evaluation_data_write(
    *, evaluation_set: EvaluationSet, folder: Path, progress: Progress = lambda done, of: None
) -> Path:
    """Write `data.csv` for an evaluation: the items of the set as `test`, the rest of the catalogue as `train`.

    Deleted items stay in the set, so that results remain comparable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    members = set(evaluation_set.members.values_list("item", flat=True))
    member_rows = photo_rows(ItemPhoto.objects.filter(item__in=evaluation_set.members.values("item"), problem=""))
    others = [row for row in photo_rows(ItemPhoto.objects.searchable()) if row.item not in members]
    labelled = [replace(row, split=TEST) for row in member_rows if row.label]
    labelled += [replace(row, split=TRAIN) for row in others if row.label]
    rows, _ = _catalogue_table(labelled, folder, progress)
    manifest_write(folder / "data.csv", rows)
    return folder / "data.csv"


def _training_table(run: TrainingRun, folder: Path, progress: Progress) -> tuple[list[Row], dict[str, Any], list[str]]:
    """The rows, further counts for `TrainingRun.data`, and the ids of the users' photos among the rows."""
    held, rows, left_out, anchors = held_out(), list[Row](), Counter[str](), list[str]()
    if run.source != RunSource.MANIFEST:
        pairs = list(training_pairs(held=held))
        chosen = training_rows(held=held, keep_in_train=[pair.item for pair in pairs])
        rows, missing = _catalogue_table(chosen.rows, folder, progress)
        left_out = chosen.left_out + Counter({NO_FILE: missing})
        added = _pair_rows(pairs, chosen.rows, folder)
        rows += added.values()
        anchors = list(added)
    if run.source != RunSource.CATALOGUE:
        manifest_table, excluded = _manifest_table(run, held, progress)
        rows += manifest_table
        left_out[NEAR_DUPLICATE] += excluded
    counts = {"left_out": dict(+left_out), "pairs": len(anchors), "evaluation_items": len(held.items)}
    return rows, counts, anchors


def _catalogue_table(chosen: Sequence[PhotoRow], folder: Path, progress: Progress) -> tuple[list[Row], int]:
    """The rows of photos whose file exists, and the number of photos without a file."""
    rows, missing = [], 0
    for done, photo in enumerate(chosen, start=1):
        if done % 20 == 0:
            progress(done, len(chosen))
        path = _local_file(photo.file, folder / "photos" / f"{photo.photo}.jpg", photo.size)
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


def _pair_rows(pairs: Iterable[TrainingPair], chosen: Iterable[PhotoRow], folder: Path) -> dict[str, Row]:
    """Users' photos as further photos of their items, in the items' splits, by the photo's id."""
    photo_of_item = {photo.item: photo for photo in chosen}
    rows = {}
    for pair in pairs:
        name, size = pair.anchor.file.name or "", pair.anchor.size
        path = _local_file(name, folder / "photos" / f"{pair.anchor.pk}.jpg", size)
        if path is not None and pair.item in photo_of_item:
            rows[str(pair.anchor.pk)] = _table_row(path, photo_of_item[pair.item], pair.box)
    return rows


def _manifest_table(run: TrainingRun, held: HeldOut, progress: Progress) -> tuple[list[Row], int]:
    """The rows of the run's manifest without photos of an evaluation set, and the number of those."""
    rows = list(manifest_rows(manifest_path(run.manifest)))
    usable = []
    for done, row in enumerate(rows, start=1):
        if not _is_held(Path(row["path"]), held):
            usable.append(row | {"item": f"manifest {row['item']}"})
        if done % 20 == 0:
            progress(done, len(rows))
    return usable, len(rows) - len(usable)


def _is_held(path: Path, held: HeldOut) -> bool:
    """Whether the file shows a photo of an evaluation set. False if unreadable: training reports the file."""
    if not held.items:
        return False
    try:
        raw = path.read_bytes()
        return held.has_duplicate([hashlib.sha256(raw).hexdigest()]) or held.has_duplicate(
            [], compute_perceptual_hash(raw)
        )
    except (OSError, Refused):
        return False


def _local_file(name: str, copy: Path, size: int) -> Path | None:
    """The stored file, or `copy` with its content when the storage is remote; None if the file is gone."""
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


def _count_rows(rows: Iterable[Row]) -> dict[str, Any]:
    splits, labels, items = Counter[str](), Counter[str](), set()
    for row in rows:
        splits[row["split"]] += 1
        items.add(row["item"])
        if row["split"] == TRAIN:
            labels[row["label"]] += 1
    return {"photos": splits.total(), **splits, "items": len(items), "labels": dict(labels.most_common())}


def _read_earlier_attempt(folder: Path) -> Any:
    """The content of `data.json` of an earlier attempt; None if there is none."""
    try:
        return json.loads((folder / "data.json").read_text())
    except (OSError, ValueError):
        return None


def _is_reusable(earlier_attempt: Any, data: Path) -> bool:
    """Whether every photo of the earlier attempt may still be used for training, and is still there."""
    if earlier_attempt["evaluation"] != _evaluation_stamp():
        return False
    anchors = set(earlier_attempt["anchors"])
    usable = accepted_triplets().filter(anchor__in=anchors).order_by().values("anchor").distinct().count()
    try:
        return usable == len(anchors) and all(Path(row["path"]).is_file() for row in manifest_rows(data))
    except Refused:
        return False


def _evaluation_stamp() -> int:
    """A number that changes whenever an item is added to an evaluation set."""
    return EvaluationItem.objects.aggregate(Max("pk"))["pk__max"] or 0
