"""Searches among unit vectors, and the choice of a varied page from what they find.

`SearchIndex` is what they all can do. `ExactIndex`, in memory, is the one to begin with; the others are in modules of
their own, which are imported where they are used: `ml.search.memory.ivf`, `ml.search.pgvector.index`,
`ml.search.qdrant.index`.
"""

from ml.search.hits import (
    DuplicatePhotoError,
    EncoderMismatch,
    Hit,
    IndexUnavailable,
    IndexUnreadable,
    SearchError,
    UnknownPhotoError,
)
from ml.search.interface import Position, SearchIndex
from ml.search.memory.index import ExactIndex
from ml.search.mmr import diversify
from ml.search.rows import ANY, TEXTS, Rows, Where, rows_of

__all__ = [
    "ANY",
    "TEXTS",
    "DuplicatePhotoError",
    "EncoderMismatch",
    "ExactIndex",
    "Hit",
    "IndexUnavailable",
    "IndexUnreadable",
    "Position",
    "Rows",
    "SearchError",
    "SearchIndex",
    "UnknownPhotoError",
    "Where",
    "diversify",
    "rows_of",
]
