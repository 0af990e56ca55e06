"""The rows of an index (`Rows`) and the filters of a search (`Where`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml.vectors import Floats, ShapeError

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Prices = npt.NDArray[np.float64]

TEXT_COLUMNS: Final = ("category", "brand", "gender", "colour", "collection")
"""The filter columns that hold words. Filters compare whole words, ignoring case."""


@dataclass(frozen=True)
class Where:
    """The filters of a search, combined with AND; None means no filter on that column.

    The price range includes `min_price` and `max_price`; an item without a price is in no range. Raises `ValueError`
    for NaN as a bound.
    """

    category: str | None = None
    brand: str | None = None
    gender: str | None = None
    colour: str | None = None
    collection: str | None = None
    min_price: float | None = None
    max_price: float | None = None
    in_stock: bool | None = None

    def __post_init__(self) -> None:
        for bound in (self.min_price, self.max_price):
            if bound is not None and bound != bound:
                raise ValueError("A price bound must not be NaN.")

    @property
    def texts(self) -> dict[str, str]:
        """The filters on text columns, case-folded."""
        words = {name: getattr(self, name) for name in TEXT_COLUMNS}
        return {name: fold_case(word) for name, word in words.items() if word is not None}

    @property
    def is_empty(self) -> bool:
        """Whether every item matches."""
        return self is ANY or self == ANY

    def matches(self, columns: Mapping[str, Any]) -> bool:
        """Return whether an item matches. `columns`: its `TEXT_COLUMNS`, "price" (a number or None) and "in_stock"."""
        price = columns["price"]
        return (
            all(fold_case(columns[name]) == value for name, value in self.texts.items())
            and (self.min_price is None or (price is not None and float(price) >= self.min_price))
            and (self.max_price is None or (price is not None and float(price) <= self.max_price))
            and (self.in_stock is None or bool(columns["in_stock"]) == self.in_stock)
        )


ANY = Where()


def fold_case(word: str) -> str:
    """Return the form of a word that filters compare."""
    return word.casefold()


@dataclass(frozen=True)
class Rows:
    """Photos with their vectors and the filter columns of their items, one row each.

    `photo_ids` (n) and `item_ids` (n); `vectors` (n, d), unit rows; `texts`: for each of `TEXT_COLUMNS` the words (n),
    "" if unknown; `prices` (n), NaN for no price; `in_stock` (n).
    """

    photo_ids: Ints
    item_ids: Ints
    vectors: Floats
    texts: Mapping[str, Sequence[str]]
    prices: Prices
    in_stock: Bools

    def __len__(self) -> int:
        return len(self.photo_ids)


def build_rows(photo_ids: npt.ArrayLike, item_ids: npt.ArrayLike, vectors: npt.ArrayLike, **columns: Any) -> Rows:
    """Build rows from array-likes.

    `columns`: filter columns (n) by name, or one value for all rows; the defaults are "", no price and in stock.
    Raises `ShapeError` for ids that are not integers, unknown columns, or columns of another length.
    """
    photos, items = as_ids(photo_ids), as_ids(item_ids)
    count = len(photos)
    texts = {name: _as_column(columns.pop(name, ""), count) for name in TEXT_COLUMNS}
    prices = np.array(_as_column(columns.pop("price", None), count), dtype=np.float64)  # None becomes NaN
    in_stock = np.array(_as_column(columns.pop("in_stock", True), count), dtype=bool)
    if columns:
        raise ShapeError(f"There are no columns called {', '.join(sorted(columns))}.", code="unknown_column")
    rows = np.asarray(vectors, dtype=np.float32)
    if rows.size == 0 and rows.ndim != 2:
        rows = rows.reshape(0, 0)
    if not count == len(items) == len(rows):
        raise ShapeError(f"{count} photo ids, {len(items)} item ids and {len(rows)} vectors do not match in number.")
    return Rows(photos, items, rows, texts, prices, in_stock)


def _as_column(value: Any, count: int) -> list[Any]:
    if isinstance(value, str | int | float | None):
        return [value] * count
    column = list(value)
    if len(column) != count:
        raise ShapeError(f"{count} photos and {len(column)} values of a column do not match in number.")
    return column


def as_ids(ids: npt.ArrayLike) -> Ints:
    """Return ids as int64 (n). Raises `ShapeError` for other numbers: 1.5 would silently become 1."""
    array = np.asarray(ids)
    if array.size == 0:
        return np.empty(0, dtype=np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ShapeError(f"Ids must be integers in one dimension, not {array.dtype} in the shape {array.shape}.")
    return array.astype(np.int64)
