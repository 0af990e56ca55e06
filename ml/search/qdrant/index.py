"""Approximate search in a Qdrant server or cluster, for catalogues too large for one machine."""

import copy
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, Final, cast

import numpy as np
import numpy.typing as npt

from ml.search.hits import EncoderMismatch, Hit, IndexUnreadable, UnknownPhotoError, best_hits
from ml.search.interface import Position, SearchIndex
from ml.search.qdrant import payload
from ml.search.qdrant.payload import VECTOR, QdrantClient, models, photo_id, point_ids, point_vector
from ml.search.rows import Bools, Ints, Rows, Where, as_ids
from ml.vectors import Floats, ShapeError

METADATA_ID: Final = "00000000-0000-0000-0000-000000000001"
"""The id of the point with the encoder, the dimension and the position. It has no vector, so that no search finds it;
it is in the collection itself, so that moving the alias moves the position too."""

MAX_REQUEST_FLOATS: Final = 100_000
"""Floats in one request: about 2 MB of JSON, far below the server's limit of 32 MB."""

EXTRA_ITEMS: Final = 8
"""Items fetched beyond k, to detect ties at the k-th item."""
TIE_TOLERANCE: Final = 1e-5
"""Scores this close may be equal: the server sums in another order than we do."""
MAX_TIES: Final = 4_096
"""Most items fetched to resolve ties."""
COUNT_FROM: Final = 1_000
"""From this k on, the rows are counted first: the server allocates memory for k, not for the rows it has."""
PHOTOS_PER_ITEM: Final = 4
"""Photos per item that are re-scored with one request."""

EXACT: Final = models.SearchParams(exact=True, quantization=models.QuantizationSearchParams(ignore=True))


@dataclass(frozen=True)
class CollectionConfig:
    """Settings of a new collection. `shards`: None leaves the number to the server, which makes one per node.

    `replicas`: nodes per shard. `on_disk`: the float32 vectors stay on the disk and are read for the few rows that are
    re-scored; only their int8 copies (a quarter of the size) and the graph stay in memory. `hnsw_m`,
    `hnsw_ef_construct`: M and ef_construct of HNSW.
    """

    shards: int | None = None
    replicas: int = 1
    on_disk: bool = True
    hnsw_m: int = 16
    hnsw_ef_construct: int = 200


