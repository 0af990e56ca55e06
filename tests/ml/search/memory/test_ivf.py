"""The approximate index: the contract, recall and snapshots."""

from pathlib import Path

import numpy as np
import pytest

from ml.search import ANY, Where, build_rows
from ml.search.memory import snapshot
from ml.search.memory.ivf import ApproximateIndex
from ml.vectors import unit_rows
from tests.helpers.search_contract import Contract, Make
from tests.helpers.search_rows import DEFAULT_COLUMNS, Photo, Photos, clustered, recall, rows_from


class WithSmallClusters(ApproximateIndex):
    ivf_from = 1000


class TestApproximate(Contract):
    @pytest.fixture
    def make(self) -> Make:
        return lambda encoder, dim: WithSmallClusters(encoder, dim, sealed_at=1000)


@pytest.fixture(scope="module")
def photos() -> Photos:
    vectors = clustered(12_000, dim=32, seed=3, clusters=200)
    return {row: Photo(row // 2, vectors[row], DEFAULT_COLUMNS | {"category": f"c{row % 5}"}) for row in range(12_000)}


@pytest.fixture
def index(photos: Photos) -> WithSmallClusters:
    index = WithSmallClusters("e", 32, sealed_at=1000)
    index.update(rows_from(photos))
    assert index.compact()
    assert not index.compact()
    return index


def noisy_queries(photos: Photos, count: int = 20) -> np.ndarray:
    rng = np.random.default_rng(4)
    sample = np.stack([photos[photo].vector for photo in rng.choice(list(photos), count)])
    return unit_rows(sample + 0.05 * rng.normal(size=sample.shape))


def test_a_search_reads_some_clusters_with_high_recall(index: WithSmallClusters, photos: Photos) -> None:
    clusters = index.state.segments[0].clusters
    assert clusters is not None
    assert 0 < clusters.probes <= clusters.index.nlist / 2
    assert recall(index, photos, noisy_queries(photos), 20) >= 0.98
    assert recall(index, photos, noisy_queries(photos), 20, Where(category="c3")) == 1.0


def test_deleted_and_added_rows_are_respected(index: WithSmallClusters, photos: Photos) -> None:
    near = [hit.item_id for hit in index.search(photos[40].vector, 200, encoder="e")]
    index.update(build_rows([20_000], [20_000], photos[40].vector[None]), items=near)
    left = {photo: row for photo, row in photos.items() if row.item not in set(near)}
    left[20_000] = Photo(20_000, photos[40].vector)
    assert index.search(photos[40].vector, 1, encoder="e")[0].item_id == 20_000
    assert recall(index, left, noisy_queries(left), 20) >= 0.98


def test_clusters_are_stored_in_snapshots(index: WithSmallClusters, photos: Photos, tmp_path: Path) -> None:
    snapshot.save(index, tmp_path)
    back = snapshot.load(tmp_path, "e", 32, kind=WithSmallClusters)
    assert not back.compact(), "the clusters are loaded"
    queries = noisy_queries(photos)
    assert back.search_many(queries, 20, encoder="e") == index.search_many(queries, 20, encoder="e")


def test_a_stored_exact_index_gets_clusters_when_it_is_compacted(photos: Photos, tmp_path: Path) -> None:
    index = WithSmallClusters("e", 32, sealed_at=1000)
    index.ivf_from = 10**9
    index.update(rows_from(photos))
    index.compact()
    snapshot.save(index, tmp_path)
    back = snapshot.load(tmp_path, "e", 32, kind=WithSmallClusters)
    assert back.compact()
    assert recall(back, photos, noisy_queries(photos), 20, ANY) >= 0.98


def test_useless_clusters_fall_back_to_the_exact_scan(tmp_path: Path) -> None:
    """Random directions: a search would have to read too many clusters."""
    rng = np.random.default_rng(0)
    vectors = unit_rows(rng.normal(size=(4000, 64)))
    photos = {row: Photo(row, vectors[row]) for row in range(4000)}
    index = WithSmallClusters("e", 64, sealed_at=1000)
    index.update(rows_from(photos))
    index.compact()
    snapshot.save(index, tmp_path)
    for one in (index, snapshot.load(tmp_path, "e", 64, kind=WithSmallClusters)):
        assert recall(one, photos, unit_rows(rng.normal(size=(10, 64))), 20) >= 0.98
        assert not one.compact()
