"""The contract of `SearchIndex`: one test suite, which the tests of each index inherit."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ml.search import (
    ANY,
    DuplicatePhotoError,
    EncoderMismatch,
    Hit,
    SearchError,
    SearchIndex,
    UnknownPhotoError,
    Where,
    build_rows,
)
from ml.vectors import NotFiniteError, NotUnitError, ShapeError, unit_rows
from tests.helpers.errors import raises_code
from tests.helpers.search_rows import (
    CORNERS,
    DEFAULT_COLUMNS,
    ENCODER,
    Photo,
    Photos,
    as_tuples,
    best_of,
    clustered,
    recall,
    rows_from,
)

Make = Callable[..., SearchIndex]


def seven_garments() -> Photos:
    """Return two photos of item 1 and one each of five items, with varied columns, by distance from CORNERS[0]."""
    angles = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    columns: list[dict[str, Any]] = [
        {"category": "Hat", "brand": "Acme", "price": 10.0},
        {"category": "Hat", "brand": "Acme", "price": 10.0},
        {"category": "hat", "brand": "Bäcker", "price": 25.5, "in_stock": False},
        {"category": "Shirt", "brand": "ACME", "gender": "Women", "colour": "Red", "price": 25.5},
        {"category": "Shirt", "gender": "Men", "colour": "red", "collection": "Summer 2026"},
        {"category": "", "price": 99.99, "collection": "summer 2026"},
        {"category": "Shirt'; --", "brand": "BÄCKER", "gender": "women", "colour": "blue", "price": 5.0},
    ]
    return {
        100 + number: Photo(
            max(1, number), unit_rows([[np.cos(angle), np.sin(angle), 0, 0]])[0], DEFAULT_COLUMNS | columns[number]
        )
        for number, angle in enumerate(angles)
    }


class Contract:
    """Inherit and override the fixture `make`: a function (encoder, dim) that returns a new, empty index."""

    many = 3000
    """Rows of the largest test; fewer for a slow test server."""

    @pytest.fixture
    def make(self) -> Make:
        raise NotImplementedError

    @pytest.fixture
    def index(self, make: Make) -> SearchIndex:
        return make(ENCODER, 4)

    @pytest.fixture
    def garments(self, index: SearchIndex) -> SearchIndex:
        index.update(rows_from(seven_garments()))
        return index

    # --- results

    def test_a_new_index_is_empty(self, index: SearchIndex) -> None:
        assert len(index) == 0
        assert index.position == {}
        assert index.search(CORNERS[0], 5, encoder=ENCODER) == []
        assert index.search(CORNERS[0], 5, encoder=ENCODER, where=Where(category="Hat")) == []

    def test_results_hold_each_item_once_with_its_best_photo_nearest_first(self, garments: SearchIndex) -> None:
        hits = garments.search(CORNERS[0], 3, encoder=ENCODER)
        assert [(hit.item_id, hit.photo_id) for hit in hits] == [(1, 100), (2, 102), (3, 103)]
        assert [hit.score for hit in hits] == pytest.approx([1.0, np.cos(0.2), np.cos(0.3)], abs=1e-6)

    def test_k_above_the_number_of_items_returns_all(self, garments: SearchIndex) -> None:
        assert len(garments.search(CORNERS[0], 1000, encoder=ENCODER)) == 6

    def test_ties_are_ordered_by_item_and_then_by_photo(self, index: SearchIndex) -> None:
        index.update(build_rows([1, 8, 2, 3], [9, 3, 3, 4], np.repeat(CORNERS[:1], 4, axis=0)))
        assert as_tuples(index.search(CORNERS[0], 3, encoder=ENCODER)) == [(3, 2, 1.0), (4, 3, 1.0), (9, 1, 1.0)]

    def test_an_item_with_all_the_nearest_photos_takes_one_slot(self, index: SearchIndex) -> None:
        close = np.column_stack([np.ones(300), np.linspace(0, 0.01, 300), np.zeros(300), np.zeros(300)])
        vectors = np.vstack([unit_rows(close), CORNERS[1:2], unit_rows([[1, 1, 0, 0]])])
        index.update(build_rows(range(302), [1] * 300 + [2, 3], vectors))
        assert [hit.item_id for hit in index.search(CORNERS[0], 3, encoder=ENCODER)] == [1, 3, 2]

    def test_a_batch_of_queries_returns_the_results_of_single_queries(self, garments: SearchIndex) -> None:
        queries = unit_rows(np.random.default_rng(1).normal(size=(9, 4)))
        together = garments.search_many(queries, 4, encoder=ENCODER)
        assert together == [garments.search(query, 4, encoder=ENCODER) for query in queries]
        assert garments.search_many(np.empty((0, 4)), 4, encoder=ENCODER) == []

    @pytest.mark.parametrize(
        ("where", "items"),
        [
            (ANY, [1, 2, 3, 4, 5, 6]),
            (Where(category="HAT"), [1, 2]),
            (Where(category=""), [5]),
            (Where(category="Shirt'; --"), [6]),
            (Where(category="Shoe"), []),
            (Where(brand="acme"), [1, 3]),
            (Where(brand="bäcker"), [2, 6]),
            (Where(gender="women"), [3, 6]),
            (Where(colour="RED"), [3, 4]),
            (Where(collection="Summer 2026"), [4, 5]),
            (Where(min_price=25.5), [2, 3, 5]),
            (Where(max_price=10), [1, 6]),
            (Where(min_price=10, max_price=25.5), [1, 2, 3]),
            (Where(min_price=30, max_price=20), []),
            (Where(in_stock=False), [2]),
            (Where(in_stock=True), [1, 3, 4, 5, 6]),
            (Where(category="shirt", colour="red", gender="men"), [4]),
            (Where(category="hat", brand="acme", min_price=9, in_stock=True), [1]),
            (Where(category="hat", colour="red"), []),
        ],
        ids=str,
    )
    def test_only_matching_items_are_returned(self, garments: SearchIndex, where: Where, items: list[int]) -> None:
        garments.compact()
        expected = best_of(seven_garments(), CORNERS[0], 10, where)
        assert [item for item, _, _ in expected] == items
        hits = as_tuples(garments.search(CORNERS[0], 10, encoder=ENCODER, where=where))
        assert [hit[:2] for hit in hits] == [best[:2] for best in expected]
        assert [hit[2] for hit in hits] == pytest.approx([best[2] for best in expected], abs=1e-6)

    def test_k_counts_matching_items_only(self, garments: SearchIndex) -> None:
        hits = garments.search(CORNERS[0], 2, encoder=ENCODER, where=Where(min_price=20))
        assert [hit.item_id for hit in hits] == [2, 3]

    def test_many_rows_are_searched_right_under_any_filter(self, make: Make) -> None:
        """Including filters that match 0, 3 or 50 rows, and a category other than that of the near rows."""
        vectors = clustered(self.many, dim=32, seed=5)
        rng = np.random.default_rng(6)
        leaning = np.argsort(vectors[:, 0], kind="stable").argsort() * 20 // self.many  # by direction
        columns = [
            DEFAULT_COLUMNS
            | {"category": f"c{leaning[row]}", "brand": f"b{rng.integers(0, 200)}", "price": float(row % 100)}
            for row in range(self.many)
        ]
        for row in (3, 1000, 2000):
            columns[row % self.many]["colour"] = "three"
        for row in range(0, self.many, self.many // 50):
            columns[row]["gender"] = "fifty"
        photos = {row: Photo(row // 2, vectors[row], columns[row]) for row in range(self.many)}
        index = make(ENCODER, 32)
        index.update(rows_from(photos))
        index.compact()
        for where in (
            ANY,
            *(Where(category=f"c{number}") for number in (0, 7, 19)),
            *(Where(brand="b7"), Where(colour="three"), Where(gender="fifty"), Where(gender="nobody")),
            *(Where(min_price=90), Where(category="c0", max_price=30), Where(max_price=70, in_stock=True)),
        ):
            sample = vectors[:: self.many // 8]
            queries = unit_rows(sample + 0.05 * rng.normal(size=sample.shape))
            matching = {photo: row for photo, row in photos.items() if where.matches(row.columns)}
            if index.exact:
                for query, hits in zip(
                    queries, index.search_many(queries, 20, encoder=ENCODER, where=where), strict=True
                ):
                    assert as_tuples(hits) == best_of(matching, query, 20), where
            assert recall(index, photos, queries, 20, where) >= 0.98, where

    # --- refused arguments

    def test_a_vector_of_another_encoder_is_refused(self, garments: SearchIndex) -> None:
        with raises_code(EncoderMismatch, "encoder_mismatch", "'other@1'", "'lite0@abc'"):
            garments.search(CORNERS[0], 1, encoder="other@1")

    @pytest.mark.parametrize(
        ("query", "error"),
        [
            ([1.0, 0.0], ShapeError),
            ([np.nan, 0, 0, 0], NotFiniteError),
            ([2.0, 0, 0, 0], NotUnitError),
            ([0.0, 0, 0, 0], NotUnitError),
            (np.eye(4), ShapeError),
        ],
        ids=["too short", "not a number", "too long", "zero", "several"],
    )
    def test_a_query_that_is_not_a_unit_vector_is_refused(
        self, garments: SearchIndex, query: Any, error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            garments.search(query, 1, encoder=ENCODER)

    @pytest.mark.parametrize("k", [0, -1])
    def test_k_below_one_is_refused(self, garments: SearchIndex, k: int) -> None:
        with raises_code(SearchError, "invalid_k", k):
            garments.search(CORNERS[0], k, encoder=ENCODER)

    @pytest.mark.parametrize(
        ("photos", "vectors", "error"),
        [
            ([10], CORNERS[:1, :3], ShapeError),
            ([10], 2 * CORNERS[:1], NotUnitError),
            ([10], 0 * CORNERS[:1], NotUnitError),
            ([10], CORNERS[:1] * np.nan, NotFiniteError),
            ([10, 10], CORNERS[:2], DuplicatePhotoError),
        ],
        ids=["too short", "too long", "zero", "not a number", "twice"],
    )
    def test_a_refused_change_changes_nothing(
        self, garments: SearchIndex, photos: list[int], vectors: np.ndarray, error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            garments.update(build_rows(photos, photos, vectors), items=[1, 2], photos=[103], position={"at": 5})
        assert len(garments) == 7
        assert garments.position == {}
        assert as_tuples(garments.search(CORNERS[0], 1, encoder=ENCODER)) == [(1, 100, pytest.approx(1.0))]

    # --- changes

    def test_added_rows_are_found_by_the_next_search(self, index: SearchIndex) -> None:
        for photo in range(4):
            index.update(build_rows([photo], [photo], CORNERS[photo : photo + 1]), position={"at": photo})
            assert as_tuples(index.search(CORNERS[photo], 1, encoder=ENCODER)) == [(photo, photo, 1.0)]
            assert index.position == {"at": photo}

    def test_a_change_without_a_position_keeps_it(self, index: SearchIndex) -> None:
        index.update(build_rows([1], [1], CORNERS[:1]), position={"vector": 7, "change": 2**40})
        index.update(build_rows([2], [2], CORNERS[:1]))
        assert index.position == {"vector": 7, "change": 2**40}
        index.update(build_rows([], [], []), position={"vector": 8})
        assert index.position == {"vector": 8}

    def test_an_item_is_changed_by_adding_it_again(self, garments: SearchIndex) -> None:
        photos = seven_garments()
        for photo in (100, 101):
            photos[photo].columns = DEFAULT_COLUMNS | {"category": "Shoe", "price": 500.0}
        garments.update(rows_from(photos, [100, 101]), items=[1])
        assert len(garments) == 7
        for where in (Where(category="shoe"), Where(category="hat"), Where(min_price=400), ANY):
            hits = garments.search(CORNERS[0], 9, encoder=ENCODER, where=where)
            assert [hit.item_id for hit in hits] == [item for item, _, _ in best_of(photos, CORNERS[0], 9, where)]

    def test_deleting_an_item_deletes_all_its_photos(self, garments: SearchIndex) -> None:
        garments.update(build_rows([], [], []), items=[1, 5, 777])
        assert len(garments) == 4
        assert [hit.item_id for hit in garments.search(CORNERS[0], 9, encoder=ENCODER)] == [2, 3, 4, 6]
        assert garments.contains([100, 101, 102]).tolist() == [False, False, True]

    def test_deleting_a_photo_keeps_the_others_of_its_item(self, garments: SearchIndex) -> None:
        garments.update(build_rows([], [], []), photos=[100, 999])
        assert as_tuples(garments.search(CORNERS[0], 1, encoder=ENCODER)) == [(1, 101, pytest.approx(np.cos(0.1)))]

    def test_a_photo_added_again_replaces_the_old_one(self, garments: SearchIndex) -> None:
        garments.update(build_rows([102], [50], CORNERS[3:]))
        assert len(garments) == 7
        assert as_tuples(garments.search(CORNERS[3], 1, encoder=ENCODER)) == [(50, 102, 1.0)]
        assert 2 not in [hit.item_id for hit in garments.search(CORNERS[0], 9, encoder=ENCODER)]

    def test_updates_are_idempotent(self, garments: SearchIndex) -> None:
        before = as_tuples(garments.search(CORNERS[0], 9, encoder=ENCODER))
        for _ in range(2):
            garments.update(rows_from(seven_garments()), items=[1, 2, 3, 4, 5, 6], position={"at": 1})
        assert len(garments) == 7
        assert as_tuples(garments.search(CORNERS[0], 9, encoder=ENCODER)) == before

    def test_large_ids_are_kept(self, index: SearchIndex) -> None:
        index.update(build_rows([2**40 + 1], [2**40], CORNERS[:1]))
        assert as_tuples(index.search(CORNERS[0], 1, encoder=ENCODER)) == [(2**40, 2**40 + 1, 1.0)]

    def test_vectors_of_photos_are_returned_unchanged_in_the_given_order(self, index: SearchIndex) -> None:
        vectors = unit_rows(np.random.default_rng(2).normal(size=(4, 4)))
        index.update(build_rows([40, 30, 20, 10], [1, 2, 3, 4], vectors))
        assert np.array_equal(index.vectors_of([10, 40, 10]), vectors[[3, 0, 3]])
        assert index.vectors_of([]).shape == (0, 4)
        assert index.contains([10, 11]).tolist() == [True, False]
        with raises_code(UnknownPhotoError, "unknown_photo", 11):
            index.vectors_of([10, 11])

    def test_clear_removes_all_rows_and_the_position(self, garments: SearchIndex) -> None:
        garments.update(build_rows([], [], []), position={"at": 1})
        garments.clear()
        assert len(garments) == 0
        assert garments.position == {}
        assert garments.search(CORNERS[0], 5, encoder=ENCODER) == []
        garments.update(build_rows([5], [5], CORNERS[:1]))
        assert as_tuples(garments.search(CORNERS[0], 5, encoder=ENCODER)) == [(5, 5, 1.0)]

    def test_an_index_can_be_compacted_at_any_time(self, garments: SearchIndex) -> None:
        before = as_tuples(garments.search(CORNERS[0], 9, encoder=ENCODER))
        garments.compact()
        garments.compact()
        assert as_tuples(garments.search(CORNERS[0], 9, encoder=ENCODER)) == before

    def test_readers_always_see_an_item_that_changes_constantly(self, garments: SearchIndex) -> None:
        """Its price changes in a loop: the item must never be missing or present twice."""
        photos, problems, done = seven_garments(), [], threading.Event()
        ours = [100, 101]

        def read() -> None:
            while not done.is_set():
                hits: list[Hit] = garments.search(CORNERS[0], 9, encoder=ENCODER)
                if [hit.item_id for hit in hits] != [1, 2, 3, 4, 5, 6]:
                    problems.append(hits)

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for price in range(20):
            for photo in ours:
                photos[photo].columns["price"] = float(price)
            garments.update(rows_from(photos, ours), items=[1])
        done.set()
        for reader in readers:
            reader.join()
        assert problems == []