class QdrantIndex(SearchIndex):
    """A Qdrant collection behind an alias. A search fetches the nearest items as groups, then re-scores all their
    photos.

    Qdrant has no transactions. A change first upserts new and changed photos, then deletes outdated ones, then writes
    the position, and waits for each step: a changing item is never missing, but a search during the change may see a
    part of it. An error half-way leaves a partial change with the old position; repeating the change completes it.
    """

    exact: ClassVar[bool] = False

    def __init__(
        self,
        server: str | QdrantClient,
        encoder: str,
        dim: int,
        *,
        name: str | None = None,
        api_key: str | None = None,
        timeout: int = 5,
        config: CollectionConfig = CollectionConfig(),
        hnsw_ef: int = 128,
    ) -> None:
        """Open the index `name` (None: named after the encoder), or create it, empty.

        `server`: an address (http or https), or a client, which `close` leaves open. `timeout`: seconds. `hnsw_ef`: ef
        of a search. Raises `EncoderMismatch` or `ShapeError` for the index of another encoder, `IndexUnreadable` for a
        foreign collection of that name, and `IndexUnavailable`.
        """
        super().__init__(encoder, dim)
        self.name = name or payload.index_name(encoder)
        self._owns_client = isinstance(server, str)
        self._client = payload.create_client(server, api_key, timeout) if isinstance(server, str) else server
        self._config = config
        self._hnsw_ef = hnsw_ef
        self._local = payload.is_local(self._client)
        # The client's local mode keeps plain arrays, which must not be read while they change.
        self._lock: AbstractContextManager[object] = threading.RLock() if self._local else nullcontext()
        self._target = self.name  # the alias, or during a rebuild the collection itself
        with self._translated_errors():
            if self._published() is None:
                self._create(self._slots[0])
                self._publish(self._slots[0])
            self._require_own_index()

    def __len__(self) -> int:
        with self._translated_errors():
            return self._client.count(self._target, exact=True).count - 1  # without METADATA_ID

    @property
    def position(self) -> Position:
        with self._translated_errors():
            return {str(key): int(value) for key, value in self._metadata()["position"].items()}

    def vectors_of(self, photo_ids: npt.ArrayLike) -> Floats:
        ids = as_ids(photo_ids)
        vectors = dict(self._retrieve(ids, with_vectors=True))
        missing = [photo for photo in ids.tolist() if photo not in vectors]
        if missing:
            raise UnknownPhotoError(f"Photo {missing[0]} is not in the index.")
        rows = [vectors[photo] for photo in ids.tolist()]
        return np.array(rows, dtype=np.float32).reshape(len(ids), self.dim)

    def contains(self, photo_ids: npt.ArrayLike) -> Bools:
        ids = as_ids(photo_ids)
        return np.isin(ids, [photo for photo, _ in self._retrieve(ids, with_vectors=False)])

    def clear(self) -> None:
        empty = self.rebuild()
        if self._target == self.name:
            empty.take_over()

    def close(self) -> None:
        if self._owns_client:
            self._client.close()

    def rebuild(self) -> "QdrantIndex":
        """Return an empty shadow index to fill while searches still use this one; `take_over` publishes it.

        The next rebuild discards an unfinished one. Close this index, not the shadow index.
        """
        new = copy.copy(self)
        new._owns_client = False
        with self._translated_errors():
            new._target = next(slot for slot in self._slots if slot != self._published())
            self._client.delete_collection(new._target)
            self._create(new._target)
        return new

    def take_over(self) -> None:
        """Point the alias atomically to this rebuilt index, and delete the collection it pointed to."""
        with self._translated_errors():
            if self._target != self.name:
                self._publish(self._target)
                self._target = self.name

    # --- changes

    def _update(self, rows: Rows, items: Ints, photos: Ints, position: Position | None) -> None:
        ids, payloads = point_ids(rows.photo_ids), payload.build_payloads(rows)
        step = max(1, MAX_REQUEST_FLOATS // self.dim)
        final = payload.build_deletions(rows, items, photos)
        if position is not None:
            final.append(models.UpsertOperation(upsert=models.PointsList(points=[self._metadata_point(position)])))
        with self._translated_errors():
            for start in range(0, len(rows), step):
                part = slice(start, start + step)
                batch = models.Batch(
                    ids=ids[part], vectors={VECTOR: rows.vectors[part].tolist()}, payloads=payloads[part]
                )
                self._client.upsert(self._target, batch, wait=True)
            if final:
                self._client.batch_update_points(self._target, final, wait=True)

    # --- searches

    def _search(self, queries: Floats, k: int, where: Where) -> list[list[Hit]]:
        k = int(k) if k <= COUNT_FROM else max(1, min(int(k), len(self)))
        with self._translated_errors():  # Qdrant has no batches of group queries
            return [self._search_one(query, k, where) for query in queries]

    def _search_one(self, query: Floats, k: int, where: Where) -> list[Hit]:
        items = self._nearest_items(query, k, where)
        points = self._rescore_photos(items, query, where) if items else []
        return best_hits(
            np.array([cast("dict[str, Any]", point.payload)["item_id"] for point in points], dtype=np.int64),
            np.array([photo_id(point.id) for point in points], dtype=np.int64),
            np.array([point_vector(point) for point in points], dtype=np.float32).reshape(len(points), self.dim),
            query,
            k,
        )

    def _nearest_items(self, query: Floats, k: int, where: Where) -> dict[int, float]:
        """Return the items that may be among the `k` best, with the scores that the server computes.

        The server stops looking for groups after a few attempts, so that fewer groups than requested do not mean that
        there are no more: the request is repeated without the items already fetched. The limit grows while items beyond
        the k-th may tie with it.
        """
        scores: dict[int, float] = {}
        wanted = k + EXTRA_ITEMS
        while True:
            groups = self._client.query_points_groups(
                self._target,
                group_by="item_id",
                query=query.tolist(),
                using=VECTOR,
                query_filter=payload.build_filter(where, without=scores),
                search_params=self._search_params(where, wanted),
                limit=wanted - len(scores),
                group_size=1,
                with_payload=False,
            ).groups
            scores |= {int(group.id): group.hits[0].score for group in groups}
            if not groups:
                return scores
            if len(scores) >= wanted:
                ordered = sorted(scores.values(), reverse=True)
                if ordered[k - 1] - ordered[-1] > TIE_TOLERANCE or wanted >= MAX_TIES:
                    return scores
                wanted *= 4

    def _rescore_photos(self, items: dict[int, float], query: Floats, where: Where) -> list[models.ScoredPoint]:
        """Return the photos of `items` that score at least as high as the worst item, by an exact search."""
        limit = PHOTOS_PER_ITEM * len(items)
        while True:
            points = self._client.query_points(
                self._target,
                query=query.tolist(),
                using=VECTOR,
                query_filter=payload.build_filter(where, among=items),
                search_params=None if self._local else EXACT,
                limit=limit,
                score_threshold=min(items.values()) - TIE_TOLERANCE,
                with_payload=["item_id"],
                with_vectors=[VECTOR],
            ).points
            if len(points) < limit:
                return points
            limit *= 4

    def _search_params(self, where: Where, wanted: int) -> models.SearchParams | None:
        """Return the parameters of the graph search. The graph has links for single filters; several need ACORN."""
        if self._local:  # local mode is always exact, and warns about parameters
            return None
        has_several_filters = len(payload.build_conditions(where)) > 1
        return models.SearchParams(
            hnsw_ef=max(self._hnsw_ef, 2 * wanted),
            quantization=models.QuantizationSearchParams(rescore=True, oversampling=2.0),
            acorn=models.AcornSearchParams(enable=True) if has_several_filters else None,
        )

    def _retrieve(self, photos: Ints, *, with_vectors: bool) -> Iterator[tuple[int, list[float]]]:
        """Yield the `photos` that are in the index, with their vectors, or with empty lists."""
        step = max(1, MAX_REQUEST_FLOATS // self.dim) if with_vectors else payload.ID_BATCH
        for start in range(0, len(photos), step):
            with self._translated_errors():
                records = self._client.retrieve(
                    self._target, point_ids(photos[start : start + step]), with_payload=False, with_vectors=with_vectors
                )
            for record in records:
                yield photo_id(record.id), point_vector(record) if with_vectors else []

    # --- the collection and its alias

    @property
    def _slots(self) -> tuple[str, str]:
        """The two collections that alternate behind the alias; a rebuild overwrites what a crash left."""
        return f"{self.name}-a", f"{self.name}-b"

    def _published(self) -> str | None:
        """Return the collection behind the alias, or None."""
        aliases = {alias.alias_name: alias.collection_name for alias in self._client.get_aliases().aliases}
        return aliases.get(self.name)

    def _publish(self, slot: str) -> None:
        before = self._published()
        if before == slot:
            return
        moves: list[models.AliasOperations] = []
        if before is not None:
            moves.append(models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=self.name)))
        new_alias = models.CreateAlias(collection_name=slot, alias_name=self.name)
        moves.append(models.CreateAliasOperation(create_alias=new_alias))
        self._client.update_collection_aliases(moves)
        if before is not None:
            self._client.delete_collection(before)

    def _create(self, slot: str) -> None:
        """Create a collection idempotently: a crashed process, or one starting at the same time, may have done any
        step.
        """
        config = self._config
        if not self._client.collection_exists(slot):
            try:
                self._client.create_collection(
                    slot,
                    vectors_config={
                        VECTOR: models.VectorParams(size=self.dim, distance=models.Distance.DOT, on_disk=config.on_disk)
                    },
                    shard_number=config.shards,
                    replication_factor=config.replicas,
                    hnsw_config=models.HnswConfigDiff(m=config.hnsw_m, ef_construct=config.hnsw_ef_construct),
                    quantization_config=models.ScalarQuantization(
                        scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
                    ),
                )
            except payload.CLIENT_ERRORS:
                if not self._client.collection_exists(slot):
                    raise
        if not self._local:  # local mode has no payload indexes, and warns
            for field, schema in payload.FIELDS.items():
                self._client.create_payload_index(slot, field, schema, wait=True)
        if not self._client.retrieve(slot, [METADATA_ID]):
            self._client.upsert(slot, [self._metadata_point({})], wait=True)

    def _metadata_point(self, position: Position) -> models.PointStruct:
        integers = {key: int(value) for key, value in position.items()}  # JSON cannot encode NumPy's integers
        metadata = {"encoder": payload.encodable(self.encoder), "dim": self.dim, "position": integers}
        return models.PointStruct(id=METADATA_ID, vector={}, payload=metadata)

    def _metadata(self) -> dict[str, Any]:
        records = self._client.retrieve(self._target, [METADATA_ID])
        metadata = records[0].payload if records else None
        if not metadata or not {"encoder", "dim", "position"} <= metadata.keys():
            raise IndexUnreadable(
                f"The Qdrant collection {self.name!r} is not an index of photos.", code="foreign_collection"
            )
        return metadata

    def _require_own_index(self) -> None:
        metadata = self._metadata()
        if metadata["encoder"] != payload.encodable(self.encoder):
            raise EncoderMismatch(
                f"The index {self.name!r} is of encoder {metadata['encoder']!r}, not {self.encoder!r}."
            )
        if metadata["dim"] != self.dim:
            raise ShapeError(f"The index {self.name!r} has vectors of length {metadata['dim']}, not {self.dim}.")

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """Translate the client's errors into `SearchError`s; in local mode, serialise access."""
        with self._lock:
            try:
                yield
            except payload.CLIENT_ERRORS as error:
                raise payload.translate_error(error, self.name) from error
