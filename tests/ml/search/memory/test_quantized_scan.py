"""The quantised scan: blocks, groups and bounds."""

import numpy as np
import pytest

from ml.search.memory.quantized_scan import (
    BLOCK,
    GROUP,
    MIN_CATEGORY_BLOCK,
    QuantizedScan,
    block_starts,
    interleave_groups,
)
from ml.vectors import unit_rows
from tests.helpers.search_rows import clustered


@pytest.mark.parametrize("sizes", [[1], [16], [70_000], [5, 5, 5], [20_000, 3, 9_000, 40_000, 8_191, 8_192]])
def test_blocks_are_short_and_large_categories_begin_a_block(sizes: list[int]) -> None:
    categories = np.repeat(np.arange(len(sizes)), sizes)
    starts = block_starts(categories)
    assert (starts[0], starts[-1]) == (0, sum(sizes))
    assert (np.diff(starts) > 0).all()
    assert (np.diff(starts) <= BLOCK).all()
    for begin, size in zip(np.cumsum([0, *sizes]), sizes, strict=False):
        assert size < MIN_CATEGORY_BLOCK or begin in starts


def test_groups_are_neighbouring_rows() -> None:
    rows = np.arange(40, dtype=np.uint8)[:, None].repeat(3, axis=1)
    turned = interleave_groups(rows)
    assert turned.shape == (3, 48)
    assert turned[0].reshape(GROUP, -1)[:, 1].tolist() == list(range(16, 32))


@pytest.mark.parametrize("dim", [3, 37, 100, 128])
@pytest.mark.parametrize("shape", ["clustered", "one large number", "equal numbers"])
def test_no_score_exceeds_the_bound_of_its_group(dim: int, shape: str) -> None:
    vectors = clustered(5000, dim=dim, seed=dim)
    if shape == "one large number":
        vectors[:, 0] += 20
    elif shape == "equal numbers":
        vectors = np.sign(vectors)
    vectors = unit_rows(vectors)
    queries = unit_rows(np.vstack([vectors[:5], -vectors[5:8], np.random.default_rng(0).normal(size=(4, dim))]))
    scan = QuantizedScan.build(vectors, np.repeat([0, 1, 2], [1000, 0, 4000]))
    upper, first = scan.bounds(queries, 0, len(vectors), None)
    scores = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    for group, row in enumerate(first):
        best = scores[:, row : row + GROUP].max(axis=1)
        assert (upper[:, group] >= best).all()
        assert (upper[:, group] - best < 0.2).all()


def test_bounds_of_a_range_respect_the_mask() -> None:
    vectors = clustered(9000, dim=20)
    scan = QuantizedScan.build(vectors, np.zeros(9000, dtype=np.int32))
    mask = np.zeros(5000, dtype=bool)
    mask[[0, 17, 4999]] = True
    upper, first = scan.bounds(vectors[:2], 1003, 6003, mask)
    groups = np.flatnonzero(np.isfinite(upper[0]))
    assert [1003 in range(row, row + GROUP) for row in first[groups]] == [True, False, False]
    assert first[groups[-1]] <= 6002 < first[groups[-1]] + GROUP
    assert (upper[0, groups] >= vectors[[1003, 1020, 6002]] @ vectors[0]).all()
