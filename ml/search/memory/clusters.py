"""Cells of rows that lie near each other, so that a search reads only some of many rows.

An inverted file: J. Sivic and A. Zisserman, "Video Google", ICCV 2003; the clustering and the search are FAISS's.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml.search.rows import Ints
from ml.vectors import Floats, unit_rows

TRAINED_ON: Final = 32  # rows a cell, chosen by chance
ROUNDS: Final = 6  # of k-means; more make the answers hardly better and the cells much later
PROBES: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
RECALL: Final = 0.995  # of the best twenty, asked for when cells are made
BEST: Final = 20
QUESTIONS: Final = 200  # that tell the recall
MOVED: Final = 0.05  # how far a question lies from the row that it was made of, in each number
ADDED_AT_A_TIME: Final = 100_000


@dataclass(frozen=True)
class Cells:
    """`index`: FAISS's inverted file of rows by their numbers; `probes`: how many cells a search reads.

    No probes: cells are no use for these rows, since too many would have to be read.
    """

    index: Any
    probes: int

    @classmethod
    def of(cls, vectors: Floats, right: Callable[[Floats, int], Ints]) -> "Cells":
        """The cells of unit vectors (n, d).

        How many of them a search reads is found out here, by questions whose right answers are known: `right`(queries
        (q, d), k) returns the best rows (q, k).
        """
        index = _filled(vectors)
        rng = np.random.default_rng(1)
        seen = vectors[np.sort(rng.choice(len(vectors), QUESTIONS))]
        queries = unit_rows(seen + MOVED * rng.standard_normal(seen.shape))
        truths = right(queries, BEST)
        for probes in PROBES:
            cells = cls(index, probes)
            found = cells.nearest(queries, BEST, None)
            shares = [np.isin(truth, rows).mean() for truth, rows in zip(truths, found, strict=True)]
            if np.mean(shares) >= RECALL:
                return cells
        return cls(None, 0)

    @classmethod
    def read(cls, path: Path, probes: int) -> "Cells":
        """Those that `write` has written, mapped from the file. Raises `ValueError` for another file."""
        faiss = _faiss()
        if not probes:
            return cls(None, 0)
        try:
            return cls(faiss.read_index(os.fspath(path), faiss.IO_FLAG_MMAP_IFC), probes)
        except RuntimeError as error:
            raise ValueError(f"{path.name} holds no cells") from error

    @cached_property
    def _options(self) -> Any:
        """Of a search in which all rows may answer."""
        return _faiss().SearchParametersIVF(nprobe=self.probes)

    def write(self, path: Path) -> None:
        """Into a new file. Raises `OSError`."""
        faiss = _faiss()
        try:
            faiss.write_index(self.index, os.fspath(path))
        except RuntimeError as error:
            raise OSError(f"{path.name} cannot be written") from error

    def nearest(self, queries: Floats, count: int, living: npt.NDArray[np.uint8] | None) -> Ints:
        """About the `count` nearest rows to each of `queries` (q, d): their numbers (q, count), -1 for none.

        `living`: the rows that may answer, as bits; None: all.
        """
        faiss = _faiss()
        asked = np.ascontiguousarray(queries, dtype=np.float32)
        scores = np.empty((len(asked), count), dtype=np.float32)
        rows = np.empty((len(asked), count), dtype=np.int64)
        if living is None:
            options = self._options
        else:
            selector = faiss.IDSelectorBitmap(living)
            options = faiss.SearchParametersIVF(nprobe=self.probes, sel=selector)
        pointer = faiss.swig_ptr
        # Not `search`: pytorch-metric-learning, where it is imported, puts one in its place that takes no options.
        self.index.search_c(len(asked), pointer(asked), count, pointer(scores), pointer(rows), options)
        return rows


def _filled(vectors: Floats) -> Any:
    faiss = _faiss()
    count, dim = vectors.shape
    number = int(2 * count**0.5)
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, number, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.spherical, index.cp.min_points_per_centroid = ROUNDS, True, 1
    chosen = np.random.default_rng(0).choice(count, min(count, TRAINED_ON * number), replace=False)
    index.train(np.ascontiguousarray(vectors[np.sort(chosen)]))
    for start in range(0, count, ADDED_AT_A_TIME):
        index.add(np.ascontiguousarray(vectors[start : start + ADDED_AT_A_TIME]))
    return index


def _faiss() -> Any:
    """Imported where it is used; its types do not know what its Python wrappers take."""
    import faiss

    return faiss
