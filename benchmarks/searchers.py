"""The searches that `benchmarks.search` compares: built from vectors, they answer batches of queries."""

import os
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ml.search import ANY, ExactIndex, Where, build_rows
from ml.search.memory.ivf import ApproximateIndex
from ml.vectors import Floats

Neighbours = list[list[int]]
"""Row numbers for each query, best first."""

Search = Callable[[Floats], Neighbours]
"""Answers a batch of queries (n, d)."""

K = 20  # items per query
CHUNK = 10_000  # rows per update


# --- ours


def build_index(vectors: Floats, categories: npt.NDArray[np.int64], kind: type[ExactIndex] = ExactIndex) -> ExactIndex:
    """Build our index, compacted: one item per vector, with its category."""
    index = kind("benchmark", vectors.shape[1])
    for start in range(0, len(vectors), CHUNK):
        numbers = np.arange(start, min(start + CHUNK, len(vectors)))
        names = [str(category) for category in categories[numbers]]
        index.update(build_rows(numbers, numbers, vectors[numbers], category=names))
    while index.compact():
        pass
    return index


def index_search(index: ExactIndex, where: Where = ANY) -> Search:
    """Return a `Search` of our index, filtered by `where`."""

    def search(queries: Floats) -> Neighbours:
        answers = index.search_many(queries, K, encoder="benchmark", where=where)
        return [[hit.photo_id for hit in hits] for hits in answers]

    return search


def build_approximate_index(vectors: Floats, categories: npt.NDArray[np.int64]) -> ExactIndex:
    """Build our approximate index (IVF), compacted."""
    return build_index(vectors, categories, ApproximateIndex)


# --- other exact searches


def faiss_flat(vectors: Floats) -> Search:
    """FAISS's brute-force index for inner products."""
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return lambda queries: index.search(queries, K)[1].tolist()  # type: ignore[no-any-return]


def numpy_pass(vectors: Floats) -> Search:
    """A matrix product and a partial sort in numpy."""

    def search(queries: Floats) -> Neighbours:
        neighbours = []
        for scores in queries @ vectors.T if len(queries) > 1 else (vectors @ queries[0],):
            best = np.argpartition(scores, -K)[-K:]
            neighbours.append(best[np.argsort(-scores[best])].tolist())
        return neighbours

    return search


def torch_pass(vectors: Floats) -> Search:
    """A matrix product and `topk` in PyTorch."""
    import torch

    rows = torch.from_numpy(vectors)

    def search(queries: Floats) -> Neighbours:
        with torch.inference_mode():
            return torch.topk(torch.from_numpy(queries) @ rows.T, K).indices.tolist()  # type: ignore[no-any-return]

    return search


def usearch_exact(vectors: Floats) -> Search:
    """USearch's brute-force search of int8-quantised vectors."""
    from usearch.index import search as exact_search

    scale = 127 / np.abs(vectors).max()
    quantised = np.rint(vectors * scale).astype(np.int8)

    def search(queries: Floats) -> Neighbours:
        quantised_queries = np.rint(queries * (127 / np.abs(queries).max())).astype(np.int8)
        matches = exact_search(quantised, quantised_queries, K, "cos", exact=True, threads=os.cpu_count() or 1)
        return np.atleast_2d(matches.keys).tolist()  # type: ignore[no-any-return]

    return search


EXACT: dict[str, Callable[[Floats], Search]] = {
    **{"faiss": faiss_flat, "numpy": numpy_pass, "torch": torch_pass, "usearch": usearch_exact},
}


# --- other approximate searches: each in several settings, fastest first


def faiss_ivf(vectors: Floats) -> list[Search]:
    """FAISS's IVF index as its documentation recommends: 4 * sqrt(n) clusters, default training."""
    import faiss

    dim = vectors.shape[1]
    clusters = int(4 * len(vectors) ** 0.5)
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, clusters, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)

    def search_with(nprobe: int) -> Search:
        def search(queries: Floats) -> Neighbours:
            index.nprobe = nprobe
            return index.search(queries, K)[1].tolist()  # type: ignore[no-any-return]

        return search

    return [search_with(nprobe) for nprobe in (1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 256)]


def faiss_hnsw(vectors: Floats) -> list[Search]:
    """FAISS's HNSW graph with 32 neighbours per node."""
    import faiss

    index = faiss.IndexHNSWFlat(vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.add(vectors)

    def search_with(ef_search: int) -> Search:
        def search(queries: Floats) -> Neighbours:
            index.hnsw.efSearch = ef_search
            return index.search(queries, K)[1].tolist()  # type: ignore[no-any-return]

        return search

    return [search_with(ef_search) for ef_search in (20, 40, 80, 160, 320, 640)]


def hnswlib_graph(vectors: Floats) -> list[Search]:
    """hnswlib's HNSW graph with 16 neighbours per node."""
    import hnswlib

    index = hnswlib.Index("ip", vectors.shape[1])
    index.init_index(len(vectors), M=16, ef_construction=100)
    index.add_items(vectors)

    def search_with(ef_search: int) -> Search:
        def search(queries: Floats) -> Neighbours:
            index.set_ef(ef_search)
            return index.knn_query(queries, K)[0].tolist()  # type: ignore[no-any-return]

        return search

    return [search_with(ef_search) for ef_search in (20, 40, 80, 160, 320, 640)]


APPROXIMATE: dict[str, Callable[[Floats], list[Search]]] = {
    **{"faiss_ivf": faiss_ivf, "faiss_hnsw": faiss_hnsw, "hnswlib": hnswlib_graph},
}


def faiss_filtered(vectors: Floats) -> Callable[[npt.NDArray[np.bool_]], Search]:
    """FAISS's brute-force index, filtered to the rows of a boolean mask (n)."""
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)

    def search_rows(mask: npt.NDArray[np.bool_]) -> Search:
        selector = faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
        options = faiss.SearchParameters(sel=selector)
        return lambda queries: index.search(queries, K, params=options)[1].tolist()  # type: ignore[no-any-return]

    return search_rows
