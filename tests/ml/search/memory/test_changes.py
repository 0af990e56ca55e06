"""An index in memory that is changed, compacted, saved and loaded in any order answers like a search of every row."""

import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ml.search import ANY, ExactIndex, Where, rows_of
from ml.search.memory import snapshot
from ml.vectors import unit_rows
from tests.helpers.search_rows import NO_FACTS, Photo, Photos, best_of, clustered, rows_from, told

DIM = 5
ITEMS = 12

WHERES = st.sampled_from(
    [
        *(ANY, ANY, Where(category="a"), Where(category="b"), Where(brand="x"), Where(category="a", brand="x")),
        *(Where(min_price=3), Where(max_price=3, category="b"), Where(in_stock=False), Where(category="nothing")),
    ]
)


def drawn_facts(rng: np.random.Generator) -> dict[str, Any]:
    return NO_FACTS | {
        "category": str(rng.choice(["a", "A", "b", ""])),
        "brand": str(rng.choice(["x", "y"])),
        "price": [None, 1.0, 3.0, 5.0][rng.integers(4)],
        "in_stock": bool(rng.integers(2)),
    }


class Index(RuleBasedStateMachine):
    """Vectors come from a coarse grid, so that ties are common; segments are sealed at six rows: there are many."""

    def __init__(self) -> None:
        super().__init__()
        self.index = ExactIndex("e", DIM, sealed_at=6)
        self.photos: Photos = {}
        self.next_photo = 100
        self.folder = tempfile.TemporaryDirectory()

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule(seed=st.integers(0, 10_000), count=st.integers(1, 9))
    def add(self, seed: int, count: int) -> None:
        rng = np.random.default_rng(seed)
        vectors = unit_rows(rng.integers(-1, 2, size=(count, DIM)) + np.array([0, 0, 0, 0, 3]))
        new = {
            int(photo): Photo(int(rng.integers(ITEMS)), vector, drawn_facts(rng))
            for photo, vector in zip(self.next_photo + rng.permutation(count), vectors, strict=True)
        }
        self.next_photo += count
        self.index.update(rows_from(new), position={"at": self.next_photo})
        self.photos |= new

    @rule(item=st.integers(0, ITEMS), seed=st.integers(0, 10_000))
    def change_an_item(self, item: int, seed: int) -> None:
        facts = drawn_facts(np.random.default_rng(seed))
        ours = [photo for photo, row in self.photos.items() if row.item == item]
        for photo in ours:
            self.photos[photo].facts = facts
        self.index.update(rows_from(self.photos, ours), items=[item])

    @rule(item=st.integers(0, ITEMS))
    def remove_an_item(self, item: int) -> None:
        self.index.update(rows_of([], [], []), items=[item])
        self.photos = {photo: row for photo, row in self.photos.items() if row.item != item}

    @precondition(lambda self: self.photos)
    @rule(data=st.data())
    def remove_photos(self, data: st.DataObject) -> None:
        gone = data.draw(st.sets(st.sampled_from(sorted(self.photos)), max_size=8))
        self.index.update(rows_of([], [], []), photos=[*gone, 1, 2])
        for photo in gone:
            del self.photos[photo]

    @precondition(lambda self: self.photos)
    @rule(data=st.data(), seed=st.integers(0, 10_000))
    def put_a_photo_in_again(self, data: st.DataObject, seed: int) -> None:
        photo = data.draw(st.sampled_from(sorted(self.photos)))
        vector = unit_rows(np.random.default_rng(seed).integers(-1, 2, size=(1, DIM)) + np.array([0, 0, 0, 0, 3]))[0]
        self.photos[photo] = Photo((self.photos[photo].item + 1) % ITEMS, vector, self.photos[photo].facts)
        self.index.update(rows_from(self.photos, [photo]))

    @rule()
    def compact(self) -> None:
        self.index.compact()

    @rule()
    def save_and_load(self) -> None:
        position = self.index.position
        snapshot.save(self.index, Path(self.folder.name))
        self.index = snapshot.load(Path(self.folder.name), "e", DIM)
        assert self.index.position == position

    @rule(seed=st.integers(0, 10_000), k=st.integers(1, 15), where=WHERES)
    def search(self, seed: int, k: int, where: Where) -> None:
        query = unit_rows(np.random.default_rng(seed).integers(-1, 2, size=(1, DIM)) + np.array([0, 0, 0, 0, 2]))[0]
        assert told(self.index.search(query, k, encoder="e", where=where)) == best_of(self.photos, query, k, where)

    @invariant()
    def it_knows_what_it_holds(self) -> None:
        assert len(self.index) == len(self.photos)
        known = sorted(self.photos)
        if known:
            assert np.array_equal(
                self.index.vectors_of(known), np.stack([self.photos[photo].vector for photo in known])
            )
            assert self.index.contains([*known, 3]).tolist() == [True] * len(known) + [False]


Index.TestCase.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
TestIndex = Index.TestCase


# --- large segments


