"""The exact index keeps the contract of a search index."""

import pytest

from ml.search import ExactIndex
from tests.helpers.search_contract import Contract, Make


class TestExact(Contract):
    many = 12_000  # enough that the scan is used, also of one category

    @pytest.fixture
    def make(self) -> Make:
        return ExactIndex


class TestExactOfManySegments(Contract):
    """A new segment for every few rows, so that each search goes through several."""

    @pytest.fixture
    def make(self) -> Make:
        return lambda encoder, dim: ExactIndex(encoder, dim, sealed_at=3)
