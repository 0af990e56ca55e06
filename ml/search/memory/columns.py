"""Filter columns of an index: dictionary-encoded texts, prices and stock, and the evaluation of filters on them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.search.rows import TEXT_COLUMNS, Bools, Prices, Rows, Where, fold_case

Codes = npt.NDArray[np.int32]


class Vocabulary:
    """Dictionary encoding: a code for each word of a text column. Append-only, so that codes stay valid."""

    def __init__(self, words: Mapping[str, Iterable[str]] | None = None) -> None:
        """`words`: the property `words` of an earlier vocabulary."""
        initial = words or {}
        self._codes = {name: {word: code for code, word in enumerate(initial.get(name, ()))} for name in TEXT_COLUMNS}

    @property
    def words(self) -> dict[str, list[str]]:
        """The words of each column in the order of their codes."""
        return {name: list(codes) for name, codes in self._codes.items()}

    def encode(self, rows: Rows) -> "Columns":
        """Return the columns of `rows`; new words get codes."""
        codes = {name: np.array(self._encode(name, rows.texts[name]), dtype=np.int32) for name in TEXT_COLUMNS}
        return Columns(codes, rows.prices, rows.in_stock)

    def _encode(self, name: str, words: Iterable[str]) -> list[int]:
        codes = self._codes[name]
        return [codes.setdefault(fold_case(word), len(codes)) for word in words]

    def encode_filter(self, where: Where) -> "EncodedFilter | None":
        """Return `where` with codes in place of words; None if no row can match, because a word is new."""
        codes = {name: self._codes[name].get(word) for name, word in where.texts.items()}
        encoded = {name: code for name, code in codes.items() if code is not None}
        if len(encoded) < len(codes):
            return None
        return EncodedFilter(encoded, where.min_price, where.max_price, where.in_stock)


@dataclass(frozen=True)
class EncodedFilter:
    """A `Where` whose words are codes of a vocabulary."""

    codes: dict[str, int]
    min_price: float | None
    max_price: float | None
    in_stock: bool | None


@dataclass(frozen=True)
class Columns:
    """`codes`: for each of `TEXT_COLUMNS` the codes (n); `prices` (n), NaN for no price; `in_stock` (n)."""

    codes: Mapping[str, Codes]
    prices: Prices
    in_stock: Bools

    def take(self, rows: "slice | npt.NDArray[np.int64]") -> "Columns":
        """Return the columns of some rows."""
        return Columns(
            {name: codes[rows] for name, codes in self.codes.items()}, self.prices[rows], self.in_stock[rows]
        )

    def mask(self, filters: EncodedFilter, rows: slice, *, skip: str = "") -> Bools | None:
        """Return which of `rows` match (n); None: all. `skip`: a column known to match."""
        masks: list[Bools] = [self.codes[name][rows] == code for name, code in filters.codes.items() if name != skip]
        if filters.min_price is not None:
            masks.append(self.prices[rows] >= filters.min_price)  # False for NaN
        if filters.max_price is not None:
            masks.append(self.prices[rows] <= filters.max_price)
        if filters.in_stock is not None:
            masks.append(self.in_stock[rows] == filters.in_stock)
        return np.logical_and.reduce(masks) if masks else None


def concatenate_columns(parts: Iterable[Columns]) -> Columns:
    """Return the rows of all parts, in order."""
    every = list(parts)
    codes = {name: np.concatenate([part.codes[name] for part in every]) for name in TEXT_COLUMNS}
    prices = np.concatenate([part.prices for part in every])
    return Columns(codes, prices, np.concatenate([part.in_stock for part in every]))
