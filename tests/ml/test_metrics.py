import numpy as np
import pytest

from ml.metrics import found_within, label_figures
from ml.vectors import unit_rows


def figures_by_a_loop(queries, gallery, query_labels, gallery_labels, query_groups, gallery_groups):
    near, precisions = [], []
    for vector, label, group in zip(queries, query_labels, query_groups, strict=True):
        others = [row for row in range(len(gallery)) if gallery_groups[row] != group]
        others.sort(key=lambda row: -float(gallery[row] @ vector))
        right = [gallery_labels[row] == label for row in others]
        relevant = sum(right)
        if not relevant:
            continue
        near.append(sum(right[:10]) / len(right[:10]))
        total = 0.0
        for rank in range(1, relevant + 1):
            if right[rank - 1]:
                total += sum(right[:rank]) / rank
        precisions.append(total / relevant)
    return sum(near) / len(near), sum(precisions) / len(precisions)


def a_gallery(n=90, seed=0):
    rng = np.random.default_rng(seed)
    return unit_rows(rng.normal(size=(n, 6))), rng.integers(0, 5, n), rng.integers(0, 12, n)


@pytest.mark.parametrize("seed", range(4))
def test_label_figures_agree_with_the_dumbest_loop(seed):
    vectors, labels, groups = a_gallery(seed=seed)
    q = slice(0, 40)
    given = (vectors[q], vectors, labels[q], labels, groups[q], groups)
    assert label_figures(*given) == pytest.approx(figures_by_a_loop(*given))


def test_label_figures_do_not_depend_on_the_chunks(monkeypatch):
    vectors, labels, groups = a_gallery()
    whole = label_figures(vectors, vectors, labels, labels, groups, groups)
    monkeypatch.setattr("ml.metrics.CHUNK_ROWS", 7)
    assert label_figures(vectors, vectors, labels, labels, groups, groups) == pytest.approx(whole)


def test_map_at_r_of_a_case_worked_by_hand():
    """The query's label is right at ranks 1 and 3 of 3 relevant: (1/1 + 2/3) / 3. Ranks by falling cosine."""
    gallery = unit_rows([[10, 1], [10, 2], [10, 3], [10, 4]])
    labels = np.array([1, 0, 1, 1])
    near, map_at_r = label_figures(
        unit_rows([[1, 0]]), gallery, np.array([1]), labels, np.array([9]), np.array([0, 1, 2, 3])
    )
    assert near == pytest.approx(3 / 4)
    assert map_at_r == pytest.approx((1 + 2 / 3) / 3)


def test_the_query_s_own_contributor_cannot_help():
    gallery = unit_rows([[1, 0], [1, 0.1], [0, 1]])
    labels, groups = np.array([1, 1, 1]), np.array([5, 5, 6])
    wrong = np.array([1, 1, 2])
    assert label_figures(gallery[:1], gallery, labels[:1], labels, groups[:1], groups) == (1.0, 1.0)
    assert np.isnan(label_figures(gallery[:1], gallery, wrong[:1], wrong, groups[:1], groups)).all()


def found_by_a_loop(queries, gallery, targets, k):
    hits = 0
    for vector, target in zip(queries, targets, strict=True):
        own = float(np.float32(vector @ gallery[target]))
        nearer = sum(float(np.float32(vector @ row)) > own for at, row in enumerate(gallery) if at != target)
        hits += nearer < k
    return hits / len(queries)


def test_found_within_agrees_with_the_dumbest_loop(monkeypatch):
    monkeypatch.setattr("ml.metrics.CHUNK_ROWS", 11)
    gallery, _, _ = a_gallery()
    targets = np.arange(0, 90, 3)
    queries = unit_rows(gallery[targets] + np.random.default_rng(1).normal(size=(30, 6)) * 0.5)
    expected = [found_by_a_loop(queries, gallery, targets, k) for k in (1, 5, 90)]
    assert list(found_within(queries, gallery, targets, (1, 5, 90))) == pytest.approx(expected)
    assert 0 < expected[0] < expected[1] < expected[2] == 1.0


def test_collapsed_vectors_find_nothing():
    same = unit_rows(np.ones((8, 3)))
    assert found_within(same, same, np.arange(8), (1, 5)) == (0.0, 0.0)


def test_no_queries_give_no_figure():
    gallery, _, _ = a_gallery()
    assert np.isnan(found_within(gallery[:0], gallery, np.empty(0, dtype=np.int64), (1,))).all()
