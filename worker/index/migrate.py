"""From one kind of index to another, while the site goes on answering; and what there is."""

import logging
import os
import socket
from collections.abc import Callable
from time import sleep
from typing import Final

import numpy as np

from catalog.models import SHARED, Backend, Embedding, Encoder, SearchChoice, SharedIndex
from catalog.models.change_feed import FROM_NOW, news_since
from ml.search import Hit, IndexUnreadable, SearchError, SearchIndex
from ml.search.memory.snapshot import generation
from ml.vectors import Floats
from worker.index.backends import SharedCatalogIndex, kind_of, require_possible, shared, take_away
from worker.index.refresh import likely_next
from worker.index.snapshots import folder_of, keep, opened
from worker.index.sync import CatalogIndex

K: Final = 20  # items that two answers are compared by
COMPARED: Final = 100  # questions
ENOUGH: Final = 0.95  # of the other's items
ATTEMPTS: Final = 5
TIES: Final = 1e-5  # scores so near to each other are equal

THIS: Final = f"search_backend-{os.getpid()}@{socket.gethostname()}"  # the name on claims

Tell = Callable[[str], object]

logger = logging.getLogger(__name__)


class SwitchRefused(SearchError):
    """What was asked for would harm the answers."""


def backend_use(*, backend: Backend, force: bool = False, tell: Tell = logger.info) -> None:
    """Build the other kind of index completely, compare the two, and let it answer from the next second on.

    Until then the present one answers. Raises `SwitchRefused` where the new one finds too little, unless `force`,
    `BackendNotPossible`, and `IndexUnavailable`.
    """
    require_possible(backend)
    for encoder in likely_next():
        index = _built(encoder, backend, tell)
        share = agreement(index, _answering(encoder), encoder)
        if share is None:
            tell(f"{encoder}: no vectors yet.")
            continue
        tell(f"{encoder}: {len(index.index)} vectors; finds {share:.1%} of the {K} items that {_present()} finds.")
        if share < ENOUGH and not force:
            raise SwitchRefused(
                f"{backend} finds only {share:.1%} of what {_present()} finds; {ENOUGH:.0%} are needed. "
                "Nothing was changed. With --force it may answer all the same."
            )
    SearchChoice.choose(backend)


def backend_drop(*, backend: Backend, tell: Tell = logger.info) -> None:
    """Remove what was built of a kind that does not answer. Raises `SwitchRefused` for the one that does."""
    if backend == SearchChoice.current():
        raise SwitchRefused(f"{backend} answers the queries. Let another kind answer before you remove it.")
    if backend not in SHARED:
        raise SwitchRefused(
            f"There is nothing to remove: {backend} is in memory, and its files are those of all kinds that are."
        )
    rows = list(SharedIndex.objects.select_related("encoder").filter(backend=backend))
    for row in rows:
        _wait_for(lambda row=row: row.claim(THIS))  # type: ignore[misc]
        take_away(row)
        tell(f"The {row} is removed.")
    if not rows:
        tell(f"There was no {backend} index.")


def backend_report() -> list[str]:
    """Sentences: what answers, and for each encoder what is built and how far it is behind the rows."""
    chosen = "" if SearchChoice.objects.exists() else ", as SEARCH_BACKEND says, since nobody has chosen"
    lines = [f"{_present()} answers{chosen}."]
    for encoder in likely_next():
        rows = Embedding.objects.filter(encoder=encoder).count()
        lines.append(f"{encoder} ({encoder.get_state_display().lower()}): {rows} vectors in the rows")
        lines.append(f"  files of this machine: {_files(encoder)}")
        for row in SharedIndex.objects.select_related("encoder").filter(encoder=encoder):
            lines.append(f"  {row.backend}: {_state_of(row)}")
    return lines


