"""manage.py replay: answer a recorded query again, and report whether the answer is the same."""

import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from catalog.errors import Refused
from catalog.models import Recommendation, SimilarityQuery
from ml.search import Hit
from worker.queries.replay import RankPair, Replay, query_replay


class Command(BaseCommand):
    help = "Answer a query again with its encoder and the vectors of that time. Exit code 1: the answer differs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("query", help="the id of the query")

    def handle(self, *args: Any, **options: Any) -> None:
        query = _get_query(options["query"])
        try:
            replay = query_replay(query=query)
        except Refused as refused:
            raise CommandError(refused.detail, returncode=2) from None
        self.stdout.write(f"{query}, answered by {query.encoder}")
        for line in (*replay.notes, *_table(replay)):
            self.stdout.write(line)
        if not replay.is_same:
            raise CommandError("\n".join(["The answer differs.", *replay.changes]), returncode=1)
        self.stdout.write("The answer is the same.")


def _get_query(query_id: str) -> SimilarityQuery:
    try:
        query = SimilarityQuery.objects.select_related("photo", "item", "encoder").get(pk=uuid.UUID(query_id))
    except (ValueError, SimilarityQuery.DoesNotExist):
        raise CommandError(f"There is no query {query_id!r}. Pass the id of a query, a UUID.", returncode=2) from None
    return query


def _table(replay: Replay) -> list[str]:
    """One line per rank: the item, or the two items, with the recorded and the replayed score."""
    named = [(pair, _items(pair, replay.names)) for pair in replay.ranks]
    width = max((len(items) for _, items in named), default=4)
    rows = [
        f"{pair.rank:4}  {items:{width}}  {_score(pair.recorded)}  {_score(pair.replayed)}" for pair, items in named
    ]
    return [f"rank  {'item':{width}}  recorded  replayed", *rows]


def _items(pair: RankPair, names: dict[int, str]) -> str:
    recorded, replayed = (names[hit.item_id] if hit else "nothing" for hit in (pair.recorded, pair.replayed))
    return recorded if recorded == replayed else f"{recorded} -> {replayed}"


def _score(hit: Recommendation | Hit | None) -> str:
    return f"{hit.score:8.5f}" if hit else " " * 8
