"""Snapshots of an in-memory index: saved atomically, loaded by memory mapping, shared by the processes of a machine.

A folder holds one file `current.json`, which names the segments, the file of each segment's tombstones, the vocabulary
and the position; and a folder for each segment, whose arrays are mapped into memory, so that processes share them. A
segment's folder is immutable, so that saving writes only new segments. A process killed while saving leaves
`current.json` unchanged: it is replaced by one rename once all files it names are on the disk.
"""

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml.formats.atomic_files import atomic_folder, atomic_path, fsync_file
from ml.search.hits import EncoderMismatch, IndexUnreadable
from ml.search.memory.clusters import IvfClusters
from ml.search.memory.columns import Columns, Vocabulary
from ml.search.memory.index import ExactIndex, State
from ml.search.memory.quantized_scan import QuantizedScan
from ml.search.memory.segments import Segment
from ml.search.rows import TEXT_COLUMNS, Bools

FORMAT: Final = 1
CURRENT: Final = "current.json"
CLUSTERS_FILE: Final = "cells.faiss"
SCAN_KEYS: Final = {"step": "step", "max_error": "lost", "max_norm": "longest"}
"""Keys of `about.json` by the field of `QuantizedScan`; stored, so they stay."""

SORT_ORDERS: Final = ("by_photo", "by_item")


@dataclass(frozen=True)
class _SegmentEntry:
    """The entry of a segment in `current.json`; its keys are the names of the fields."""

    name: str
    rows: int
    gone: str  # name of the file with the tombstones; "" for none


def generation(folder: Path) -> str:
    """Return the unique id of the snapshot in `folder`; "" if there is none. Raises `IndexUnreadable`."""
    try:
        return str(json.loads((folder / CURRENT).read_bytes())["generation"])
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IndexUnreadable(f"{str(folder / CURRENT)!r} cannot be read.") from error


def save(index: ExactIndex, folder: Path) -> str:
    """Write a snapshot of `index` atomically and return its generation.

    Only one process at a time may save into a folder. Raises `OSError`, such as for a full disk.
    """
    state = index.state
    folder.mkdir(parents=True, exist_ok=True)
    name = uuid.uuid4().hex
    segments = [_write_segment(segment, folder, name) for segment in state.segments]
    content = {
        "format": FORMAT,
        "generation": name,
        "encoder": index.encoder,
        "dim": index.dim,
        "position": dict(state.position),
        "words": state.vocabulary.words,
        "segments": [vars(entry) for entry in segments],
    }
    with atomic_path(folder / CURRENT, fsync=True) as part, part.open("w") as file:
        json.dump(content, file)
    _remove_stale_files({entry.name for entry in segments} | {entry.gone for entry in segments}, folder)
    return name


def load(folder: Path, encoder: str, dim: int, kind: type[ExactIndex] = ExactIndex) -> ExactIndex:
    """Return the index in `folder`, its arrays mapped from the files.

    Raises `EncoderMismatch` for another encoder or another length of the vectors, and `IndexUnreadable` if there is no
    snapshot, or a file is missing, truncated or of the wrong content.
    """
    with _as_unreadable(folder):
        content = json.loads((folder / CURRENT).read_bytes())
        if content["format"] != FORMAT:
            raise IndexUnreadable(
                f"The index in {str(folder)!r} has another format; rebuild the index.", code="index_format"
            )
        if (content["encoder"], content["dim"]) != (encoder, dim):
            stored = f"{content['encoder']!r} with {content['dim']} dimensions"
            raise EncoderMismatch(f"The index in {str(folder)!r} is of {stored}, not of {encoder!r} with {dim}.")
        segments = [_read_segment(_SegmentEntry(**entry), folder, dim) for entry in content["segments"]]
        position = {name: int(value) for name, value in content["position"].items()}
        words = Vocabulary({name: list(content["words"][name]) for name in TEXT_COLUMNS})
        return kind.restored(encoder, dim, State(tuple(segments), position, words))


