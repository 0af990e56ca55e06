import tracemalloc
from dataclasses import astuple, fields

import numpy as np
import pytest
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN

from ml.evaluation.retrieval import LabelScores, label_scores, target_ranks
from ml.vectors import NotFiniteError, NotUnitError, ShapeError, unit_rows

NAMES = [field.name for field in fields(LabelScores)]


def random_gallery(n=90, seed=0, dim=6, labels=5, groups=12):
    rng = np.random.default_rng(seed)
    return unit_rows(rng.normal(size=(n, dim))), rng.integers(0, labels, n), rng.integers(0, groups, n)


def scores_by_a_loop(queries, gallery, query_labels, gallery_labels, query_groups, gallery_groups):
    """One row per query in the order of `NAMES`; among equal scores the wrong photos come first."""
    rows = []
    for vector, label, group in zip(queries, query_labels, query_groups, strict=True):
        others = [row for row in range(len(gallery)) if gallery_groups[row] != group]
        others.sort(key=lambda row: (-np.float32(gallery[row] @ vector), gallery_labels[row] == label))
        right = [bool(gallery_labels[row] == label) for row in others]
        relevant = sum(right)
        if not relevant:
            rows.append([np.nan] * len(NAMES))
            continue
        precisions = sum(sum(right[:rank]) / rank for rank in range(1, relevant + 1) if right[rank - 1])
        hits = [float(any(right[:k])) for k in (1, 5, 10)]
        near = sum(right[:10]) / len(right[:10])
        rows.append([*hits, near, precisions / relevant, sum(right[:relevant]) / relevant])
    return np.array(rows)


def as_rows(scores: LabelScores):
    return np.stack(astuple(scores), axis=1)


# --- by label


@pytest.mark.parametrize("seed", range(4))
def test_label_scores_agree_with_a_naive_loop(seed):
    vectors, labels, groups = random_gallery(seed=seed)
    q = slice(0, 40)
    arguments = (vectors[q], vectors, labels[q], labels, groups[q], groups)
    assert as_rows(label_scores(*arguments)) == pytest.approx(scores_by_a_loop(*arguments))


@pytest.mark.parametrize("groups", [1, 2, 90])
def test_they_agree_for_large_groups_and_for_groups_of_one_photo(groups):
    vectors, labels, groups = random_gallery(groups=groups, labels=20)
    arguments = (vectors, vectors, labels, labels, groups, groups)
    assert as_rows(label_scores(*arguments)) == pytest.approx(scores_by_a_loop(*arguments), nan_ok=True)


def test_they_agree_for_queries_outside_the_gallery():
    vectors, labels, groups = random_gallery()
    arguments = (vectors[:30], vectors[30:], labels[:30], labels[30:], groups[:30], groups[30:])
    assert as_rows(label_scores(*arguments)) == pytest.approx(scores_by_a_loop(*arguments))


def test_they_agree_with_many_equal_scores():
    """Corners of a square: the products of their coordinates are exact, so equal scores are equal."""
    rng = np.random.default_rng(3)
    vectors = np.eye(2, dtype=np.float32)[rng.integers(0, 2, 60)] * rng.choice([-1, 1], (60, 1)).astype(np.float32)
    labels, groups = rng.integers(0, 3, 60), rng.integers(0, 9, 60)
    arguments = (vectors, vectors, labels, labels, groups, groups)
    assert as_rows(label_scores(*arguments)) == pytest.approx(scores_by_a_loop(*arguments))


def test_label_scores_do_not_depend_on_the_chunks(monkeypatch):
    vectors, labels, groups = random_gallery()
    whole = as_rows(label_scores(vectors, vectors, labels, labels, groups, groups))
    for scores in (1, 7 * 90, 89 * 90):
        monkeypatch.setattr("ml.evaluation.retrieval.CHUNK_SCORES", scores)
        assert as_rows(label_scores(vectors, vectors, labels, labels, groups, groups)) == pytest.approx(whole)


