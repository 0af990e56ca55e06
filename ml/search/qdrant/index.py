"""An index kept by a Qdrant server or cluster, for catalogues that one machine does not hold."""

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
from ml.search.qdrant import payload as words
from ml.search.qdrant.payload import VECTOR, QdrantClient, models, photo_id, point_ids, vector_of
from ml.search.rows import Bools, Ints, Rows, Where, as_ids
from ml.vectors import Floats, ShapeError

ABOUT: Final = "00000000-0000-0000-0000-000000000001"
"""The id of the point that says whose vectors these are and how far the source is read. It has no vector, so no search
finds it; it is in the collection itself, so that moving the alias moves the position too."""

FLOATS_AT_ONCE: Final = 100_000
"""Numbers in one request: about 2 MB of JSON, far below the 32 MB that a server takes."""

SPARE: Final = 8
"""Items asked for beyond k, so that the border of the answer can be seen."""
NEAR: Final = 1e-5
"""Scores no farther apart than this may be equal: the server adds up in another order than we do."""
MOST_TIES: Final = 4_096
"""Items looked at, at most, where all of them are equally near."""
MANY: Final = 1_000
"""From this k on, the index is counted first: a server sets memory aside for what is asked, not for what there is."""
PHOTOS: Final = 4
"""Photos that an item may have before the second look at them needs a second request."""

EXACTLY: Final = models.SearchParams(exact=True, quantization=models.QuantizationSearchParams(ignore=True))


@dataclass(frozen=True)
class Layout:
    """How a new collection is laid out. `shards`: None leaves it to the server, which makes one for each node.

    `replicas`: how many nodes keep each shard. `on_disk`: the float32 vectors are read from the disk, for the few rows
    that are scored anew; only their int8 copies (a quarter of the size) and the graph stay in memory. `links` and
    `build_beam` are HNSW's M and ef_construct.
    """

    shards: int | None = None
    replicas: int = 1
    on_disk: bool = True
    links: int = 16
    build_beam: int = 200


