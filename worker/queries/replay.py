"""Replay a recorded query: search again with its encoder among the vectors that existed then, and compare the answers.

The state at that time is rebuilt from the rows as far as possible: vectors never change, and the time of a deletion is
recorded. Whether an item was hidden or had another category or price is not recorded; if that changes the answer, the
item is named.
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
from worker.queries.search import find_similar_items

TOLERANCE: Final = 1e-5  # of a score, a cosine of float32 vectors
SAME_VECTOR: Final = 0.999  # minimum cosine; a change of hardware changes a vector far less


@dataclass(frozen=True)
class RankPair:
    """One rank of the recorded and of the replayed answer; None if an answer has no such rank."""

    rank: int
    recorded: Recommendation | None
    replayed: Hit | None

    @property
    def is_same(self) -> bool:
        """Whether both answers have the same item here, with equal scores within `TOLERANCE`."""
        if self.recorded is None or self.replayed is None:
            return False
        is_same_item = self.recorded.item_id == self.replayed.item_id
        return is_same_item and abs(self.recorded.score - self.replayed.score) <= TOLERANCE


@dataclass(frozen=True)
class Replay:
    """The comparison of both answers.

    `notes`: sentences about the method. `changes`: a sentence for each difference, with its reason if known.
    """

    ranks: list[RankPair]
    notes: list[str]
    changes: list[str]
    names: dict[int, str]  # by item id

    @property
    def is_same(self) -> bool:
        """Whether the replayed answer has no differences."""
        return not self.changes


def query_replay(*, query: SimilarityQuery) -> Replay:
    """Search again with the recorded vector, and check whether the photo still has that vector. Writes nothing.

    Refused with `query_not_done` unless the query is done.
    """
    if query.state != QueryState.DONE or query.vector is None:
        raise Refused("query_not_done", f"{query} is {query.state}; only a query that is done can be replayed.")
    at = _searched_at(query)
    index = CatalogIndex(query.answering_encoder, rows=_recorded_vectors(query, at), at=at)
    hits = find_similar_items(query, index, at).hits
    ranks = _pair_ranks(list(query.recommendations.all()), hits)
    notes, changes = _embed_again(query, index, at, hits)
    return Replay(ranks, notes, [*changes, *_describe_changes(ranks, query, at)], _names(ranks))


def _searched_at(query: SimilarityQuery) -> datetime:
    """Return the time at which the search of the query began."""
    assert query.finished_at is not None  # noqa: S101 - it is done
    after = query.timings.get("search", 0.0) + query.timings.get("write", 0.0)
    return query.finished_at - timedelta(milliseconds=after)


def _recorded_vectors(query: SimilarityQuery, at: datetime) -> QuerySet[Embedding]:
    """Return the vectors that existed at the search: by the newest id, since ids ascend; by time for old queries."""
    rows = Embedding.objects.filter(encoder=query.answering_encoder)
    return rows.filter(created_at__lte=at) if query.last_vector is None else rows.filter(pk__lte=query.last_vector)


def _pair_ranks(recommendations: list[Recommendation], hits: list[Hit]) -> list[RankPair]:
    """Pair the answers by rank. A recommendation whose item was removed from the database leaves a gap."""
    recorded, replayed = {row.rank: row for row in recommendations}, dict(enumerate(hits, start=1))
    last = max([0, *recorded, *replayed])
    return [RankPair(rank, recorded.get(rank), replayed.get(rank)) for rank in range(1, last + 1)]


def _embed_again(
    query: SimilarityQuery, index: CatalogIndex, at: datetime, hits: list[Hit]
) -> tuple[list[str], list[str]]:
    """Embed the photo again and compare the vectors: notes, and changes if the vector differs."""
    if query.item_id is not None:
        return ["The query is about a catalogue item; its recorded vector, the mean of its photos, was used."], []
    try:
        vector = embed_query(query, query.answering_encoder, reuse=False).vector
    except (Refused, InputError, FileNotFoundError) as error:
        why = error.detail if isinstance(error, Refused) else str(error)
        return [f"The photo cannot be embedded again, so only the recorded vector was used: {why}"], []
    pair = [np.frombuffer(bytes(data), dtype="<f4").astype(np.float64) for data in (query.vector or b"", vector)]
    cosine = float(pair[0] @ pair[1])
    again = copy.copy(query)
    again.vector = vector
    items = [hit.item_id for hit in find_similar_items(again, index, at).hits]
    same = "the same" if items == [hit.item_id for hit in hits] else "different"
    note = f"Embedded again: cosine to the recorded vector {cosine:.7f}, {same} items."
    return [note], ["The encoder computes a different vector than the recorded one."] if cosine < SAME_VECTOR else []


def _describe_changes(ranks: list[RankPair], query: SimilarityQuery, at: datetime) -> list[str]:
    recorded = {pair.recorded.item_id: pair.recorded for pair in ranks if pair.recorded}
    replayed = {pair.replayed.item_id: pair.replayed for pair in ranks if pair.replayed}
    last = max((pair.rank for pair in ranks if pair.recorded), default=0)
    gaps = [pair.rank for pair in ranks if pair.recorded is None and pair.rank < last]
    changes = [f"The item of rank {rank} was removed, with its photos." for rank in gaps]
    changes += [_reason_missing(recorded[item].item, query, at) for item in recorded.keys() - replayed.keys()]
    changes += [_reason_new(CatalogItem.objects.get(pk=item), at) for item in replayed.keys() - recorded.keys()]
    for item in recorded.keys() & replayed.keys():
        before, after = recorded[item].score, replayed[item].score
        if abs(before - after) > TOLERANCE:
            changes.append(f"{_label(recorded[item].item)} scored {before:.5f} and scores {after:.5f} now.")
    if not changes and not all(pair.is_same for pair in ranks):
        changes.append("The same items have another order.")
    return sorted(changes)


def _reason_missing(item: CatalogItem, query: SimilarityQuery, at: datetime) -> str:
    subject = f"{_label(item)} is no longer found"
    if not item.is_active:
        return f"{subject}: it is hidden."
    if not Embedding.objects.filter(item=item, encoder=query.encoder).exists():
        return f"{subject}: its vectors were deleted."
    if not CatalogItem.objects.matching(query.filters, at).filter(pk=item.pk).exists():
        return f"{subject}: it was changed and does not match the filters."
    return f"{subject}, for an unknown reason." if item.updated_at <= at else f"{subject}: it was changed since."


def _reason_new(item: CatalogItem, at: datetime) -> str:
    subject = f"{_label(item)} is found now"
    return f"{subject}: it was changed since." if item.updated_at > at else f"{subject}, but was not then."


def _names(ranks: list[RankPair]) -> dict[int, str]:
    recorded = {pair.recorded.item_id for pair in ranks if pair.recorded}
    replayed = {pair.replayed.item_id for pair in ranks if pair.replayed}
    return {item.pk: _label(item) for item in CatalogItem.objects.filter(pk__in=recorded | replayed)}


def _label(item: CatalogItem) -> str:
    return f"{item.external_id} ({item.name})"
