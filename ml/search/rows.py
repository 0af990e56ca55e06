"""What an index holds of each photo, and what a search may ask of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml.vectors import Floats, ShapeError

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Prices = npt.NDArray[np.float64]

TEXTS: Final = ("category", "brand", "gender", "colour", "collection")
"""The facts that are words. They are compared whole, without regard to capital letters."""


@dataclass(frozen=True)
class Where:
    """What an item must be to answer. None asks for nothing; all that is asked for must hold.

    The names of `TEXTS` are words; `min_price` and `max_price` belong to the range, and an item without a price is in
    none. Raises `ValueError` for a bound that is no number.
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
                raise ValueError("A bound of a price must be a number.")

    @property
    def texts(self) -> dict[str, str]:
        """The words that are asked for, as they are compared."""
        asked = {name: getattr(self, name) for name in TEXTS}
        return {name: compared(value) for name, value in asked.items() if value is not None}

    @property
    def asks_nothing(self) -> bool:
        """Whether every item fits."""
        return self is ANY or self == ANY

    def fits(self, facts: Mapping[str, Any]) -> bool:
        """Whether one item does. `facts`: its `TEXTS`, "price" (a number or None) and "in_stock"."""
        price = facts["price"]
        return (
            all(compared(facts[name]) == value for name, value in self.texts.items())
            and (self.min_price is None or (price is not None and float(price) >= self.min_price))
            and (self.max_price is None or (price is not None and float(price) <= self.max_price))
            and (self.in_stock is None or bool(facts["in_stock"]) == self.in_stock)
        )


ANY = Where()


def compared(word: str) -> str:
    """A word as it is compared."""
    return word.casefold()


@dataclass(frozen=True)
class Rows:
    """Photos with their vectors and the facts of their items, one row each.

    `photo_ids` (n) and `item_ids` (n); `vectors` (n, d), unit rows; `texts`: for each of `TEXTS` the words (n), ""
    where nothing is known; `prices` (n), NaN where there is none; `in_stock` (n).
    """

    photo_ids: Ints
    item_ids: Ints
    vectors: Floats
    texts: Mapping[str, Sequence[str]]
    prices: Prices
    in_stock: Bools

    def __len__(self) -> int:
        return len(self.photo_ids)


def rows_of(photo_ids: npt.ArrayLike, item_ids: npt.ArrayLike, vectors: npt.ArrayLike, **facts: Any) -> Rows:
    """Rows from whatever can become arrays. `facts`: columns (n) by name, or one value for all; what is missing is "",
    no price, and in stock.

    Raises `ShapeError` for ids that are no whole numbers, or columns of other lengths.
    """
    photos, items = as_ids(photo_ids), as_ids(item_ids)
    count = len(photos)
    texts = {name: _column(facts.pop(name, ""), count) for name in TEXTS}
    prices = np.array(_column(facts.pop("price", None), count), dtype=np.float64)  # None becomes NaN
    in_stock = np.array(_column(facts.pop("in_stock", True), count), dtype=bool)
    if facts:
        raise ShapeError(f"There are no facts called {', '.join(sorted(facts))}.")
    rows = np.asarray(vectors, dtype=np.float32)
    if rows.size == 0 and rows.ndim != 2:
        rows = rows.reshape(0, 0)
    if not count == len(items) == len(rows):
        raise ShapeError(f"{count} photo ids, {len(items)} item ids and {len(rows)} vectors do not belong together.")
    return Rows(photos, items, rows, texts, prices, in_stock)


def _column(value: Any, count: int) -> list[Any]:
    if isinstance(value, str | int | float | None):
        return [value] * count
    column = list(value)
    if len(column) != count:
        raise ShapeError(f"{count} photos and {len(column)} facts do not belong together.")
    return column


def as_ids(ids: npt.ArrayLike) -> Ints:
    """Return ids as int64 (n). Raises `ShapeError` for anything but whole numbers: 1.5 would silently become 1."""
    array = np.asarray(ids)
    if array.size == 0:
        return np.empty(0, dtype=np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ShapeError(f"Ids must be whole numbers in one row, not {array.dtype} in the shape {array.shape}.")
    return array.astype(np.int64)
