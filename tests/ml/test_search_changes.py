"""An index that is added to and taken from in any order answers like a search of every row."""

import threading

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ml.search import DuplicatePhotoError, UnknownPhotoError, VectorIndex
from ml.search.segments import HalfScan
from ml.vectors import unit_rows

DIM = 5
ITEMS = 12


def best_by_scoring_all(photos: dict[int, tuple[int, np.ndarray]], query, k, allowed=None) -> list[tuple[int, int]]:
    """(item, photo) of the `k` best items, by score, item and photo."""
    rows = [
        (-np.float32((vector.astype(np.float64) * query).sum()), item, photo)
        for photo, (item, vector) in photos.items()
        if allowed is None or item in allowed
    ]
    seen: dict[int, int] = {}
    for _, item, photo in sorted(rows):
        seen.setdefault(item, photo)
    return list(seen.items())[:k]


class Index(RuleBasedStateMachine):
    """Vectors come from a coarse grid, so that ties are common; segments are sealed at six rows: there are many."""

    def __init__(self) -> None:
        super().__init__()
        self.index = VectorIndex("e", DIM, sealed_at=6)
        self.photos: dict[int, tuple[int, np.ndarray]] = {}
        self.next_photo = 100

    @rule(seed=st.integers(0, 10_000), count=st.integers(1, 9))
    def add(self, seed: int, count: int) -> None:
        rng = np.random.default_rng(seed)
        vectors = unit_rows(rng.integers(-1, 2, size=(count, DIM)) + np.array([0, 0, 0, 0, 3]))
        items = rng.integers(0, ITEMS, size=count)
        photos = self.next_photo + rng.permutation(count)
        self.next_photo += count
        self.index.add(photos, items, vectors)
        self.photos |= {
            int(photo): (int(item), vector) for photo, item, vector in zip(photos, items, vectors, strict=True)
        }

    @precondition(lambda self: self.photos)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        gone = data.draw(st.sets(st.sampled_from(sorted(self.photos)), max_size=8))
        assert self.index.remove([*gone, 1, 2]) == len(gone)
        for photo in gone:
            del self.photos[photo]

    @precondition(lambda self: self.photos)
    @rule(data=st.data())
    def put_back_what_was_removed(self, data: st.DataObject) -> None:
        photo = data.draw(st.sampled_from(sorted(self.photos)))
        item, vector = self.photos[photo]
        with pytest.raises(DuplicatePhotoError):
            self.index.add([photo], [item], vector[None])
        self.index.remove([photo])
        self.index.add([photo], [item + 1], vector[None])
        self.photos[photo] = (item + 1, vector)

    @rule(seed=st.integers(0, 10_000), k=st.integers(1, 15), allowed=st.none() | st.sets(st.integers(0, ITEMS)))
    def search(self, seed: int, k: int, allowed: set[int] | None) -> None:
        query = unit_rows(np.random.default_rng(seed).integers(-1, 2, size=(1, DIM)) + np.array([0, 0, 0, 0, 2]))[0]
        hits = self.index.search(query, k, encoder="e", allowed_items=None if allowed is None else [*allowed])
        assert [(hit.item_id, hit.photo_id) for hit in hits] == best_by_scoring_all(self.photos, query, k, allowed)

    @invariant()
    def it_knows_what_it_holds(self) -> None:
        assert len(self.index) == len(self.photos)
        known = sorted(self.photos)
        if known:
            assert np.array_equal(self.index.vectors_of(known), np.stack([self.photos[photo][1] for photo in known]))
            assert self.index.contains([*known, 3]).tolist() == [True] * len(known) + [False]


Index.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestIndex = Index.TestCase


# --- large segments


def drawn(rows: int, dim: int = 100, seed: int = 0):
    """Vectors in clusters, as those of garments are: there are many near neighbours."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(40, dim))
    return unit_rows(centres[rng.integers(0, 40, rows)] + 0.4 * rng.normal(size=(rows, dim)))


@pytest.fixture(scope="module")
def large() -> tuple[VectorIndex, dict[int, tuple[int, np.ndarray]]]:
    """Several sealed segments of a realistic size, a last one that is not sealed, and a tenth of it gone again."""
    vectors, items = drawn(9000), np.arange(9000) // 3
    index = VectorIndex("e", 100, sealed_at=1000)
    for start in range(0, 9000, 700):
        rows = np.arange(start, min(start + 700, 9000))
        index.add(rows, items[rows], vectors[rows])
    gone = np.random.default_rng(1).choice(9000, 900, replace=False)
    assert index.remove(gone) == 900
    left = np.setdiff1d(np.arange(9000), gone)
    return index, {int(row): (int(items[row]), vectors[row]) for row in left}


@pytest.mark.parametrize("k", [1, 20, 400])
@pytest.mark.parametrize("share", [None, 0.5, 0.02, 0.0])
def test_the_fast_scan_gives_what_scoring_all_rows_gives(large, k, share):
    index, photos = large
    rng = np.random.default_rng(2)
    for query in drawn(4, seed=3):
        allowed = None if share is None else set(np.flatnonzero(rng.random(3000) < share).tolist())
        hits = index.search(query, k, encoder="e", allowed_items=None if allowed is None else [*allowed])
        assert [(hit.item_id, hit.photo_id) for hit in hits] == best_by_scoring_all(photos, query, k, allowed)


def test_it_does_not_mind_what_others_put_into_faiss(large):
    import pytorch_metric_learning.utils.inference  # noqa: F401 - for what the import does

    index, photos = large
    query = drawn(1, seed=4)[0]
    hits = index.search(query, 3, encoder="e", allowed_items=list(range(0, 3000, 2)))
    assert [(hit.item_id, hit.photo_id) for hit in hits] == best_by_scoring_all(
        photos, query, 3, set(range(0, 3000, 2))
    )


def test_no_other_row_is_nearer_than_the_scan_says():
    vectors = drawn(3000)
    scan = HalfScan(vectors)
    for query in drawn(20, seed=5):
        near = scan.nearest(query, 10, None)
        scores = vectors.astype(np.float64) @ query
        assert np.delete(scores, near.rows).max() <= near.beyond < scores[near.rows].max()


@pytest.mark.parametrize("dim", [1, 8, 100, 129])
def test_any_length_of_vectors_can_be_scanned(dim):
    vectors = drawn(50, dim)
    assert HalfScan(vectors).nearest(vectors[7], 50, None).rows.shape == (50,)


def test_what_is_gone_is_gone_for_the_next_search_and_nobody_waits_for_it(large):
    index = VectorIndex("e", 100, sealed_at=50)
    vectors = drawn(200)
    index.add(np.arange(200), np.arange(200), vectors)
    done, wrong = threading.Event(), []

    def read() -> None:
        while not done.is_set():
            hits = index.search(vectors[0], 200, encoder="e")
            if len({hit.item_id for hit in hits}) != len(hits) or [hit.score for hit in hits] != sorted(
                (hit.score for hit in hits), reverse=True
            ):
                wrong.append(hits)

    reader = threading.Thread(target=read)
    reader.start()
    for photo in range(0, 200, 2):
        index.remove([photo])
        assert photo not in [hit.photo_id for hit in index.search(vectors[photo], 5, encoder="e")]
    done.set()
    reader.join()
    assert wrong == []
    with pytest.raises(UnknownPhotoError):
        index.vectors_of([0])