@contextmanager
def _as_unreadable(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise IndexUnreadable(f"The index in {str(folder)!r} cannot be read: {error}.") from error


def _write_segment(segment: Segment, folder: Path, generation: str) -> _SegmentEntry:
    if segment.files.parent != folder or not segment.files.exists():
        segment.set_files(folder / f"{generation}-{segment.number}")
        with atomic_folder(segment.files, fsync=True) as part:
            for name, array in _segment_arrays(segment).items():
                np.save(part / f"{name}.npy", array, allow_pickle=False)
            if segment.clusters is not None and segment.clusters.probes:
                segment.clusters.write(part / CLUSTERS_FILE)
            (part / "about.json").write_text(json.dumps(_metadata(segment)))
    tombstones_file = ""
    if segment.tombstones is not None:
        tombstones_file = f"gone-{generation}-{segment.number}.npy"
        np.save(folder / tombstones_file, np.packbits(segment.tombstones), allow_pickle=False)
        fsync_file(folder / tombstones_file)
    return _SegmentEntry(segment.files.name, len(segment), tombstones_file)


def _segment_arrays(segment: Segment) -> dict[str, npt.NDArray[Any]]:
    codes = {f"codes-{name}": column for name, column in segment.columns.codes.items()}
    blocks = {f"block-{number}": block for number, block in enumerate(segment.scan.codes if segment.scan else ())}
    return {
        **{"vectors": segment.vectors, "photo_ids": segment.photo_ids, "item_ids": segment.item_ids},
        **{name: getattr(segment, name) for name in SORT_ORDERS},
        **{"prices": segment.columns.prices, "in_stock": segment.columns.in_stock},
        **codes,
        **blocks,
    }


def _metadata(segment: Segment) -> dict[str, Any]:
    scan, clusters = segment.scan, segment.clusters
    return {
        "scan": scan
        and {"starts": scan.starts.tolist()} | {key: getattr(scan, name) for name, key in SCAN_KEYS.items()},
        "cells": clusters and {"probes": clusters.probes},
    }


def _read_segment(entry: _SegmentEntry, folder: Path, dim: int) -> Segment:
    files = folder / _checked_file_name(entry.name)

    def array(name: str, dtype: type[np.generic], *shape: int) -> npt.NDArray[Any]:
        return _map_array(files / f"{name}.npy", dtype, shape)

    rows = entry.rows
    codes = {name: array(f"codes-{name}", np.int32, rows) for name in TEXT_COLUMNS}
    columns = Columns(codes, array("prices", np.float64, rows), array("in_stock", np.bool_, rows))
    vectors = array("vectors", np.float32, rows, dim)
    photos, items = array("photo_ids", np.int64, rows), array("item_ids", np.int64, rows)
    about = json.loads((files / "about.json").read_bytes())
    scan = about["scan"] and _read_scan(about["scan"], files, rows, dim)
    clusters = about["cells"] and IvfClusters.read(files / CLUSTERS_FILE, int(about["cells"]["probes"]))
    segment = Segment(vectors, photos, items, columns, _read_tombstones(entry, folder), scan, clusters)
    segment.set_files(files)
    for name in SORT_ORDERS:
        segment.__dict__[name] = array(name, np.int64, rows)  # the cache of cached_property
    return segment


def _read_scan(about: dict[str, Any], files: Path, rows: int, dim: int) -> QuantizedScan:
    starts = np.array(about["starts"], dtype=np.int64)
    if starts[0] != 0 or starts[-1] != rows or (np.diff(starts) <= 0).any():
        raise IndexUnreadable(f"The blocks of {str(files)!r} do not fit its rows.")
    blocks = [
        _map_array(files / f"block-{number}.npy", np.uint8, (dim, QuantizedScan.padded(int(count))))
        for number, count in enumerate(np.diff(starts))
    ]
    return QuantizedScan(blocks, starts, **{name: float(about[key]) for name, key in SCAN_KEYS.items()})


def _read_tombstones(entry: _SegmentEntry, folder: Path) -> Bools | None:
    if not entry.gone:
        return None
    bits = np.array(_map_array(folder / _checked_file_name(entry.gone), np.uint8, (-(-entry.rows // 8),)))
    return np.unpackbits(bits, count=entry.rows).astype(bool)


def _map_array(path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Map an array and check its type and shape: the file may be truncated or foreign. Refuses pickled data."""
    array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.dtype != dtype or array.shape != shape:
        raise IndexUnreadable(f"{str(path)!r} holds {array.dtype} {array.shape}, not {np.dtype(dtype)} {shape}.")
    return array


def _checked_file_name(name: str) -> str:
    if Path(name).name != name:
        raise IndexUnreadable(f"{name!r} is not the name of a file in the index folder.")
    return name


def _remove_stale_files(names: set[str], folder: Path) -> None:
    """Delete older generations and the files of a killed process. A process that mapped a deleted file can read on."""
    for path in folder.iterdir():
        if path.is_dir() and path.name not in names:
            shutil.rmtree(path, ignore_errors=True)
        elif path.name.startswith("gone-") and path.name not in names:
            path.unlink(missing_ok=True)