def large(rows: int = 12_000) -> tuple[ExactIndex, Photos]:
    """A compacted index of items with two photos each, in ten categories of different sizes."""
    vectors = clustered(rows, dim=64, seed=1)
    rng = np.random.default_rng(2)
    categories = rng.integers(0, 10, rows) * rng.integers(0, 2, rows)  # half of all are in the first
    facts = [NO_FACTS | {"category": f"c{number}", "price": float(number)} for number in categories]
    photos = {row: Photo(row // 2, vectors[row], facts[row]) for row in range(rows)}
    index = ExactIndex("e", 64, sealed_at=1000)
    index.update(rows_from(photos))
    assert index.compact()
    return index, photos


def require_right(index: ExactIndex, photos: Photos, seed: int, wheres: list[Where]) -> None:
    rng = np.random.default_rng(seed)
    seen = np.stack([photos[photo].vector for photo in rng.choice(list(photos), 3)])
    queries = unit_rows(seen + 0.05 * rng.normal(size=seen.shape))
    for where in wheres:
        fitting = {photo: row for photo, row in photos.items() if where.fits(row.facts)}
        for query, hits in zip(queries, index.search_many(queries, 20, encoder="e", where=where), strict=True):
            assert told(hits) == best_of(fitting, query, 20)
            assert index.search(query, 20, encoder="e", where=where) == hits


def test_large_segments_stay_right_while_much_of_them_goes_and_comes() -> None:
    index, photos = large()
    wheres = [ANY, Where(category="c0"), Where(category="c7"), Where(category="c0", min_price=1), Where(max_price=4)]
    require_right(index, photos, 0, wheres)
    near = [hit.item_id for hit in index.search(photos[77].vector, 300, encoder="e")]
    index.update(rows_of([], [], []), items=near)
    photos = {photo: row for photo, row in photos.items() if row.item not in set(near)}
    require_right(index, photos, 0, wheres)
    new = clustered(3000, dim=64, seed=3)
    more = {100_000 + row: Photo(50_000 + row, new[row], NO_FACTS | {"category": "c7"}) for row in range(3000)}
    index.update(rows_from(more))
    photos |= more
    require_right(index, photos, 1, wheres)
    index.update(rows_of([], [], []), photos=list(range(0, 12_000, 3)))
    photos = {photo: row for photo, row in photos.items() if photo >= 12_000 or photo % 3}
    assert index.compact()
    assert not index.compact()
    assert len(index) == len(photos)
    require_right(index, photos, 2, wheres)


def test_equal_vectors_in_a_large_segment_score_equally_and_in_order() -> None:
    one = clustered(1, dim=64, seed=9)
    index = ExactIndex("e", 64)
    index.update(rows_of(np.arange(9000), np.arange(9000)[::-1], np.repeat(one, 9000, axis=0)))
    index.compact()
    hits = index.search(clustered(1, dim=64, seed=10)[0], 50, encoder="e")
    assert [hit.item_id for hit in hits] == list(range(50))
    assert len({hit.score for hit in hits}) == 1


def test_changes_that_come_while_it_is_compacted_are_kept() -> None:
    """All of them while the new segment is made, which is the moment at which they could be lost."""
    index, photos = ExactIndex("e", 64, sealed_at=500), {}
    vectors = clustered(6000, dim=64, seed=4)
    for start in range(0, 6000, 500):
        new = {row: Photo(row, vectors[row]) for row in range(start, start + 500)}
        index.update(rows_from(new))
        photos |= new
    joined = index._joined

    def slowly(parts: Any) -> Any:
        made = joined(parts)
        index.update(rows_of([], [], []), items=list(range(0, 6000, 7)))
        index.update(rows_of([1, 9000], [1, 9000], vectors[[5, 6]]), position={"at": 9})
        return made

    index._joined = slowly  # type: ignore[method-assign]
    assert index.compact()
    photos = {photo: row for photo, row in photos.items() if photo % 7}
    photos |= {1: Photo(1, vectors[5]), 9000: Photo(9000, vectors[6])}
    assert len(index) == len(photos)
    assert index.position == {"at": 9}
    require_right(index, photos, 5, [ANY])


def test_many_threads_search_while_one_writes_and_one_compacts() -> None:
    """Every change puts in ten photos of one vector and takes ten out, so each answer must hold whole changes only."""
    index, problems, done = ExactIndex("e", 4, sealed_at=50), [], threading.Event()
    corner = np.repeat(np.eye(4, dtype=np.float32)[:1], 10, axis=0)

    def read() -> None:
        while not done.is_set():
            hits = index.search(corner[0], 10**6, encoder="e")
            if len(hits) not in (0, 100) or any(hit.item_id != hit.photo_id or hit.score != 1.0 for hit in hits):
                problems.append(len(hits))

    def compact() -> None:
        while not done.is_set():
            index.compact()

    index.update(rows_of(np.arange(100), np.arange(100), np.repeat(corner, 10, axis=0)))
    threads = [threading.Thread(target=work) for work in (read, read, compact)]
    for thread in threads:
        thread.start()
    for start in range(100, 3000, 10):
        ids = np.arange(start, start + 10)
        index.update(rows_of(ids, ids, corner), items=ids - 100)
    done.set()
    for thread in threads:
        thread.join()
    assert problems == []
