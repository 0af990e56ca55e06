"""Search results (`Hit`), their ranking and merging, and the errors of a search."""

from collections.abc import Iterable
from itertools import chain
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from ml.formats.errors import InputError
from ml.vectors import Floats

ROUNDING: Final = 1e-5
"""Above the error of a float32 dot product of unit vectors, so that no true hit is dropped before re-scoring."""


class SearchError(InputError):
    """Base of the errors of a search that do not concern the vectors."""

    code = "search_error"


class EncoderMismatch(SearchError):
    """The vectors come from different encoders and cannot be compared."""

    code = "encoder_mismatch"


class DuplicatePhotoError(SearchError):
    """A change adds a photo twice."""

    code = "duplicate_photo"


class UnknownPhotoError(SearchError):
    """A photo is not in the index."""

    code = "unknown_photo"


class IndexUnreadable(SearchError):
    """A stored index is missing, truncated or inconsistent and must be rebuilt."""

    code = "index_unreadable"


class IndexUnavailable(SearchError):
    """The server of the index does not respond."""

    code = "index_unavailable"


class Hit(NamedTuple):
    """One item of a result: its photo nearest to the query, and their cosine, -1..1."""

    item_id: int
    photo_id: int
    score: float


def best_hits(
    item_ids: npt.NDArray[np.int64], photo_ids: npt.NDArray[np.int64], vectors: Floats, query: Floats, k: int
) -> list[Hit]:
    """Return the `k` best items among rows (n), each once with its best photo, by descending score, item id, photo id.

    Scores are computed row by row in float64: a matrix product may round equal rows differently depending on their
    position, and ties would not be stable.
    """
    if not len(item_ids):
        return []
    if len(item_ids) > 8 * k:
        rows = _top_candidates(item_ids, vectors, query, k)
        item_ids, photo_ids, vectors = item_ids[rows], photo_ids[rows], vectors[rows]
    scores = (vectors.astype(np.float64) * query).sum(axis=1).astype(np.float32)
    order = np.lexsort((photo_ids, item_ids, -scores))
    hits: dict[int, Hit] = {}
    for item, photo, score in zip(*(column[order].tolist() for column in (item_ids, photo_ids, scores)), strict=True):
        if item not in hits:
            hits[item] = Hit(item, photo, score)
            if len(hits) == k:
                break
    return list(hits.values())


def merge_hits(results: Iterable[list[Hit]], k: int) -> list[Hit]:
    """Return the best `k` hits of several results for one query, in the order of `best_hits`."""
    best: dict[int, Hit] = {}
    for hit in sorted(chain.from_iterable(results), key=lambda hit: (-hit.score, hit.item_id, hit.photo_id)):
        best.setdefault(hit.item_id, hit)
    return list(best.values())[:k]


def _top_candidates(
    item_ids: npt.NDArray[np.int64], vectors: Floats, query: Floats, k: int
) -> slice | npt.NDArray[np.int64]:
    """Return the rows that can be among the best by their float32 scores; all rows if no row can be excluded."""
    scores = np.einsum("nd,d->n", vectors, query)
    threshold = np.partition(scores, -4 * k)[-4 * k]
    if len(np.unique(item_ids[scores >= threshold])) < k:
        return slice(None)
    return np.flatnonzero(scores >= threshold - 2 * ROUNDING)
