"""The exact search among unit vectors, and the choice of a varied page from what it finds."""

from ml.search.diversity import diversify
from ml.search.exact import VectorIndex
from ml.search.hits import DuplicatePhotoError, EncoderMismatch, Hit, SearchError, UnknownPhotoError

__all__ = [
    "DuplicatePhotoError",
    "EncoderMismatch",
    "Hit",
    "SearchError",
    "UnknownPhotoError",
    "VectorIndex",
    "diversify",
]