def test_label_scores_do_not_depend_on_the_order_of_the_gallery():
    same = unit_rows(np.ones((20, 3)))
    labels = np.arange(20) % 4
    order = np.random.default_rng(0).permutation(20)
    arguments, shuffled = (
        as_rows(label_scores(same, same[o], labels, labels[o], np.arange(20), np.arange(20)[o]))
        for o in (np.arange(20), order)
    )
    assert arguments == pytest.approx(shuffled)


@pytest.mark.parametrize("includes_query", [True, False])
def test_the_metrics_are_those_of_pytorch_metric_learning(includes_query):
    torch = pytest.importorskip("torch")
    vectors, labels, _ = random_gallery(n=240, seed=5, labels=6)
    q, g = (slice(0, 240), slice(0, 240)) if includes_query else (slice(0, 80), slice(80, 240))
    calculator = AccuracyCalculator(
        include=("precision_at_1", "r_precision", "mean_average_precision_at_r"),
        k=int(np.bincount(labels).max()),
        knn_func=CustomKNN(CosineSimilarity()),
    )
    expected = calculator.get_accuracy(
        *(torch.from_numpy(array) for array in (vectors[q], labels[q], vectors[g], labels[g])),
        ref_includes_query=includes_query,
    )
    photos = np.arange(240)  # one group per photo: only the query itself is excluded
    scores = label_scores(vectors[q], vectors[g], labels[q], labels[g], photos[q], photos[g])
    assert scores.recall_at_1.mean() == pytest.approx(expected["precision_at_1"])
    assert scores.r_precision.mean() == pytest.approx(expected["r_precision"])
    assert scores.map_at_r.mean() == pytest.approx(expected["mean_average_precision_at_r"])


def test_a_case_worked_out_by_hand():
    """Right at ranks 1 and 3 of 4, three relevant: R-precision 2/3, AP@R (1/1 + 2/3) / 3, all four among ten."""
    gallery = unit_rows([[10, 1], [10, 2], [10, 3], [10, 4]])
    arguments = (np.array([1]), np.array([1, 0, 1, 1]), np.array([9]), np.arange(4))
    scores = label_scores(unit_rows([[1, 0]]), gallery, *arguments)
    assert as_rows(scores)[0] == pytest.approx([1, 1, 1, 3 / 4, (1 + 2 / 3) / 3, 2 / 3])


def test_rank_six_is_in_the_first_ten_and_not_in_the_first_five():
    gallery = unit_rows([[10, rank] for rank in range(1, 8)])
    labels = np.array([0, 0, 0, 0, 0, 1, 0])
    scores = label_scores(unit_rows([[1, 0]]), gallery, np.array([1]), labels, np.array([9]), np.arange(7))
    assert as_rows(scores)[0] == pytest.approx([0, 0, 1, 1 / 7, 0, 0])


def test_photos_of_the_query_s_contributor_are_excluded():
    gallery = unit_rows([[1, 0], [1, 0.1], [0, 1]])
    labels, groups = np.array([1, 1, 1]), np.array([5, 5, 6])
    scores = label_scores(gallery[:1], gallery, labels[:1], labels, groups[:1], groups)
    assert as_rows(scores)[0] == pytest.approx([1] * len(NAMES))
    lonely = np.array([1, 1, 2])
    scores = label_scores(gallery[:1], gallery, lonely[:1], lonely, groups[:1], groups)
    assert np.isnan(as_rows(scores)).all()


def test_a_label_with_a_single_photo_has_no_scores():
    vectors = unit_rows([[1, 0], [1, 0.1], [1, 0.2]])
    labels = np.array([7, 7, 8])
    scores = label_scores(vectors, vectors, labels, labels, np.arange(3), np.arange(3))
    assert scores.recall_at_1.tolist()[:2] == [1.0, 0.0]  # the second is nearest to the third, by a hair
    assert np.isnan(as_rows(scores)[2]).all()


