"""The facts of an index's rows in columns of numbers, and what a search asks of them in the same numbers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.search.rows import TEXTS, Bools, Prices, Rows, Where, compared

Codes = npt.NDArray[np.int32]


class Vocabulary:
    """A number for each word that a column holds. Words are only ever added, so numbers keep their meaning."""

    def __init__(self, words: Mapping[str, Iterable[str]] | None = None) -> None:
        """`words`: those of an earlier `words`, in their order."""
        known = words or {}
        self._codes = {name: {word: code for code, word in enumerate(known.get(name, ()))} for name in TEXTS}

    @property
    def words(self) -> dict[str, list[str]]:
        """The words of each column by their numbers."""
        return {name: list(codes) for name, codes in self._codes.items()}

    def encode(self, rows: Rows) -> "Facts":
        """The facts of `rows`; new words get numbers."""
        codes = {name: np.array(self._numbers(name, rows.texts[name]), dtype=np.int32) for name in TEXTS}
        return Facts(codes, rows.prices, rows.in_stock)

    def _numbers(self, name: str, words: Iterable[str]) -> list[int]:
        codes = self._codes[name]
        return [codes.setdefault(compared(word), len(codes)) for word in words]

    def asked(self, where: Where) -> "Asked | None":
        """`where` in numbers; None where nothing can fit, since no row has ever had such a word."""
        codes = {name: self._codes[name].get(word) for name, word in where.texts.items()}
        known = {name: code for name, code in codes.items() if code is not None}
        if len(known) < len(codes):
            return None
        return Asked(known, where.min_price, where.max_price, where.in_stock)


@dataclass(frozen=True)
class Asked:
    """A `Where` whose words are numbers of a vocabulary."""

    codes: dict[str, int]
    min_price: float | None
    max_price: float | None
    in_stock: bool | None


@dataclass(frozen=True)
class Facts:
    """`codes`: for each of `TEXTS` the numbers (n); `prices` (n), NaN where there is none; `in_stock` (n)."""

    codes: Mapping[str, Codes]
    prices: Prices
    in_stock: Bools

    def taken(self, rows: "slice | npt.NDArray[np.int64]") -> "Facts":
        """Those of some rows."""
        return Facts({name: codes[rows] for name, codes in self.codes.items()}, self.prices[rows], self.in_stock[rows])

    def fitting(self, asked: Asked, rows: slice, *, but: str = "") -> Bools | None:
        """Which of `rows` fit, (n); None: all. `but`: a column that need not be looked at."""
        fits: list[Bools] = [self.codes[name][rows] == code for name, code in asked.codes.items() if name != but]
        if asked.min_price is not None:
            fits.append(self.prices[rows] >= asked.min_price)  # NaN is in no range
        if asked.max_price is not None:
            fits.append(self.prices[rows] <= asked.max_price)
        if asked.in_stock is not None:
            fits.append(self.in_stock[rows] == asked.in_stock)
        return np.logical_and.reduce(fits) if fits else None


def joined_facts(parts: Iterable[Facts]) -> Facts:
    """The rows of all parts, one after the other."""
    every = list(parts)
    codes = {name: np.concatenate([part.codes[name] for part in every]) for name in TEXTS}
    prices = np.concatenate([part.prices for part in every])
    return Facts(codes, prices, np.concatenate([part.in_stock for part in every]))
