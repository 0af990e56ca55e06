import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.search import DuplicatePhotoError, EncoderMismatch, Hit, SearchError, UnknownPhotoError, VectorIndex, diversify
from ml.vectors import NotFiniteError, NotUnitError, ShapeError, unit_rows

CORNERS = np.eye(4, dtype=np.float32)


def an_index(vectors, items, photos=None) -> VectorIndex:
    index = VectorIndex("lite0@abc", np.asarray(vectors).shape[1])
    index.add(np.arange(len(items)) if photos is None else photos, items, vectors)
    return index


def searched_by_a_loop(vectors, photos, items, query, k, allowed=None) -> list[tuple[int, int]]:
    """The dumbest search: score every row, keep each item's best, sort."""
    best: dict[int, tuple[float, int, int]] = {}
    for vector, photo, item in zip(vectors, photos, items, strict=True):
        if allowed is not None and item not in allowed:
            continue
        score = sum(float(a) * float(b) for a, b in zip(vector, query, strict=True))
        key = (-float(np.float32(score)), int(item), int(photo))
        best[item] = min(best.get(item, key), key)
    return [(item, photo) for _, item, photo in sorted(best.values())[:k]]


# --- what a search answers


def test_the_nearest_item_comes_first_with_its_cosine():
    index = an_index(unit_rows([[1, 0], [1, 1], [0, 1]]), items=[7, 8, 9])
    hits = index.search(np.array([1.0, 0.0]), 2, encoder="lite0@abc")
    assert hits == [Hit(7, 0, 1.0), Hit(8, 1, pytest.approx(0.5**0.5))]


def test_an_item_takes_one_place_with_its_best_photo():
    index = an_index(unit_rows([[1, 1], [2, 1], [0, 1]]), items=[5, 5, 6], photos=[50, 51, 60])
    hits = index.search(unit_rows([[1, 0]])[0], 10, encoder="lite0@abc")
    assert [(hit.item_id, hit.photo_id) for hit in hits] == [(5, 51), (6, 60)]


def test_equal_scores_go_by_item_and_then_by_photo():
    index = an_index(np.repeat(CORNERS[:1], 4, axis=0), items=[9, 3, 3, 4], photos=[1, 8, 2, 3])
    hits = index.search(CORNERS[0], 3, encoder="lite0@abc")
    assert [(hit.item_id, hit.photo_id) for hit in hits] == [(3, 2), (4, 3), (9, 1)]


def test_equal_vectors_score_equally_wherever_they_stand():
    one = unit_rows(np.random.default_rng(3).normal(size=(1, 100)))
    index = an_index(np.repeat(one, 37, axis=0), items=np.arange(37)[::-1])
    query = unit_rows(np.random.default_rng(4).normal(size=(1, 100)))[0]
    hits = index.search(query, 37, encoder="lite0@abc")
    assert len({hit.score for hit in hits}) == 1
    assert [hit.item_id for hit in hits] == list(range(37))


def test_one_item_with_all_the_nearest_photos_does_not_crowd_out_the_others():
    close = unit_rows(np.column_stack([np.ones(500), np.linspace(0, 0.01, 500)]))
    index = an_index(np.vstack([close, unit_rows([[0, 1], [1, 1]])]), items=[1] * 500 + [2, 3])
    assert [hit.item_id for hit in index.search(np.array([1.0, 0.0]), 3, encoder="lite0@abc")] == [1, 3, 2]


def test_more_than_there_is_gives_all():
    assert len(an_index(CORNERS, items=[1, 1, 2, 3]).search(CORNERS[0], 10**9, encoder="lite0@abc")) == 3


def test_an_empty_index_answers_with_nothing():
    assert VectorIndex("lite0@abc", 4).search(CORNERS[0], 5, encoder="lite0@abc") == []


