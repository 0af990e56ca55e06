"""What a search answers with, and what can be wrong with a question."""

from dataclasses import dataclass

from ml.errors import InputError


class SearchError(InputError):
    """Base of the errors of a search that are not about the vectors themselves."""


class EncoderMismatch(SearchError):
    """Vectors of different encoders cannot be compared."""


class DuplicatePhotoError(SearchError):
    """A photo is in the index already."""


class UnknownPhotoError(SearchError):
    """A photo is not in the index."""


@dataclass(frozen=True)
class Hit:
    """One item of an answer: the photo of it that is nearest to the query, and their cosine, -1..1."""

    item_id: int
    photo_id: int
    score: float
