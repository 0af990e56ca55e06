"""An in-memory index equals brute force after any sequence of changes, compactions, saves and loads."""

import threading
from typing import Any

import numpy as np
from hypothesis import settings

from ml.search import ANY, ExactIndex, Where, build_rows
from tests.helpers.hypothesis_profiles import examples
from tests.helpers.index_machine import IndexMachine
from tests.helpers.large_index import large_index, require_exact
from tests.helpers.search_rows import DEFAULT_COLUMNS, Photo, clustered, rows_from


class TestIndex(IndexMachine.TestCase):
    settings = settings(max_examples=examples(30), stateful_step_count=30)


# --- large segments


def test_large_segments_stay_exact_while_many_rows_are_deleted_and_added() -> None:
    index, photos = large_index()
    wheres = [ANY, Where(category="c0"), Where(category="c7"), Where(category="c0", min_price=1), Where(max_price=4)]
    require_exact(index, photos, 0, wheres)
    near = [hit.item_id for hit in index.search(photos[77].vector, 300, encoder="e")]
    index.update(build_rows([], [], []), items=near)
    photos = {photo: row for photo, row in photos.items() if row.item not in set(near)}
    require_exact(index, photos, 0, wheres)
    new = clustered(3000, dim=64, seed=3)
    more = {100_000 + row: Photo(50_000 + row, new[row], DEFAULT_COLUMNS | {"category": "c7"}) for row in range(3000)}
    index.update(rows_from(more))
    photos |= more
    require_exact(index, photos, 1, wheres)
    index.update(build_rows([], [], []), photos=list(range(0, 12_000, 3)))
    photos = {photo: row for photo, row in photos.items() if photo >= 12_000 or photo % 3}
    assert index.compact()
    assert not index.compact()
    assert len(index) == len(photos)
    require_exact(index, photos, 2, wheres)


def test_equal_vectors_in_a_large_segment_have_equal_scores_and_a_stable_order() -> None:
    one = clustered(1, dim=64, seed=9)
    index = ExactIndex("e", 64)
    index.update(build_rows(np.arange(9000), np.arange(9000)[::-1], np.repeat(one, 9000, axis=0)))
    index.compact()
    hits = index.search(clustered(1, dim=64, seed=10)[0], 50, encoder="e")
    assert [hit.item_id for hit in hits] == list(range(50))
    assert len({hit.score for hit in hits}) == 1


def test_changes_during_a_compaction_are_kept() -> None:
    """All of them during the merge, when they could be lost."""
    index, photos = ExactIndex("e", 64, sealed_at=500), {}
    vectors = clustered(6000, dim=64, seed=4)
    for start in range(0, 6000, 500):
        new = {row: Photo(row, vectors[row]) for row in range(start, start + 500)}
        index.update(rows_from(new))
        photos |= new
    merge = index._merge

    def merge_with_changes(parts: Any) -> Any:
        merged = merge(parts)
        index.update(build_rows([], [], []), items=list(range(0, 6000, 7)))
        index.update(build_rows([1, 9000], [1, 9000], vectors[[5, 6]]), position={"at": 9})
        return merged

    index._merge = merge_with_changes  # type: ignore[method-assign]
    assert index.compact()
    photos = {photo: row for photo, row in photos.items() if photo % 7}
    photos |= {1: Photo(1, vectors[5]), 9000: Photo(9000, vectors[6])}
    assert len(index) == len(photos)
    assert index.position == {"at": 9}
    require_exact(index, photos, 5, [ANY])


def test_many_threads_search_while_one_writes_and_one_compacts() -> None:
    """Every change adds ten photos of one vector and deletes ten, so each result must hold whole changes only."""
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

    index.update(build_rows(np.arange(100), np.arange(100), np.repeat(corner, 10, axis=0)))
    threads = [threading.Thread(target=work) for work in (read, read, compact)]
    for thread in threads:
        thread.start()
    for start in range(100, 3000, 10):
        ids = np.arange(start, start + 10)
        index.update(build_rows(ids, ids, corner), items=ids - 100)
    done.set()
    for thread in threads:
        thread.join()
    assert problems == []
