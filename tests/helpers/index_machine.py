"""A Hypothesis state machine: any sequence of changes, compactions, saves and loads of an index against brute force."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ml.search import ANY, ExactIndex, Where, build_rows
from ml.search.memory import snapshot
from ml.vectors import unit_rows
from tests.helpers.search_rows import DEFAULT_COLUMNS, Photo, Photos, as_tuples, best_of, rows_from

DIM = 5
ITEMS = 12

WHERES = st.sampled_from(
    [
        *(ANY, ANY, Where(category="a"), Where(category="b"), Where(brand="x"), Where(category="a", brand="x")),
        *(Where(min_price=3), Where(max_price=3, category="b"), Where(in_stock=False), Where(category="nothing")),
    ]
)


def random_columns(rng: np.random.Generator) -> dict[str, Any]:
    return DEFAULT_COLUMNS | {
        "category": str(rng.choice(["a", "A", "b", ""])),
        "brand": str(rng.choice(["x", "y"])),
        "price": [None, 1.0, 3.0, 5.0][rng.integers(4)],
        "in_stock": bool(rng.integers(2)),
    }


class IndexMachine(RuleBasedStateMachine):
    """Vectors come from a coarse grid, so that ties are common; segments are sealed at six rows, so that there are
    many.
    """

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
            int(photo): Photo(int(rng.integers(ITEMS)), vector, random_columns(rng))
            for photo, vector in zip(self.next_photo + rng.permutation(count), vectors, strict=True)
        }
        self.next_photo += count
        self.index.update(rows_from(new), position={"at": self.next_photo})
        self.photos |= new

    @rule(item=st.integers(0, ITEMS), seed=st.integers(0, 10_000))
    def change_an_item(self, item: int, seed: int) -> None:
        columns = random_columns(np.random.default_rng(seed))
        ours = [photo for photo, row in self.photos.items() if row.item == item]
        for photo in ours:
            self.photos[photo].columns = columns
        self.index.update(rows_from(self.photos, ours), items=[item])

    @rule(item=st.integers(0, ITEMS))
    def remove_an_item(self, item: int) -> None:
        self.index.update(build_rows([], [], []), items=[item])
        self.photos = {photo: row for photo, row in self.photos.items() if row.item != item}

    @precondition(lambda self: self.photos)
    @rule(data=st.data())
    def remove_photos(self, data: st.DataObject) -> None:
        deleted = data.draw(st.sets(st.sampled_from(sorted(self.photos)), max_size=8))
        self.index.update(build_rows([], [], []), photos=[*deleted, 1, 2])
        for photo in deleted:
            del self.photos[photo]

    @precondition(lambda self: self.photos)
    @rule(data=st.data(), seed=st.integers(0, 10_000))
    def add_a_photo_again(self, data: st.DataObject, seed: int) -> None:
        photo = data.draw(st.sampled_from(sorted(self.photos)))
        vector = unit_rows(np.random.default_rng(seed).integers(-1, 2, size=(1, DIM)) + np.array([0, 0, 0, 0, 3]))[0]
        self.photos[photo] = Photo((self.photos[photo].item + 1) % ITEMS, vector, self.photos[photo].columns)
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
        assert as_tuples(self.index.search(query, k, encoder="e", where=where)) == best_of(self.photos, query, k, where)

    @invariant()
    def content_equals_the_model(self) -> None:
        assert len(self.index) == len(self.photos)
        ids = sorted(self.photos)
        if ids:
            assert np.array_equal(self.index.vectors_of(ids), np.stack([self.photos[photo].vector for photo in ids]))
            assert self.index.contains([*ids, 3]).tolist() == [True] * len(ids) + [False]
