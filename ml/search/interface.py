"""What every kind of index can do, and the checks that all of them make in the same way."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from ml.search.hits import DuplicatePhotoError, EncoderMismatch, Hit, SearchError
from ml.search.rows import ANY, Bools, Ints, Rows, Where, as_ids
from ml.vectors import Floats, ShapeError, require_unit_rows

Position = Mapping[str, int]
"""How far whoever fills an index has read its source; kept with the rows, so that it goes on from there."""


class SearchIndex(ABC):
    """Unit vectors of photos, all of one encoder, with the facts of their items.

    One change may be under way while many threads search; each search sees the state before it or after it. Errors of
    all methods are `InputError`s; where a server keeps the rows, `IndexUnavailable` too.
    """

    exact: ClassVar[bool]
    """Whether an answer equals that of a comparison with every vector."""

    def __init__(self, encoder: str, dim: int) -> None:
        """`encoder` says what made the vectors (`Card.identifier`, or a name); `dim` is their length."""
        self.encoder = encoder
        self.dim = dim

    @abstractmethod
    def __len__(self) -> int:
        """How many photos are in it."""

    @property
    @abstractmethod
    def position(self) -> Position:
        """That of the last change that gave one; empty before."""

    def update(
        self, rows: Rows, *, items: npt.ArrayLike = (), photos: npt.ArrayLike = (), position: Position | None = None
    ) -> None:
        """Take out every photo of `items`, and `photos`; then put `rows` in, in the place of what they replace.

        All of it or, on an error, nothing. To change an item is to give it in `items` and its photos in `rows`. The
        same change made twice is made once. Raises `DuplicatePhotoError` or a `VectorError`.
        """
        values, counts = np.unique(rows.photo_ids, return_counts=True)
        if (counts > 1).any():
            raise DuplicatePhotoError(f"Photo {values[counts > 1][0]} would be in the index twice.")
        if len(rows):
            require_unit_rows(rows.vectors, self.dim)
        self._update(rows, np.unique(as_ids(items)), np.unique(as_ids(photos)), position)

    def search(self, vector: npt.ArrayLike, k: int, *, encoder: str, where: Where = ANY) -> list[Hit]:
        """Return the `k` items nearest to `vector` (d) that fit `where`, one hit each with its best photo.

        Fewer where there are fewer. Ordered by score downwards, then item id, then photo id. Raises `EncoderMismatch`,
        `SearchError` for k below 1, or a `VectorError`.
        """
        one = np.asarray(vector, dtype=np.float32)
        if one.ndim != 1:
            raise ShapeError(f"A vector must have the shape ({self.dim},), not {one.shape}.")
        return self.search_many(one[None], k, encoder=encoder, where=where)[0]

    def search_many(self, vectors: npt.ArrayLike, k: int, *, encoder: str, where: Where = ANY) -> list[list[Hit]]:
        """As `search`, for each of `vectors` (q, d)."""
        if encoder != self.encoder:
            raise EncoderMismatch(f"The vector is of encoder {encoder!r}, the index of {self.encoder!r}.")
        if k < 1:
            raise SearchError(f"k must be 1 or more, not {k}.")
        return self._search(require_unit_rows(vectors, self.dim), k, where)

    @abstractmethod
    def vectors_of(self, photo_ids: Sequence[int]) -> Floats:
        """Return the vectors (n, d) of photos in the index, in the order asked for. Raises `UnknownPhotoError`."""

    @abstractmethod
    def contains(self, photo_ids: npt.ArrayLike) -> Bools:
        """Return, for each photo id (n), whether it is in the index."""

    def compact(self) -> bool:
        """Tidy up what changes have left, where that makes searches faster. Returns whether anything was done.

        May take long. Searches and changes go on meanwhile; call it from a thread that nobody waits for.
        """
        return False

    @abstractmethod
    def clear(self) -> None:
        """Remove every row and the position."""

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Give back what the index holds of the machine. It must not be used any more."""

    @abstractmethod
    def _update(self, rows: Rows, items: Ints, photos: Ints, position: Position | None) -> None:
        """`update` with what is checked; the ids are sorted, each once."""

    @abstractmethod
    def _search(self, queries: Floats, k: int, where: Where) -> list[list[Hit]]:
        """`search_many` with what is checked."""