def test_collapsed_vectors_score_zero():
    same = unit_rows(np.ones((30, 3)))
    labels = np.arange(30) % 2
    scores = label_scores(same, same, labels, labels, np.arange(30), np.arange(30))
    assert as_rows(scores) == pytest.approx(0)


def test_no_queries_give_no_scores():
    vectors, labels, groups = random_gallery()
    scores = label_scores(vectors[:0], vectors, labels[:0], labels, groups[:0], groups)
    assert as_rows(scores).shape == (0, 6)


def test_an_empty_gallery_gives_no_scores():
    vectors, labels, groups = random_gallery()
    scores = label_scores(vectors, vectors[:0], labels, labels[:0], groups, groups[:0])
    assert np.isnan(as_rows(scores)).all()


@pytest.mark.parametrize(("spoil", "error"), [(np.nan, NotFiniteError), (np.inf, NotFiniteError), (0.0, NotUnitError)])
def test_an_invalid_vector_is_refused(spoil, error):
    vectors, labels, groups = random_gallery()
    broken = vectors.copy()
    broken[4] = spoil
    for queries, gallery in ((broken, vectors), (vectors, broken)):
        with pytest.raises(error, match="Vector 4"):
            label_scores(queries, gallery, labels, labels, groups, groups)
        with pytest.raises(error, match="Vector 4"):
            target_ranks(queries, gallery, np.arange(90))


def test_arrays_of_different_lengths_are_refused():
    vectors, labels, groups = random_gallery()
    with pytest.raises(ShapeError):
        label_scores(vectors, vectors, labels[:-1], labels, groups, groups)
    with pytest.raises(ShapeError):
        label_scores(vectors[:, :5], vectors, labels, labels, groups, groups)
    with pytest.raises(ShapeError):
        target_ranks(vectors, vectors, np.arange(3))


def test_memory_is_bounded_by_the_chunk_size(monkeypatch):
    monkeypatch.setattr("ml.evaluation.retrieval.CHUNK_SCORES", 1 << 16)
    vectors, labels, groups = random_gallery(n=3000, labels=3)
    tracemalloc.start()
    label_scores(vectors, vectors, labels, labels, groups, groups)
    target_ranks(vectors, vectors, np.arange(3000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 << 20  # all scores at once are 36 MB


# --- by garment


def rank_by_a_loop(vector, gallery, target):
    target_score = np.float32(vector @ gallery[target])
    return 1 + sum(np.float32(vector @ row) >= target_score for at, row in enumerate(gallery) if at != target)


def test_target_ranks_agree_with_a_naive_loop(monkeypatch):
    monkeypatch.setattr("ml.evaluation.retrieval.CHUNK_SCORES", 11 * 90)
    gallery, _, _ = random_gallery()
    targets = np.arange(0, 90, 3)
    queries = unit_rows(gallery[targets] + np.random.default_rng(1).normal(size=(30, 6)) * 0.5)
    ranks = target_ranks(queries, gallery, targets)
    expected = [rank_by_a_loop(vector, gallery, target) for vector, target in zip(queries, targets, strict=True)]
    assert ranks.tolist() == expected
    assert 1 in expected
    assert max(expected) > 5


def test_a_photo_finds_itself_first():
    gallery, _, _ = random_gallery()
    assert target_ranks(gallery, gallery, np.arange(90)).tolist() == [1] * 90


def test_a_photo_with_the_same_score_counts_as_nearer():
    gallery = np.array([[1, 0], [0, 1], [1, 0]], dtype=np.float32)
    assert target_ranks(gallery[:2], gallery, np.array([0, 1])).tolist() == [2, 1]


def test_collapsed_vectors_rank_last():
    same = unit_rows(np.ones((8, 3)))
    assert target_ranks(same, same, np.arange(8)).tolist() == [8] * 8


def test_no_queries_have_no_ranks():
    gallery, _, _ = random_gallery()
    assert target_ranks(gallery[:0], gallery, np.empty(0, dtype=np.int64)).tolist() == []
