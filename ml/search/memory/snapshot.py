"""An index in memory kept in files: written whole, read in no time, shared by all processes of a machine.

A folder holds one file `current.json`, which names the segments, the rows that are gone from each, the words behind the
facts' numbers and the position; and a folder for each segment, whose arrays are mapped into memory, so that processes
share what they read. A segment's folder never changes, so saving writes only what is new. Whatever is killed half-way
leaves `current.json` as it was: it is replaced by one rename, when all it names is on the disk.
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
from ml.search.memory.clusters import Cells
from ml.search.memory.columns import Facts, Vocabulary
from ml.search.memory.index import ExactIndex, State
from ml.search.memory.quantized_scan import Scan
from ml.search.memory.segments import Segment
from ml.search.rows import TEXTS, Bools

FORMAT: Final = 1
CURRENT: Final = "current.json"
CELLS: Final = "cells.faiss"
NUMBERS_OF_SCAN: Final = ("step", "lost", "longest")
BOTH_ORDERS: Final = ("by_photo", "by_item")


@dataclass(frozen=True)
class _Stored:
    """What `current.json` says of one segment."""

    name: str
    rows: int
    gone: str  # the name of the file with the rows that are gone; "" for none


def generation(folder: Path) -> str:
    """What distinguishes the snapshot in `folder` from those before and after it; "" where there is none."""
    try:
        return str(json.loads((folder / CURRENT).read_bytes())["generation"])
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IndexUnreadable(f"{str(folder / CURRENT)!r} cannot be read.") from error


def save(index: ExactIndex, folder: Path) -> str:
    """Write `index` as it is now; what was there before stays until then. Returns the generation.

    One process at a time may save into a folder. Raises `OSError`, such as for a full disk.
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
        "segments": [vars(stored) for stored in segments],
    }
    with atomic_path(folder / CURRENT, fsync=True) as part, part.open("w") as file:
        json.dump(content, file)
    _remove_all_but({stored.name for stored in segments} | {stored.gone for stored in segments}, folder)
    return name


def load(folder: Path, encoder: str, dim: int, kind: type[ExactIndex] = ExactIndex) -> ExactIndex:
    """Return the index in `folder`, its arrays mapped from the files.

    Raises `EncoderMismatch` for the index of another encoder or of vectors of another length, and `IndexUnreadable`
    where there is none, or a file is missing, cut off or not what it should be.
    """
    with _as_unreadable(folder):
        content = json.loads((folder / CURRENT).read_bytes())
        if content["format"] != FORMAT:
            raise IndexUnreadable(f"The index in {str(folder)!r} is of another version of this program.")
        if (content["encoder"], content["dim"]) != (encoder, dim):
            told = f"{content['encoder']!r} with {content['dim']} numbers a vector"
            raise EncoderMismatch(f"The index in {str(folder)!r} is of {told}, not of {encoder!r} with {dim}.")
        segments = [_read_segment(_Stored(**stored), folder, dim) for stored in content["segments"]]
        position = {name: int(value) for name, value in content["position"].items()}
        words = Vocabulary({name: list(content["words"][name]) for name in TEXTS})
        return kind.restored(encoder, dim, State(tuple(segments), position, words))