@pytest.mark.parametrize(("allowed", "found"), [(None, [1, 2, 3]), ([2, 3], [2, 3]), ([], []), ([99], [])])
def test_only_allowed_items_answer(allowed, found):
    index = an_index(CORNERS[:3], items=[1, 2, 3])
    allowed = allowed if allowed is None else np.array(allowed, dtype=np.int64)
    hits = index.search(CORNERS[0], 5, encoder="lite0@abc", allowed_items=allowed)
    assert sorted(hit.item_id for hit in hits) == found


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_it_agrees_with_the_dumbest_loop(data):
    """Coordinates come from a coarse grid, so that ties are common."""
    n, dim = data.draw(st.integers(0, 40)), data.draw(st.integers(2, 4))
    cells = st.lists(st.sampled_from([-1.0, 0.0, 1.0, 2.0]), min_size=dim, max_size=dim).filter(any)
    vectors = unit_rows(np.array(data.draw(st.lists(cells, min_size=n, max_size=n))).reshape(n, dim))
    query = unit_rows([data.draw(cells)])[0]
    items = data.draw(st.lists(st.integers(0, 9), min_size=n, max_size=n))
    photos = data.draw(st.permutations(range(100, 100 + n)))
    allowed = data.draw(st.none() | st.sets(st.integers(0, 9)))
    k = data.draw(st.integers(1, 12))
    index = an_index(vectors, items, photos)
    answer = index.search(query, k, encoder="lite0@abc", allowed_items=None if allowed is None else [*allowed])
    scores = [hit.score for hit in answer]
    assert scores == sorted(scores, reverse=True)
    expected = searched_by_a_loop(vectors, photos, items, query, k, allowed)
    assert [(hit.item_id, hit.photo_id) for hit in answer] == expected


# --- what it refuses


def test_a_vector_of_another_encoder_is_refused():
    with pytest.raises(EncoderMismatch, match=r"'other@1'.*'lite0@abc'"):
        an_index(CORNERS, items=[1, 2, 3, 4]).search(CORNERS[0], 1, encoder="other@1")


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ([1.0, 0.0], ShapeError),
        ([np.nan, 0, 0, 0], NotFiniteError),
        ([2.0, 0, 0, 0], NotUnitError),
        ([0.0, 0, 0, 0], NotUnitError),
        (np.eye(4), ShapeError),
    ],
)
def test_a_query_that_is_no_unit_vector_is_refused(query, error):
    with pytest.raises(error):
        an_index(CORNERS, items=[1, 2, 3, 4]).search(query, 1, encoder="lite0@abc")


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_refused(k):
    with pytest.raises(SearchError):
        an_index(CORNERS, items=[1, 2, 3, 4]).search(CORNERS[0], k, encoder="lite0@abc")


@pytest.mark.parametrize(
    ("photos", "items", "vectors", "error"),
    [
        ([10, 11], [1], CORNERS[:1], ShapeError),
        ([10], [1], CORNERS[:1, :3], ShapeError),
        ([10], [1], 2 * CORNERS[:1], NotUnitError),
        ([10], [1], CORNERS[:1] * np.nan, NotFiniteError),
        ([10.5], [1], CORNERS[:1], ShapeError),
        ([0], [1], CORNERS[:1], DuplicatePhotoError),
        ([10, 10], [1, 1], CORNERS[:2], DuplicatePhotoError),
    ],
)
def test_a_refused_addition_changes_nothing(photos, items, vectors, error):
    index = an_index(CORNERS, items=[1, 2, 3, 4])
    with pytest.raises(error):
        index.add(photos, items, vectors)
    assert len(index) == 4
    assert index.search(CORNERS[0], 1, encoder="lite0@abc") == [Hit(1, 0, 1.0)]


# --- growing


def test_what_was_added_is_found_from_the_next_search_on():
    index = VectorIndex("lite0@abc", 4)
    for photo in range(4):
        index.add([photo], [photo], CORNERS[photo : photo + 1])
        assert index.search(CORNERS[photo], 1, encoder="lite0@abc") == [Hit(photo, photo, 1.0)]


def test_adding_nothing_is_allowed():
    index = VectorIndex("lite0@abc", 4)
    index.add([], [], np.empty((0, 4)))
    assert len(index) == 0