class QdrantIndex(SearchIndex):
    """A collection behind an alias. A search finds the nearest items in groups, then scores all their photos exactly.

    Qdrant has no transactions. A change first puts what is new or different, then takes out what is left over, then
    writes the position, and waits for each step: an item that only changes is never missing, and a search during the
    change may see a part of it. An error on the way leaves a part, too; the position is then still the old one, and the
    same change made again heals it.
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
        layout: Layout = Layout(),
        beam: int = 128,
    ) -> None:
        """Open the index called `name` (None: named after the encoder), or make it, empty.

        `server`: an address (http or https), or a client, which stays open. `timeout`: seconds. `beam`: HNSW's ef of a
        search. Raises `EncoderMismatch` or `ShapeError` for the index of another encoder, `IndexUnreadable` for
        something else of that name, and `IndexUnavailable`.
        """
        super().__init__(encoder, dim)
        self.name = name or words.name_for(encoder)
        self._owned = isinstance(server, str)
        self._client = words.connected(server, api_key, timeout) if isinstance(server, str) else server
        self._layout = layout
        self._beam = beam
        self._local = words.is_local(self._client)
        # The client's local mode is one process's plain arrays, which must not be read while they change.
        self._turn: AbstractContextManager[object] = threading.RLock() if self._local else nullcontext()
        self._place = self.name  # the alias; the collection itself while it is being filled
        with self._asking():
            if self._published() is None:
                self._create(self._slots[0])
                self._publish(self._slots[0])
            self._require_ours()

    def __len__(self) -> int:
        with self._asking():
            return self._client.count(self._place, exact=True).count - 1  # without ABOUT

    @property
    def position(self) -> Position:
        with self._asking():
            return {str(key): int(value) for key, value in self._about()["position"].items()}

    def vectors_of(self, photo_ids: npt.ArrayLike) -> Floats:
        wanted = as_ids(photo_ids)
        vectors = dict(self._retrieved(wanted, with_vectors=True))
        missing = [photo for photo in wanted.tolist() if photo not in vectors]
        if missing:
            raise UnknownPhotoError(f"Photo {missing[0]} is not in the index.")
        rows = [vectors[photo] for photo in wanted.tolist()]
        return np.array(rows, dtype=np.float32).reshape(len(wanted), self.dim)

    def contains(self, photo_ids: npt.ArrayLike) -> Bools:
        wanted = as_ids(photo_ids)
        return np.isin(wanted, [photo for photo, _ in self._retrieved(wanted, with_vectors=False)])

    def clear(self) -> None:
        empty = self.rebuild()
        if self._place == self.name:
            empty.take_over()

    def close(self) -> None:
        if self._owned:
            self._client.close()

    def rebuild(self) -> "QdrantIndex":
        """Return an empty index beside this one, to be filled while everybody still searches this one.

        One at a time: an unfinished rebuild is thrown away by the next one. Close this index, not that one.
        """
        new = copy.copy(self)
        new._owned = False
        with self._asking():
            new._place = next(slot for slot in self._slots if slot != self._published())
            self._client.delete_collection(new._place)
            self._create(new._place)
        return new

    def take_over(self) -> None:
        """Let the alias point to this rebuilt index, in one operation, and remove the one it pointed to."""
        with self._asking():
            if self._place != self.name:
                self._publish(self._place)
                self._place = self.name

    # --- changes

    def _update(self, rows: Rows, items: Ints, photos: Ints, position: Position | None) -> None:
        ids, payloads = point_ids(rows.photo_ids), words.payloads_of(rows)
        step = max(1, FLOATS_AT_ONCE // self.dim)
        last = words.removals_of(rows, items, photos)
        if position is not None:
            last.append(models.UpsertOperation(upsert=models.PointsList(points=[self._about_point(position)])))
        with self._asking():
            for start in range(0, len(rows), step):
                part = slice(start, start + step)
                batch = models.Batch(
                    ids=ids[part], vectors={VECTOR: rows.vectors[part].tolist()}, payloads=payloads[part]
                )
                self._client.upsert(self._place, batch, wait=True)
            if last:
                self._client.batch_update_points(self._place, last, wait=True)

    # --- searches

    def _search(self, queries: Floats, k: int, where: Where) -> list[list[Hit]]:
        k = int(k) if k <= MANY else max(1, min(int(k), len(self)))
        with self._asking():  # groups cannot be asked for in batches
            return [self._best(query, k, where) for query in queries]

    def _best(self, query: Floats, k: int, where: Where) -> list[Hit]:
        items = self._nearest_items(query, k, where)
        points = self._photos_of(items, query, where) if items else []
        return best_hits(
            np.array([cast("dict[str, Any]", point.payload)["item_id"] for point in points], dtype=np.int64),
            np.array([photo_id(point.id) for point in points], dtype=np.int64),
            np.array([vector_of(point) for point in points], dtype=np.float32).reshape(len(points), self.dim),
            query,
            k,
        )

    def _nearest_items(self, query: Floats, k: int, where: Where) -> dict[int, float]:
        """The items that may be among the `k` best, with the scores that the server gives them.

        A server stops looking for groups after a few tries, so fewer than asked for does not mean that there are no
        more: it is asked again, without those that are known. More are asked for, too, while those beyond the border
        may be as good as those before it.
        """
        found: dict[int, float] = {}
        wanted = k + SPARE
        while True:
            groups = self._client.query_points_groups(
                self._place,
                group_by="item_id",
                query=query.tolist(),
                using=VECTOR,
                query_filter=words.filter_of(where, without=found),
                search_params=self._approximately(where, wanted),
                limit=wanted - len(found),
                group_size=1,
                with_payload=False,
            ).groups
            found |= {int(group.id): group.hits[0].score for group in groups}
            if not groups:
                return found
            if len(found) >= wanted:
                scores = sorted(found.values(), reverse=True)
                if scores[k - 1] - scores[-1] > NEAR or wanted >= MOST_TIES:
                    return found
                wanted *= 4

    def _photos_of(self, items: dict[int, float], query: Floats, where: Where) -> list[models.ScoredPoint]:
        """The photos of `items` that score at least as the worst item does: no graph and no rounding between them."""
        limit = PHOTOS * len(items)
        while True:
            points = self._client.query_points(
                self._place,
                query=query.tolist(),
                using=VECTOR,
                query_filter=words.filter_of(where, among=items),
                search_params=None if self._local else EXACTLY,
                limit=limit,
                score_threshold=min(items.values()) - NEAR,
                with_payload=["item_id"],
                with_vectors=[VECTOR],
            ).points
            if len(points) < limit:
                return points
            limit *= 4

    def _approximately(self, where: Where, wanted: int) -> models.SearchParams | None:
        """The links for single filters are made while the graph is built; for several at once there is ACORN."""
        if self._local:  # which is always exact, and warns
            return None
        several = len(words.conditions_of(where)) > 1
        return models.SearchParams(
            hnsw_ef=max(self._beam, 2 * wanted),
            quantization=models.QuantizationSearchParams(rescore=True, oversampling=2.0),
            acorn=models.AcornSearchParams(enable=True) if several else None,
        )

    def _retrieved(self, photos: Ints, *, with_vectors: bool) -> Iterator[tuple[int, list[float]]]:
        """Those of `photos` that are in the index, with their vectors; with empty ones where they are not asked for."""
        step = max(1, FLOATS_AT_ONCE // self.dim) if with_vectors else words.IDS_AT_ONCE
        for start in range(0, len(photos), step):
            with self._asking():
                records = self._client.retrieve(
                    self._place, point_ids(photos[start : start + step]), with_payload=False, with_vectors=with_vectors
                )
            for record in records:
                yield photo_id(record.id), vector_of(record) if with_vectors else []

    # --- the collection and its alias

    @property
    def _slots(self) -> tuple[str, str]:
        """The two collections that take turns behind the alias: what a crash leaves is overwritten by the next."""
        return f"{self.name}-a", f"{self.name}-b"

    def _published(self) -> str | None:
        """The collection behind the alias."""
        aliases = {alias.alias_name: alias.collection_name for alias in self._client.get_aliases().aliases}
        return aliases.get(self.name)

    def _publish(self, slot: str) -> None:
        before = self._published()
        if before == slot:
            return
        moves: list[models.AliasOperations] = []
        if before is not None:
            moves.append(models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=self.name)))
        there = models.CreateAlias(collection_name=slot, alias_name=self.name)
        moves.append(models.CreateAliasOperation(create_alias=there))
        self._client.update_collection_aliases(moves)
        if before is not None:
            self._client.delete_collection(before)

    def _create(self, slot: str) -> None:
        """Every step may have been done before: by one that crashed, or by a process that starts at the same time."""
        layout = self._layout
        if not self._client.collection_exists(slot):
            try:
                self._client.create_collection(
                    slot,
                    vectors_config={
                        VECTOR: models.VectorParams(size=self.dim, distance=models.Distance.DOT, on_disk=layout.on_disk)
                    },
                    shard_number=layout.shards,
                    replication_factor=layout.replicas,
                    hnsw_config=models.HnswConfigDiff(m=layout.links, ef_construct=layout.build_beam),
                    quantization_config=models.ScalarQuantization(
                        scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
                    ),
                )
            except words.CLIENT_ERRORS:
                if not self._client.collection_exists(slot):
                    raise
        if not self._local:  # which has no such indexes, and warns
            for field, schema in words.FIELDS.items():
                self._client.create_payload_index(slot, field, schema, wait=True)
        if not self._client.retrieve(slot, [ABOUT]):
            self._client.upsert(slot, [self._about_point({})], wait=True)

    def _about_point(self, position: Position) -> models.PointStruct:
        read = {key: int(value) for key, value in position.items()}  # NumPy's numbers are none for JSON
        about = {"encoder": words.encodable(self.encoder), "dim": self.dim, "position": read}
        return models.PointStruct(id=ABOUT, vector={}, payload=about)

    def _about(self) -> dict[str, Any]:
        records = self._client.retrieve(self._place, [ABOUT])
        about = records[0].payload if records else None
        if not about or not {"encoder", "dim", "position"} <= about.keys():
            raise IndexUnreadable(f"What Qdrant keeps as {self.name!r} is not an index of photos.")
        return about

    def _require_ours(self) -> None:
        about = self._about()
        if about["encoder"] != words.encodable(self.encoder):
            raise EncoderMismatch(f"The index {self.name!r} is of encoder {about['encoder']!r}, not {self.encoder!r}.")
        if about["dim"] != self.dim:
            raise ShapeError(f"The index {self.name!r} has vectors of length {about['dim']}, not {self.dim}.")

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Turn the client's errors into ours."""
        with self._turn:
            try:
                yield
            except words.CLIENT_ERRORS as error:
                raise words.named_error(error, self.name) from error
