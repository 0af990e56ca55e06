"""Diversifying results by maximal marginal relevance."""

import numpy as np
import pytest

from ml.search import Hit, SearchError, diversify
from ml.vectors import ShapeError, unit_rows
from tests.helpers.errors import raises_code


def mmr_by_loop(hits, vectors, k, diversity):
    chosen, left = [], list(range(len(hits)))
    while left and len(chosen) < k:
        values = []
        for index in left:
            closest = max((float(vectors[index] @ vectors[other]) for other in chosen), default=0.0)
            values.append((1 - diversity) * hits[index].score - diversity * closest)
        pick = left[0] if not chosen else left[int(np.argmax(values))]
        chosen.append(pick)
        left.remove(pick)
    return [hits[index] for index in chosen]


def random_pool(n: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    vectors = unit_rows(rng.normal(size=(n, 5)))
    scores = vectors @ unit_rows(rng.normal(size=(1, 5)))[0]
    order = np.argsort(-scores)
    return [Hit(int(row), int(row) + 100, float(scores[row])) for row in order], vectors[order]


@pytest.mark.parametrize("diversity", [0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_diversify_equals_a_loop_over_the_formula(diversity, seed):
    hits, vectors = random_pool(20, seed)
    assert diversify(hits, vectors, 8, diversity) == mmr_by_loop(hits, vectors, 8, diversity)


def test_diversity_zero_keeps_the_order():
    hits, vectors = random_pool(10)
    assert diversify(hits, vectors, 4, 0.0) == hits[:4]


def test_a_duplicate_is_replaced_by_a_different_item():
    hits = [Hit(1, 1, 1.0), Hit(2, 2, 1.0), Hit(3, 3, 0.8)]
    vectors = unit_rows([[1, 0], [1, 0], [0.8, 0.6]])
    assert [hit.item_id for hit in diversify(hits, vectors, 2, 0.6)] == [1, 3]
    assert [hit.item_id for hit in diversify(hits, vectors, 2, 0.1)] == [1, 2]


@pytest.mark.parametrize("k", [0, 3, 99])
def test_at_most_k_hits_are_returned(k):
    hits, vectors = random_pool(10)
    assert len(diversify(hits, vectors, k, 0.5)) == min(k, 10)
    assert diversify([], np.empty((0, 5)), k, 0.5) == []


def test_a_diversity_out_of_range_and_a_wrong_number_of_vectors_are_refused():
    hits, vectors = random_pool(4)
    for diversity in (-0.1, 1.1, float("nan")):
        with raises_code(SearchError, "invalid_diversity", diversity):
            diversify(hits, vectors, 2, diversity)
    with pytest.raises(ShapeError):
        diversify(hits, vectors[:3], 2, 0.5)
