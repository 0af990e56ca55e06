"""Answering an old query once more: by the encoder of then, among the vectors of then.

What the rows still tell of then is used: vectors are never changed, and an item that was deleted since is known by the
time of that. Whether an item was hidden, or had another category or price, is not recorded; where that matters the
answer differs, and the item is named.
"""

import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from django.db.models import QuerySet

from catalog.errors import Refused
from catalog.models import CatalogItem, Embedding, QueryState, Recommendation, SimilarityQuery
from ml.formats.errors import InputError
from ml.search import Hit
from worker.encoders.embedding import embed_query
from worker.index.sync import CatalogIndex
from worker.queries.search import similar_items

TOLERANCE: Final = 1e-5  # of a score: cosines of float32 vectors
SAME_VECTOR: Final = 0.999  # cosine; other hardware moves a vector far less


@dataclass(frozen=True)
class Line:
    """One rank: what was answered then, and what is answered now; None where there is nothing."""

    rank: int
    then: Recommendation | None
    now: Hit | None

    @property
    def is_same(self) -> bool:
        if self.then is None or self.now is None:
            return False
        return self.then.item_id == self.now.item_id and abs(self.then.score - self.now.score) <= TOLERANCE


@dataclass(frozen=True)
class Replay:
    """`notes`: sentences about how it was done. `changes`: sentences about what differs, and why if that is known."""

    lines: list[Line]
    notes: list[str]
    changes: list[str]
    names: dict[int, str]  # of the items, by their ids

    @property
    def is_same(self) -> bool:
        return not self.changes


def query_replay(*, query: SimilarityQuery) -> Replay:
    """Search again with the recorded vector, and see whether the photo still becomes that vector.

    Refused for a query that is not done. Nothing is written.
    """
    if query.state != QueryState.DONE or query.vector is None:
        raise Refused("query_not_done", f"{query} is {query.state}: only one that is done can be done again.")
    at = _searched_at(query)
    index = CatalogIndex(query.answering_encoder, rows=_vectors_of_then(query, at), at=at)
    now = similar_items(query, index, at).hits
    lines = _lines(list(query.recommendations.all()), now)
    notes, changes = _embedded_anew(query, index, at, now)
    return Replay(lines, notes, [*changes, *_changes(lines, query, at)], _names(lines))


def _searched_at(query: SimilarityQuery) -> datetime:
    """When its search began."""
    assert query.finished_at is not None  # noqa: S101 - it is done
    after = query.timings.get("search", 0.0) + query.timings.get("write", 0.0)
    return query.finished_at - timedelta(milliseconds=after)


def _vectors_of_then(query: SimilarityQuery, at: datetime) -> QuerySet[Embedding]:
    """The ids of vectors appear in order, so the newest one tells of all. Old queries have only the time."""
    rows = Embedding.objects.filter(encoder=query.answering_encoder)
    return rows.filter(created_at__lte=at) if query.last_vector is None else rows.filter(pk__lte=query.last_vector)


def _lines(then: list[Recommendation], now: list[Hit]) -> list[Line]:
    """By rank. A recommendation whose item was removed from the database has left a gap."""
    recorded, found = {row.rank: row for row in then}, dict(enumerate(now, start=1))
    return [Line(rank, recorded.get(rank), found.get(rank)) for rank in range(1, max([0, *recorded, *found]) + 1)]


def _embedded_anew(
    query: SimilarityQuery, index: CatalogIndex, at: datetime, now: list[Hit]
) -> tuple[list[str], list[str]]:
    """What the encoder makes of the photo today: notes, and changes if it is something else than then."""
    if query.item_id is not None:
        return ["It asked for an item of the catalogue; the recorded vector, the middle of its photos', was used."], []
    try:
        anew = embed_query(query, query.answering_encoder, reuse=False).vector
    except (Refused, InputError, FileNotFoundError) as error:
        why = error.detail if isinstance(error, Refused) else str(error)
        return [f"It cannot be embedded anew, so only the recorded vector was used: {why}"], []
    pair = [np.frombuffer(bytes(vector), dtype="<f4").astype(np.float64) for vector in (query.vector or b"", anew)]
    cosine = float(pair[0] @ pair[1])
    asked = copy.copy(query)
    asked.vector = anew
    found = similar_items(asked, index, at).hits
    same = [hit.item_id for hit in found] == [hit.item_id for hit in now]
    note = f"Embedded anew: cosine to the recorded vector {cosine:.7f}, {'the same' if same else 'other'} items."
    other = ["The encoder sees what is asked about otherwise than then."] if cosine < SAME_VECTOR else []
    return [note], other


def _changes(lines: list[Line], query: SimilarityQuery, at: datetime) -> list[str]:
    then = {line.then.item_id: line.then for line in lines if line.then}
    now = {line.now.item_id: line.now for line in lines if line.now}
    last = max((line.rank for line in lines if line.then), default=0)
    gaps = [line.rank for line in lines if line.then is None and line.rank < last]
    changes = [f"What had rank {rank} was removed, with its picture." for rank in gaps]
    changes += [_why_missing(then[item].item, query, at) for item in then.keys() - now.keys()]
    changes += [_why_new(CatalogItem.objects.get(pk=item), at) for item in now.keys() - then.keys()]
    for item in then.keys() & now.keys():
        if abs(then[item].score - now[item].score) > TOLERANCE:
            changes.append(f"{_named(then[item].item)} scored {then[item].score:.5f} and scores {now[item].score:.5f}.")
    if not changes and not all(line.is_same for line in lines):
        changes.append("The same items come in another order.")
    return sorted(changes)


def _why_missing(item: CatalogItem, query: SimilarityQuery, at: datetime) -> str:
    found = f"{_named(item)} is not found any more"
    if not item.is_active:
        return f"{found}: it is hidden."
    if not Embedding.objects.filter(item=item, encoder=query.encoder).exists():
        return f"{found}: its vectors were deleted."
    if not CatalogItem.objects.matching(query.filters, at).filter(pk=item.pk).exists():
        return f"{found}: it was changed and does not fit the filters."
    return f"{found}: nobody knows why." if item.updated_at <= at else f"{found}: it was changed since."


def _why_new(item: CatalogItem, at: datetime) -> str:
    found = f"{_named(item)} is found now"
    return f"{found}: it was changed or shown since." if item.updated_at > at else f"{found}, and was not then."


def _names(lines: list[Line]) -> dict[int, str]:
    ids = {line.then.item_id for line in lines if line.then} | {line.now.item_id for line in lines if line.now}
    return {item.pk: _named(item) for item in CatalogItem.objects.filter(pk__in=ids)}


def _named(item: CatalogItem) -> str:
    return f"{item.external_id} ({item.name})"
