"""IVF clusters: an inverted file of rows by cluster, so that a search reads only the clusters near the query.

The method: J. Sivic and A. Zisserman, "Video Google", ICCV 2003; FAISS does the clustering and the search.
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

SAMPLES_PER_CLUSTER: Final = 32  # sampled rows per cluster
KMEANS_ITERATIONS: Final = 6  # of k-means; more rounds hardly raise the recall and take much longer
PROBES: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
TARGET_RECALL: Final = 0.995  # target for the best `RECALL_K` rows when clusters are built
RECALL_K: Final = 20
RECALL_QUERIES: Final = 200  # to measure the recall
QUERY_NOISE: Final = 0.05  # standard deviation added to each number of a row to make a query
ADD_BATCH: Final = 100_000


@dataclass(frozen=True)
class IvfClusters:
    """`index`: FAISS's inverted file of row numbers; `probes`: how many clusters a search reads.

    `probes` 0: clusters do not help for these rows, because a search would have to read too many.
    """

    index: Any
    probes: int

    @classmethod
    def build(cls, vectors: Floats, exact_search: Callable[[Floats, int], Ints]) -> "IvfClusters":
        """Cluster unit vectors (n, d) and choose `probes`: the fewest that reach the target recall.

        `exact_search`(queries (q, d), k) returns the true best rows (q, k), to measure the recall.
        """
        index = _build_faiss_index(vectors)
        rng = np.random.default_rng(1)
        sample = vectors[np.sort(rng.choice(len(vectors), RECALL_QUERIES))]
        queries = unit_rows(sample + QUERY_NOISE * rng.standard_normal(sample.shape))
        truths = exact_search(queries, RECALL_K)
        for probes in PROBES:
            clusters = cls(index, probes)
            nearest = clusters.nearest(queries, RECALL_K, None)
            recalls = [np.isin(truth, rows).mean() for truth, rows in zip(truths, nearest, strict=True)]
            if np.mean(recalls) >= TARGET_RECALL:
                return clusters
        return cls(None, 0)

    @classmethod
    def read(cls, path: Path, probes: int) -> "IvfClusters":
        """Map clusters from a file that `write` wrote. Raises `ValueError` for any other file."""
        faiss = _faiss()
        if not probes:
            return cls(None, 0)
        try:
            return cls(faiss.read_index(os.fspath(path), faiss.IO_FLAG_MMAP_IFC), probes)
        except RuntimeError as error:
            raise ValueError(f"{path.name} holds no clusters") from error

    @cached_property
    def _options(self) -> Any:
        """Search options without a filter, built once: they are the common case."""
        return _faiss().SearchParametersIVF(nprobe=self.probes)

    def write(self, path: Path) -> None:
        """Write the clusters to a new file. Raises `OSError`."""
        faiss = _faiss()
        try:
            faiss.write_index(self.index, os.fspath(path))
        except RuntimeError as error:
            raise OSError(f"{path.name} cannot be written") from error

    def nearest(self, queries: Floats, count: int, live_bits: npt.NDArray[np.uint8] | None) -> Ints:
        """Return the approximately nearest `count` rows to each of `queries` (q, d), as numbers (q, count), padded with
        -1.

        `live_bits`: bitmap of the rows to search; None: all.
        """
        faiss = _faiss()
        batch = np.ascontiguousarray(queries, dtype=np.float32)
        scores = np.empty((len(batch), count), dtype=np.float32)
        rows = np.empty((len(batch), count), dtype=np.int64)
        if live_bits is None:
            options = self._options
        else:
            selector = faiss.IDSelectorBitmap(live_bits)
            options = faiss.SearchParametersIVF(nprobe=self.probes, sel=selector)
        pointer = faiss.swig_ptr
        # Not `search`: pytorch-metric-learning, once imported, replaces it by a function that takes no options.
        self.index.search_c(len(batch), pointer(batch), count, pointer(scores), pointer(rows), options)
        return rows


def _build_faiss_index(vectors: Floats) -> Any:
    faiss = _faiss()
    count, dim = vectors.shape
    clusters = int(2 * count**0.5)
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, clusters, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.spherical, index.cp.min_points_per_centroid = KMEANS_ITERATIONS, True, 1
    sample = np.random.default_rng(0).choice(count, min(count, SAMPLES_PER_CLUSTER * clusters), replace=False)
    index.train(np.ascontiguousarray(vectors[np.sort(sample)]))
    for start in range(0, count, ADD_BATCH):
        index.add(np.ascontiguousarray(vectors[start : start + ADD_BATCH]))
    return index


def _faiss() -> Any:
    """Import FAISS only where it is used. `Any`: its stubs lack the signatures of its Python wrappers."""
    import faiss

    return faiss
