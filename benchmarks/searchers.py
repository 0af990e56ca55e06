"""The searches that `benchmarks.search` compares: built from vectors, they answer batches of queries."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.search import ANY, ExactIndex, Where, build_rows
from ml.search.memory.ivf import ApproximateIndex
from ml.vectors import Floats

Found = list[list[int]]
"""Row numbers for each query, best first."""

Search = Callable[[Floats], Found]

ITEMS = 20  # per query
CHUNK = 10_000  # rows per update


# --- ours


def ours_of(vectors: Floats, categories: npt.NDArray[np.int64], kind: type[ExactIndex] = ExactIndex) -> ExactIndex:
    """Our compacted index: one item per vector, with its category."""
    index = kind("benchmark", vectors.shape[1])
    for start in range(0, len(vectors), CHUNK):
        numbers = np.arange(start, min(start + CHUNK, len(vectors)))
        names = [str(category) for category in categories[numbers]]
        index.update(build_rows(numbers, numbers, vectors[numbers], category=names))
    while index.compact():
        pass
    return index


def searching(index: ExactIndex, where: Where = ANY) -> Search:
    """Our index as a `Search`."""

    def search(queries: Floats) -> Found:
        answers = index.search_many(queries, ITEMS, encoder="benchmark", where=where)
        return [[hit.photo_id for hit in hits] for hits in answers]

    return search


def approximate_of(vectors: Floats, categories: npt.NDArray[np.int64]) -> ExactIndex:
    return ours_of(vectors, categories, ApproximateIndex)


# --- other exact searches


def faiss_flat(vectors: Floats) -> Search:
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return lambda queries: index.search(queries, ITEMS)[1].tolist()  # type: ignore[no-any-return]


def numpy_pass(vectors: Floats) -> Search:
    def search(queries: Floats) -> Found:
        found = []
        for scores in queries @ vectors.T if len(queries) > 1 else (vectors @ queries[0],):
            best = np.argpartition(scores, -ITEMS)[-ITEMS:]
            found.append(best[np.argsort(-scores[best])].tolist())
        return found

    return search


def torch_pass(vectors: Floats) -> Search:
    import torch

    rows = torch.from_numpy(vectors)

    def search(queries: Floats) -> Found:
        with torch.inference_mode():
            return torch.topk(torch.from_numpy(queries) @ rows.T, ITEMS).indices.tolist()  # type: ignore[no-any-return]

    return search


def usearch_exact(vectors: Floats) -> Search:
    from usearch.index import search as exact_search

    scale = 127 / np.abs(vectors).max()
    small = np.rint(vectors * scale).astype(np.int8)

    def search(queries: Floats) -> Found:
        asked = np.rint(queries * (127 / np.abs(queries).max())).astype(np.int8)
        found = exact_search(small, asked, ITEMS, "cos", exact=True, threads=os.cpu_count() or 1).keys
        return np.atleast_2d(found).tolist()  # type: ignore[no-any-return]

    return search


EXACT: dict[str, Callable[[Floats], Search]] = {
    **{"faiss": faiss_flat, "numpy": numpy_pass, "torch": torch_pass, "usearch": usearch_exact},
}


# --- other approximate searches: each in several settings, of which the quickest with enough recall is measured


def faiss_ivf(vectors: Floats) -> list[Search]:
    """As FAISS's documentation recommends: 4 * sqrt(n) cells, default training."""
    import faiss

    dim = vectors.shape[1]
    cells = int(4 * len(vectors) ** 0.5)
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, cells, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)

    def reading(probes: int) -> Search:
        def search(queries: Floats) -> Found:
            index.nprobe = probes
            return index.search(queries, ITEMS)[1].tolist()  # type: ignore[no-any-return]

        return search

    return [reading(probes) for probes in (1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 256)]


def faiss_hnsw(vectors: Floats) -> list[Search]:
    import faiss

    index = faiss.IndexHNSWFlat(vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.add(vectors)

    def looking(beam: int) -> Search:
        def search(queries: Floats) -> Found:
            index.hnsw.efSearch = beam
            return index.search(queries, ITEMS)[1].tolist()  # type: ignore[no-any-return]

        return search

    return [looking(beam) for beam in (20, 40, 80, 160, 320, 640)]


def hnswlib_graph(vectors: Floats) -> list[Search]:
    import hnswlib

    index = hnswlib.Index("ip", vectors.shape[1])
    index.init_index(len(vectors), M=16, ef_construction=100)
    index.add_items(vectors)

    def looking(beam: int) -> Search:
        def search(queries: Floats) -> Found:
            index.set_ef(beam)
            return index.knn_query(queries, ITEMS)[0].tolist()  # type: ignore[no-any-return]

        return search

    return [looking(beam) for beam in (20, 40, 80, 160, 320, 640)]


APPROXIMATE: dict[str, Callable[[Floats], list[Search]]] = {
    **{"faiss_ivf": faiss_ivf, "faiss_hnsw": faiss_hnsw, "hnswlib": hnswlib_graph},
}


def faiss_with_selector(vectors: Floats) -> Callable[[Any], Search]:
    """FAISS's flat search among the rows of a mask."""
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)

    def among(mask: npt.NDArray[np.bool_]) -> Search:
        selector = faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
        options = faiss.SearchParameters(sel=selector)
        return lambda queries: index.search(queries, ITEMS, params=options)[1].tolist()  # type: ignore[no-any-return]

    return among