def test_it_grows_through_many_capacities_and_keeps_every_row():
    vectors = unit_rows(np.random.default_rng(0).normal(size=(5000, 8)))
    index = VectorIndex("lite0@abc", 8)
    for start in range(0, 5000, 700):
        rows = np.arange(start, min(start + 700, 5000))
        index.add(rows, rows + 10_000, vectors[rows])
    assert np.array_equal(index.vectors_of(range(5000)), vectors)
    assert index.search(vectors[4321], 1, encoder="lite0@abc") == [Hit(14321, 4321, pytest.approx(1.0))]


def test_readers_never_see_a_half_full_index():
    """Every batch holds the same vector for its items, so each answer must contain whole batches only."""
    index, batch, problems = VectorIndex("lite0@abc", 4), 50, []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            hits = index.search(CORNERS[0], 10**6, encoder="lite0@abc")
            if len(hits) % batch or any(hit.item_id != hit.photo_id or hit.score != 1.0 for hit in hits):
                problems.append(hits)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for start in range(0, 60 * batch, batch):
        ids = np.arange(start, start + batch)
        index.add(ids, ids, np.repeat(CORNERS[:1], batch, axis=0))
    done.set()
    for reader in readers:
        reader.join()
    assert problems == []


def test_vectors_of_photos_come_in_the_order_asked_for():
    index = an_index(CORNERS, items=[1, 2, 3, 4], photos=[40, 30, 20, 10])
    assert np.array_equal(index.vectors_of([10, 40, 10]), CORNERS[[3, 0, 3]])
    assert index.vectors_of([]).shape == (0, 4)
    assert index.contains([10, 11]).tolist() == [True, False]
    with pytest.raises(UnknownPhotoError, match="11"):
        index.vectors_of([10, 11])


# --- diversity


def mmr_by_a_loop(hits, vectors, k, diversity):
    chosen, left = [], list(range(len(hits)))
    while left and len(chosen) < k:
        values = []
        for place in left:
            closest = max((float(vectors[place] @ vectors[other]) for other in chosen), default=0.0)
            values.append((1 - diversity) * hits[place].score - diversity * closest)
        pick = left[0] if not chosen else left[int(np.argmax(values))]
        chosen.append(pick)
        left.remove(pick)
    return [hits[place] for place in chosen]


def a_pool(n: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    vectors = unit_rows(rng.normal(size=(n, 5)))
    scores = vectors @ unit_rows(rng.normal(size=(1, 5)))[0]
    order = np.argsort(-scores)
    return [Hit(int(row), int(row) + 100, float(scores[row])) for row in order], vectors[order]


@pytest.mark.parametrize("diversity", [0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_diversity_agrees_with_the_formula_worked_in_a_loop(diversity, seed):
    hits, vectors = a_pool(20, seed)
    assert diversify(hits, vectors, 8, diversity) == mmr_by_a_loop(hits, vectors, 8, diversity)


def test_no_diversity_keeps_the_order():
    hits, vectors = a_pool(10)
    assert diversify(hits, vectors, 4, 0.0) == hits[:4]


def test_a_twin_gives_way_to_something_else():
    hits = [Hit(1, 1, 1.0), Hit(2, 2, 1.0), Hit(3, 3, 0.8)]
    vectors = unit_rows([[1, 0], [1, 0], [0.8, 0.6]])
    assert [hit.item_id for hit in diversify(hits, vectors, 2, 0.6)] == [1, 3]
    assert [hit.item_id for hit in diversify(hits, vectors, 2, 0.1)] == [1, 2]


@pytest.mark.parametrize("k", [0, 3, 99])
def test_it_gives_as_many_as_asked_for_and_there_are(k):
    hits, vectors = a_pool(10)
    assert len(diversify(hits, vectors, k, 0.5)) == min(k, 10)
    assert diversify([], np.empty((0, 5)), k, 0.5) == []


def test_a_diversity_outside_its_range_or_vectors_that_do_not_fit_are_refused():
    hits, vectors = a_pool(4)
    for diversity in (-0.1, 1.1, float("nan")):
        with pytest.raises(SearchError):
            diversify(hits, vectors, 2, diversity)
    with pytest.raises(ShapeError):
        diversify(hits, vectors[:3], 2, 0.5)
