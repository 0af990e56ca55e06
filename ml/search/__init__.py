"""Vector search indexes with filters and one hit per item: in memory, in PostgreSQL (pgvector) and in Qdrant."""

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
from ml.search.rows import ANY, TEXT_COLUMNS, Rows, Where, build_rows

__all__ = [
    "ANY",
    "TEXT_COLUMNS",
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
    "build_rows",
    "diversify",
]