def agreement(ours: CatalogIndex, theirs: CatalogIndex, encoder: Encoder) -> float | None:
    """The share of their first `K` items that are among ours, or as near. None where there is nothing to ask with.

    The questions are stored vectors, spread over all of them. The two are asked one after the other; items that
    changed in between do not count. Raises `SwitchRefused` if there are no others.
    """
    for _ in range(ATTEMPTS):
        vectors = _questions(encoder)
        if not vectors:
            return None
        before = news_since(FROM_NOW, encoder.pk)
        known = news_since(before.marker, encoder.pk).changed
        asked = np.stack(vectors)
        found, wanted = (_current(index).search_many(asked, K, encoder=encoder.name) for index in (ours, theirs))
        news = news_since(before.marker, encoder.pk, before.vector).changed
        moved = {item for item, mark in news.items() if known.get(item) != mark}
        moved |= set(encoder.embeddings.filter(pk__gt=before.vector).values_list("item_id", flat=True))
        shares = [share for pair in zip(found, wanted, strict=True) if (share := _share(*pair, moved)) is not None]
        if shares or not any(wanted):
            return sum(shares) / len(shares) if shares else 1.0
    raise SwitchRefused("Every item changes all the time, so the two cannot be compared. Try again when fewer do.")


def _questions(encoder: Encoder) -> list[Floats]:
    ids = list(Embedding.objects.filter(encoder=encoder).order_by("pk").values_list("pk", flat=True))
    asked = Embedding.objects.filter(pk__in=ids[:: max(1, len(ids) // COMPARED)][:COMPARED])
    return [np.frombuffer(bytes(vector), "<f4") for vector in asked.values_list("vector", flat=True)]


def _current(index: CatalogIndex) -> SearchIndex:
    """With all that is committed by now; of a shared one that means to wait for whoever feeds it."""
    if isinstance(index, SharedCatalogIndex):
        _wait_for(lambda: index.feed(THIS, seconds=60.0))
    return index.refresh()


def _share(found: list[Hit], wanted: list[Hit], moved: set[int]) -> float | None:
    """Of the wanted items that did not move, and that `found` had room for. None if there are none."""
    still = [hit for hit in found if hit.item_id not in moved]
    room = K - (len(found) - len(still))
    right = [hit for hit in wanted if hit.item_id not in moved][:room]
    return min(1.0, sum(hit.score >= right[-1].score - TIES for hit in still) / len(right)) if right else None


def _built(encoder: Encoder, backend: Backend, tell: Tell) -> CatalogIndex:
    tell(f"{encoder}: building the {backend} index …")
    if backend in SHARED:
        index: CatalogIndex = _filled(SharedIndex.objects.of(encoder, backend))
    else:
        index = opened(encoder, kind_of(backend, Embedding.objects.filter(encoder=encoder).count()))
        index.refresh()
    index.index.compact()
    if backend not in SHARED:
        keep(index)  # for the workers of this machine; those of others build their own before they change over
    return index


def _filled(row: SharedIndex) -> SharedCatalogIndex:
    """Filled by this process, or by a worker that is at it already."""
    index = shared(row)

    def is_ready() -> bool:
        index.feed(THIS, seconds=3600.0)
        row.refresh_from_db()
        index.row.ready_at = row.ready_at
        return row.ready_at is not None

    _wait_for(is_ready)
    return index


def _answering(encoder: Encoder) -> CatalogIndex:
    """What answers now, as a worker that has just started would have it."""
    present = SearchChoice.current()
    row = SharedIndex.objects.ready().select_related("encoder").filter(encoder=encoder, backend=present).first()
    return shared(row) if row else opened(encoder, kind_of(present))


def _present() -> str:
    return str(SearchChoice.current().value)


def _files(encoder: Encoder) -> str:
    try:
        if not generation(folder_of(encoder)):
            return "none"
    except IndexUnreadable:
        return "damaged; a worker makes them anew"
    index = opened(encoder, kind_of(Backend.EXACT))
    return f"{len(index.index)} vectors, {_behind(index)}"


def _state_of(row: SharedIndex) -> str:
    try:
        index = shared(row)
        size, behind = len(index.index), _behind(index)
    except SearchError as error:
        return str(error)
    return f"{size} vectors, {behind}" + ("" if row.ready_at else "; being filled, so it does not answer yet")


def _behind(index: CatalogIndex) -> str:
    """How far an index is behind the rows."""
    known = index.index.position
    news = news_since(known.get("change", FROM_NOW), index.encoder.pk, known.get("vector", 0))
    if known and (known.get("history"), known.get("encoder")) != (news.history, index.encoder.pk):
        return "of other rows; a worker makes it anew"
    vectors = index.encoder.embeddings.filter(pk__gt=known.get("vector", 0)).count()
    return f"{vectors} vectors and {len(news.changed)} changes behind the rows"


def _wait_for(happened: Callable[[], bool]) -> None:
    while not happened():
        sleep(0.2)
