from pathlib import Path

import numpy as np
import pytest

from ml.search import ANY, Where, rows_of
from ml.search.memory import snapshot
from ml.search.memory.ivf import ApproximateIndex
from ml.vectors import unit_rows
from tests.helpers.search_contract import Contract, Make
from tests.helpers.search_rows import NO_FACTS, Photo, Photos, clustered, recall, rows_from


class WithSmallCells(ApproximateIndex):
    cells_from = 1000


class TestApproximate(Contract):
    @pytest.fixture
    def make(self) -> Make:
        return lambda encoder, dim: WithSmallCells(encoder, dim, sealed_at=1000)


@pytest.fixture(scope="module")
def photos() -> Photos:
    vectors = clustered(12_000, dim=32, seed=3, clusters=200)
    return {row: Photo(row // 2, vectors[row], NO_FACTS | {"category": f"c{row % 5}"}) for row in range(12_000)}


@pytest.fixture
def index(photos: Photos) -> WithSmallCells:
    index = WithSmallCells("e", 32, sealed_at=1000)
    index.update(rows_from(photos))
    assert index.compact()
    assert not index.compact()
    return index


def asked(photos: Photos, count: int = 20) -> np.ndarray:
    rng = np.random.default_rng(4)
    seen = np.stack([photos[photo].vector for photo in rng.choice(list(photos), count)])
    return unit_rows(seen + 0.05 * rng.normal(size=seen.shape))


def test_a_search_reads_some_cells_and_misses_hardly_anything(index: WithSmallCells, photos: Photos) -> None:
    cells = index.state.segments[0].cells
    assert cells is not None
    assert 0 < cells.probes <= cells.index.nlist / 2
    assert recall(index, photos, asked(photos), 20) >= 0.98
    assert recall(index, photos, asked(photos), 20, Where(category="c3")) == 1.0


def test_what_went_and_came_is_counted(index: WithSmallCells, photos: Photos) -> None:
    near = [hit.item_id for hit in index.search(photos[40].vector, 200, encoder="e")]
    index.update(rows_of([20_000], [20_000], photos[40].vector[None]), items=near)
    left = {photo: row for photo, row in photos.items() if row.item not in set(near)}
    left[20_000] = Photo(20_000, photos[40].vector)
    assert index.search(photos[40].vector, 1, encoder="e")[0].item_id == 20_000
    assert recall(index, left, asked(left), 20) >= 0.98


def test_cells_are_kept_in_files(index: WithSmallCells, photos: Photos, tmp_path: Path) -> None:
    snapshot.save(index, tmp_path)
    back = snapshot.load(tmp_path, "e", 32, kind=WithSmallCells)
    assert not back.compact(), "the cells are there"
    queries = asked(photos)
    assert back.search_many(queries, 20, encoder="e") == index.search_many(queries, 20, encoder="e")


def test_an_exact_index_in_files_gets_cells_when_it_is_compacted(photos: Photos, tmp_path: Path) -> None:
    index = WithSmallCells("e", 32, sealed_at=1000)
    index.cells_from = 10**9
    index.update(rows_from(photos))
    index.compact()
    snapshot.save(index, tmp_path)
    back = snapshot.load(tmp_path, "e", 32, kind=WithSmallCells)
    assert back.compact()
    assert recall(back, photos, asked(photos), 20, ANY) >= 0.98


def test_where_cells_are_no_use_the_scan_answers(tmp_path: Path) -> None:
    """Vectors that point anywhere: too many cells would have to be read."""
    rng = np.random.default_rng(0)
    vectors = unit_rows(rng.normal(size=(4000, 64)))
    photos = {row: Photo(row, vectors[row]) for row in range(4000)}
    index = WithSmallCells("e", 64, sealed_at=1000)
    index.update(rows_from(photos))
    index.compact()
    snapshot.save(index, tmp_path)
    for one in (index, snapshot.load(tmp_path, "e", 64, kind=WithSmallCells)):
        assert recall(one, photos, unit_rows(rng.normal(size=(10, 64))), 20) >= 0.98
        assert not one.compact()
