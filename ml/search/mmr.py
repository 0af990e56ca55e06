"""Diversify search results by maximal marginal relevance (MMR)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ml.search.hits import Hit, SearchError
from ml.vectors import ShapeError, require_unit_rows


def diversify(hits: Sequence[Hit], vectors_of_hits: npt.ArrayLike, k: int, diversity: float) -> list[Hit]:
    """Choose `k` of `hits` that are near the query and unlike each other, by maximal marginal relevance.

    `hits` is a pool larger than the page, best first; `vectors_of_hits` (n, d) are its unit vectors in the same order.
    `diversity` 0 keeps the order, 1 ignores the score and minimises similarity; the first hit stays first.
    Each step takes the hit with the highest (1 - diversity) * score - diversity * max(cosine to a chosen hit), the
    earlier one of ties: J. Carbonell and J. Goldstein, "The Use of MMR, Diversity-Based Reranking for Reordering
    Documents and Producing Summaries", SIGIR 1998, with lambda = 1 - diversity.
    Raises `SearchError` or a `VectorError`.
    """
    if not 0.0 <= diversity <= 1.0:
        raise SearchError(f"Diversity must lie between 0 and 1, not at {diversity}.", code="invalid_diversity")
    if diversity == 0.0 or not hits or k < 1:
        return list(hits[: max(k, 0)])
    vectors = np.asarray(vectors_of_hits, dtype=np.float32)
    vectors = require_unit_rows(vectors, vectors.shape[-1] if vectors.ndim else 0)
    if len(vectors) != len(hits):
        raise ShapeError(f"{len(hits)} hits and {len(vectors)} vectors do not match in number.")
    relevance = (1.0 - diversity) * np.array([hit.score for hit in hits])
    closest = np.full(len(hits), -np.inf)  # to any chosen hit
    chosen = [0]
    while len(chosen) < min(k, len(hits)):
        closest = np.maximum(closest, vectors @ vectors[chosen[-1]])
        value = relevance - diversity * closest
        value[chosen] = -np.inf
        chosen.append(int(np.argmax(value)))
    return [hits[index] for index in chosen]
