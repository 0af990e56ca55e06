"""What a search answers with, and what can be wrong with a question or an index."""

from collections.abc import Iterable
from itertools import chain
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from ml.formats.errors import InputError
from ml.vectors import Floats

ROUNDING: Final = 1e-5
"""More than the error of a float32 dot product of unit vectors, so that no true answer is dropped before re-scoring."""


class SearchError(InputError):
    """Base of the errors of a search that are not about the vectors themselves."""


class EncoderMismatch(SearchError):
    """Vectors of different encoders cannot be compared."""


class DuplicatePhotoError(SearchError):
    """A photo stands twice in what is to be added."""


class UnknownPhotoError(SearchError):
    """A photo is not in the index."""


class IndexUnreadable(SearchError):
    """What was stored of an index is missing, cut off or not what it says: it has to be built anew."""


class IndexUnavailable(SearchError):
    """The server that keeps the index does not answer."""


class Hit(NamedTuple):
    """One item of an answer: the photo of it that is nearest to the query, and their cosine, -1..1."""

    item_id: int
    photo_id: int
    score: float


def best_hits(
    item_ids: npt.NDArray[np.int64], photo_ids: npt.NDArray[np.int64], vectors: Floats, query: Floats, k: int
) -> list[Hit]:
    """The `k` best items among rows (n): each once, with its best photo, by score downwards, item id and photo id.

    Scores are taken row by row in float64: a matrix product may round equal rows differently, depending on where they
    stand, and ties would not be stable.
    """
    if not len(item_ids):
        return []
    if len(item_ids) > 8 * k:
        rows = _near_the_best(item_ids, vectors, query, k)
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


def merged(answers: Iterable[list[Hit]], k: int) -> list[Hit]:
    """The best `k` of the answers to one query by several parts of an index, in the order of `best_hits`."""
    best: dict[int, Hit] = {}
    for hit in sorted(chain.from_iterable(answers), key=lambda hit: (-hit.score, hit.item_id, hit.photo_id)):
        best.setdefault(hit.item_id, hit)
    return list(best.values())[:k]


def _near_the_best(
    item_ids: npt.NDArray[np.int64], vectors: Floats, query: Floats, k: int
) -> slice | npt.NDArray[np.int64]:
    """The rows that may be among the best by their scores in float32, if that leaves out any for sure."""
    scores = np.einsum("nd,d->n", vectors, query)
    border = np.partition(scores, -4 * k)[-4 * k]
    if len(np.unique(item_ids[scores >= border])) < k:
        return slice(None)
    return np.flatnonzero(scores >= border - 2 * ROUNDING)