@contextmanager
def _as_unreadable(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise IndexUnreadable(f"The index in {str(folder)!r} cannot be read: {error}.") from error


def _write_segment(segment: Segment, folder: Path, generation: str) -> _Stored:
    if segment.files.parent != folder or not segment.files.exists():
        segment.stored_at(folder / f"{generation}-{segment.number}")
        with atomic_folder(segment.files, fsync=True) as part:
            for name, array in _arrays_of(segment).items():
                np.save(part / f"{name}.npy", array, allow_pickle=False)
            if segment.cells is not None and segment.cells.probes:
                segment.cells.write(part / CELLS)
            (part / "about.json").write_text(json.dumps(_about(segment)))
    gone = ""
    if segment.dead is not None:
        gone = f"gone-{generation}-{segment.number}.npy"
        np.save(folder / gone, np.packbits(segment.dead), allow_pickle=False)
        fsync_file(folder / gone)
    return _Stored(segment.files.name, len(segment), gone)


def _arrays_of(segment: Segment) -> dict[str, npt.NDArray[Any]]:
    facts = {f"codes-{name}": codes for name, codes in segment.facts.codes.items()}
    blocks = {f"block-{number}": block for number, block in enumerate(segment.scan.codes if segment.scan else ())}
    return {
        **{"vectors": segment.vectors, "photo_ids": segment.photo_ids, "item_ids": segment.item_ids},
        **{name: getattr(segment, name) for name in BOTH_ORDERS},
        **{"prices": segment.facts.prices, "in_stock": segment.facts.in_stock},
        **facts,
        **blocks,
    }


def _about(segment: Segment) -> dict[str, Any]:
    scan, cells = segment.scan, segment.cells
    return {
        "scan": scan and {"starts": scan.starts.tolist()} | {name: getattr(scan, name) for name in NUMBERS_OF_SCAN},
        "cells": cells and {"probes": cells.probes},
    }


def _read_segment(stored: _Stored, folder: Path, dim: int) -> Segment:
    files = folder / _plain(stored.name)

    def array(name: str, dtype: type[np.generic], *shape: int) -> npt.NDArray[Any]:
        return _mapped(files / f"{name}.npy", dtype, shape)

    rows = stored.rows
    codes = {name: array(f"codes-{name}", np.int32, rows) for name in TEXTS}
    facts = Facts(codes, array("prices", np.float64, rows), array("in_stock", np.bool_, rows))
    vectors = array("vectors", np.float32, rows, dim)
    photos, items = array("photo_ids", np.int64, rows), array("item_ids", np.int64, rows)
    about = json.loads((files / "about.json").read_bytes())
    scan = about["scan"] and _read_scan(about["scan"], files, rows, dim)
    cells = about["cells"] and Cells.read(files / CELLS, int(about["cells"]["probes"]))
    segment = Segment(vectors, photos, items, facts, _read_gone(stored, folder), scan, cells)
    segment.stored_at(files)
    for name in BOTH_ORDERS:
        segment.__dict__[name] = array(name, np.int64, rows)  # where cached_property keeps them
    return segment


def _read_scan(about: dict[str, Any], files: Path, rows: int, dim: int) -> Scan:
    starts = np.array(about["starts"], dtype=np.int64)
    if starts[0] != 0 or starts[-1] != rows or (np.diff(starts) <= 0).any():
        raise IndexUnreadable(f"The blocks of {str(files)!r} do not fit its rows.")
    blocks = [
        _mapped(files / f"block-{number}.npy", np.uint8, (dim, Scan.filled_up(int(count))))
        for number, count in enumerate(np.diff(starts))
    ]
    return Scan(blocks, starts, *(float(about[name]) for name in NUMBERS_OF_SCAN))


def _read_gone(stored: _Stored, folder: Path) -> Bools | None:
    if not stored.gone:
        return None
    bits = np.array(_mapped(folder / _plain(stored.gone), np.uint8, (-(-stored.rows // 8),)))
    return np.unpackbits(bits, count=stored.rows).astype(bool)


def _mapped(path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """An array of a file that others may have cut off or put there, as it should be. Nothing is unpickled."""
    array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.dtype != dtype or array.shape != shape:
        raise IndexUnreadable(f"{str(path)!r} holds {array.dtype} {array.shape}, not {np.dtype(dtype)} {shape}.")
    return array


def _plain(name: str) -> str:
    if Path(name).name != name:
        raise IndexUnreadable(f"{name!r} is no name of a file beside the index.")
    return name


def _remove_all_but(names: set[str], folder: Path) -> None:
    """Delete older generations and what a killed process left. Who has mapped a deleted file keeps what it read."""
    for path in folder.iterdir():
        if path.is_dir() and path.name not in names:
            shutil.rmtree(path, ignore_errors=True)
        elif path.name.startswith("gone-") and path.name not in names:
            path.unlink(missing_ok=True)
