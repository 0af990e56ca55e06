"""`SearchIndex`: the interface of all vector indexes, and the argument checks they share."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from ml.search.hits import DuplicatePhotoError, EncoderMismatch, Hit, SearchError
from ml.search.rows import ANY, Bools, Ints, Rows, Where, as_ids
from ml.vectors import Floats, ShapeError, require_unit_rows

Position = Mapping[str, int]
"""A cursor into the source of the rows, stored with them atomically, so that synchronisation resumes from there."""


class SearchIndex(ABC):
    """Unit vectors of photos, all from one encoder, with the filter columns of their items.

    One thread may change the index while many search; each search sees the state before or after a change. All errors
    are `InputError`s; an index on a server raises `IndexUnavailable` too.
    """

    exact: ClassVar[bool]
    """Whether results equal those of brute force over every vector."""

    def __init__(self, encoder: str, dim: int) -> None:
        """`encoder`: identifier of the encoder of the vectors (`Card.identifier`, or a name); `dim`: their length."""
        self.encoder = encoder
        self.dim = dim

    @abstractmethod
    def __len__(self) -> int:
        """How many photos the index holds."""

    @property
    @abstractmethod
    def position(self) -> Position:
        """The position of the last change that had one; empty before."""

    def update(
        self, rows: Rows, *, items: npt.ArrayLike = (), photos: npt.ArrayLike = (), position: Position | None = None
    ) -> None:
        """Delete all photos of `items`, and `photos`; then add `rows`, replacing photos that are present.

        Atomic and idempotent. To change an item, pass it in `items` and its photos in `rows`. Raises
        `DuplicatePhotoError` or a `VectorError`.
        """
        values, counts = np.unique(rows.photo_ids, return_counts=True)
        if (counts > 1).any():
            raise DuplicatePhotoError(f"Photo {values[counts > 1][0]} would be in the index twice.")
        if len(rows):
            require_unit_rows(rows.vectors, self.dim)
        self._update(rows, np.unique(as_ids(items)), np.unique(as_ids(photos)), position)

    def search(self, vector: npt.ArrayLike, k: int, *, encoder: str, where: Where = ANY) -> list[Hit]:
        """Return the `k` items nearest to `vector` (d) that match `where`, one hit each with its best photo.

        Fewer if fewer match. Ordered by descending score, then item id, then photo id. Raises `EncoderMismatch`,
        `SearchError` for k below 1, or a `VectorError`.
        """
        query = np.asarray(vector, dtype=np.float32)
        if query.ndim != 1:
            raise ShapeError(f"A vector must have the shape ({self.dim},), not {query.shape}.")
        return self.search_many(query[None], k, encoder=encoder, where=where)[0]

    def search_many(self, vectors: npt.ArrayLike, k: int, *, encoder: str, where: Where = ANY) -> list[list[Hit]]:
        """Search for each of `vectors` (q, d); see `search`."""
        if encoder != self.encoder:
            raise EncoderMismatch(f"The vector is of encoder {encoder!r}, the index of {self.encoder!r}.")
        if k < 1:
            raise SearchError(f"k must be 1 or more, not {k}.", code="invalid_k")
        return self._search(require_unit_rows(vectors, self.dim), k, where)

    @abstractmethod
    def vectors_of(self, photo_ids: Sequence[int]) -> Floats:
        """Return the vectors (n, d) of photos in the index, in the given order. Raises `UnknownPhotoError`."""

    @abstractmethod
    def contains(self, photo_ids: npt.ArrayLike) -> Bools:
        """Return, for each photo id (n), whether it is in the index."""

    def compact(self) -> bool:
        """Merge and clean up internally where that makes searches faster; return whether anything was done.

        May take long, without blocking searches and changes; call it from a background thread.
        """
        return False

    @abstractmethod
    def clear(self) -> None:
        """Remove every row and the position."""

    def close(self) -> None:  # noqa: B027 - most indexes hold no resources
        """Release connections and other resources. The index must not be used afterwards."""

    @abstractmethod
    def _update(self, rows: Rows, items: Ints, photos: Ints, position: Position | None) -> None:
        """Implement `update` for checked arguments; the ids are sorted and unique."""

    @abstractmethod
    def _search(self, queries: Floats, k: int, where: Where) -> list[list[Hit]]:
        """Implement `search_many` for checked arguments."""
