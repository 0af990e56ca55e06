"""manage.py replay: answer a recorded query once more, and tell whether the answer is the same."""

import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from catalog.errors import Refused
from catalog.models import Recommendation, SimilarityQuery
from ml.search import Hit
from worker.queries.replay import Line, Replay, query_replay


class Command(BaseCommand):
    help = "Answer a query again by the encoder, and among the vectors, of then. Exit code 1: the answer differs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("query", help="its id")

    def handle(self, *args: Any, **options: Any) -> None:
        query = _query_of(options["query"])
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


def _query_of(given: str) -> SimilarityQuery:
    try:
        query = SimilarityQuery.objects.select_related("photo", "item", "encoder").get(pk=uuid.UUID(given))
    except (ValueError, SimilarityQuery.DoesNotExist):
        raise CommandError(f"No query has the id {given!r}.", returncode=2) from None
    return query


def _table(replay: Replay) -> list[str]:
    """One line for each rank: the item, or the two items, with the score of then and that of now."""
    shown = [(line, _items(line, replay.names)) for line in replay.lines]
    width = max((len(items) for _, items in shown), default=4)
    rows = [f"{line.rank:4}  {items:{width}}  {_score(line.then)}  {_score(line.now)}" for line, items in shown]
    return [f"rank  {'item':{width}}  recorded  replayed", *rows]


def _items(line: Line, names: dict[int, str]) -> str:
    then, now = (names[found.item_id] if found else "nothing" for found in (line.then, line.now))
    return then if then == now else f"{then} -> {now}"


def _score(found: Recommendation | Hit | None) -> str:
    return f"{found.score:8.5f}" if found else " " * 8
