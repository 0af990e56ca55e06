"""Migrate from one search backend to another while the site answers (`manage.py search_backend`)."""

import logging
import os
import socket
from collections.abc import Callable
from time import sleep
from typing import Final

import numpy as np

from catalog.models import SHARED, Backend, Embedding, Encoder, SearchChoice, SharedIndex
from catalog.models.change_feed import FROM_NOW, changes_since
from ml.search import Hit, IndexUnreadable, SearchError, SearchIndex
from ml.search.memory.snapshot import generation
from ml.vectors import Floats
from worker.index.backends import SharedCatalogIndex, index_class, open_shared, remove_shared, require_available
from worker.index.refresh import servable_encoders
from worker.index.snapshots import load_index, snapshot_folder, sync_snapshot
from worker.index.sync import CatalogIndex

K: Final = 20  # items per compared answer
QUERIES: Final = 100  # compared answers
MIN_RECALL: Final = 0.95  # share of the current index's items that a new index must find
ATTEMPTS: Final = 5
TIE_TOLERANCE: Final = 1e-5  # scores closer than this count as equal

CLAIM_NAME: Final = f"search_backend-{os.getpid()}@{socket.gethostname()}"

WriteLine = Callable[[str], object]

logger = logging.getLogger(__name__)


class SwitchRefused(SearchError):
    """The requested change of the search backend would worsen or stop the answers."""

    code = "switch_refused"


class NotComparable(SwitchRefused):
    """The recall could not be measured, since every item changed during each attempt."""

    code = "indexes_not_comparable"


def backend_use(*, backend: Backend, force: bool = False, write: WriteLine = logger.info) -> None:
    """Build the index of a backend, measure its recall against the current index, and make it the live one.

    The current index answers until then. `write` gets progress lines. Raises `SwitchRefused` if the recall is below
    `MIN_RECALL`, unless `force`; `BackendUnavailable`; and `IndexUnavailable`.
    """
    require_available(backend)
    for encoder in servable_encoders():
        index = _build(encoder, backend, write)
        share = measure_recall(index, _current_index(encoder), encoder)
        if share is None:
            write(f"{encoder}: no vectors yet.")
            continue
        write(
            f"{encoder}: {len(index.index)} vectors; finds {share:.1%} of the {K} items that {_current_name()} finds."
        )
        if share < MIN_RECALL and not force:
            raise SwitchRefused(
                f"{backend} finds only {share:.1%} of the items that {_current_name()} finds; {MIN_RECALL:.0%} are "
                f"needed. {_current_name()} stays in use. Use --force to switch anyway.",
            )
    SearchChoice.choose(backend)


def backend_drop(*, backend: Backend, write: WriteLine = logger.info) -> None:
    """Remove the shared indexes of a backend. Raises `SwitchRefused` for the live backend and in-memory backends."""
    if backend == SearchChoice.current():
        raise SwitchRefused(f"{backend} answers the queries. Switch to another backend before you remove {backend}.")
    if backend not in SHARED:
        raise SwitchRefused(
            f"There is nothing to remove: {backend} is in memory, and its files serve every backend in memory.",
        )
    rows = list(SharedIndex.objects.select_related("encoder").filter(backend=backend))
    for row in rows:
        _wait_for(lambda row=row: row.claim(CLAIM_NAME))  # type: ignore[misc]
        remove_shared(row)
        write(f"The {row} is removed.")
    if not rows:
        write(f"There was no {backend} index.")


def backend_report() -> list[str]:
    """Return lines for people: the live backend, and for each encoder the existing indexes and their lag."""
    default = "" if SearchChoice.objects.exists() else " (from the setting SEARCH_BACKEND)"
    lines = [f"{_current_name()} answers{default}."]
    for encoder in servable_encoders():
        rows = Embedding.objects.filter(encoder=encoder).count()
        lines.append(f"{encoder} ({encoder.get_state_display().lower()}): {rows} vectors in the database")
        lines.append(f"  files of this machine: {_describe_files(encoder)}")
        for row in SharedIndex.objects.select_related("encoder").filter(encoder=encoder):
            lines.append(f"  {row.backend}: {_describe_shared(row)}")
    return lines


def measure_recall(candidate: CatalogIndex, current: CatalogIndex, encoder: Encoder) -> float | None:
    """Return the recall at `K` of the candidate against the current index; None if there are no vectors.

    Items with equal scores count as found. The queries are an even sample of the stored vectors. The two indexes are
    searched one after the other; items that changed in between are ignored. Raises `NotComparable` if every item
    changed in each of `ATTEMPTS` attempts.
    """
    for _ in range(ATTEMPTS):
        vectors = _sample_vectors(encoder)
        if not vectors:
            return None
        before = changes_since(FROM_NOW, encoder.pk)
        versions = changes_since(before.cursor, encoder.pk).changed
        queries = np.stack(vectors)
        answers, expected = (
            _up_to_date(index).search_many(queries, K, encoder=encoder.name) for index in (candidate, current)
        )
        changes = changes_since(before.cursor, encoder.pk, before.vector).changed
        changed = {item for item, version in changes.items() if versions.get(item) != version}
        changed |= set(encoder.embeddings.filter(pk__gt=before.vector).values_list("item_id", flat=True))
        pairs = zip(answers, expected, strict=True)
        shares = [share for pair in pairs if (share := _recall(*pair, changed)) is not None]
        if shares or not any(expected):
            return sum(shares) / len(shares) if shares else 1.0
    raise NotComparable(
        "The two indexes could not be compared, because every item changed. Try again when there are fewer changes."
    )


def _sample_vectors(encoder: Encoder) -> list[Floats]:
    ids = list(Embedding.objects.filter(encoder=encoder).order_by("pk").values_list("pk", flat=True))
    sample = Embedding.objects.filter(pk__in=ids[:: max(1, len(ids) // QUERIES)][:QUERIES])
    return [np.frombuffer(bytes(vector), "<f4") for vector in sample.values_list("vector", flat=True)]


def _up_to_date(index: CatalogIndex) -> SearchIndex:
    """Return the index with all committed rows; waits for the process that writes to a shared index."""
    if isinstance(index, SharedCatalogIndex):
        _wait_for(lambda: index.sync(CLAIM_NAME, seconds=60.0))
    return index.refresh()


def _recall(hits: list[Hit], expected: list[Hit], changed: set[int]) -> float | None:
    """Return the recall of `hits`, ignoring changed items; None if all expected items changed.

    Each changed item among `hits` took one of `K` slots, so that many fewer items are expected.
    """
    unchanged = [hit for hit in hits if hit.item_id not in changed]
    slots = K - (len(hits) - len(unchanged))
    relevant = [hit for hit in expected if hit.item_id not in changed][:slots]
    if not relevant:
        return None
    return min(1.0, sum(hit.score >= relevant[-1].score - TIE_TOLERANCE for hit in unchanged) / len(relevant))


def _build(encoder: Encoder, backend: Backend, write: WriteLine) -> CatalogIndex:
    write(f"{encoder}: building the {backend} index …")
    if backend in SHARED:
        index: CatalogIndex = _fill(SharedIndex.objects.get_or_create_for(encoder, backend))
    else:
        index = load_index(encoder, index_class(backend, Embedding.objects.filter(encoder=encoder).count()))
        index.refresh()
    index.index.compact()
    if backend not in SHARED:
        sync_snapshot(index)  # for the workers of this machine; workers elsewhere build their own before they switch
    return index


def _fill(row: SharedIndex) -> SharedCatalogIndex:
    """Fill a shared index, or wait until another worker has filled it."""
    index = open_shared(row)

    def is_ready() -> bool:
        index.sync(CLAIM_NAME, seconds=3600.0)
        row.refresh_from_db()
        index.row.ready_at = row.ready_at
        return row.ready_at is not None

    _wait_for(is_ready)
    return index


def _current_index(encoder: Encoder) -> CatalogIndex:
    """Return the live index, as a worker that has just started would open it."""
    backend = SearchChoice.current()
    row = SharedIndex.objects.ready().select_related("encoder").filter(encoder=encoder, backend=backend).first()
    return open_shared(row) if row else load_index(encoder, index_class(backend))


def _current_name() -> str:
    return str(SearchChoice.current().value)


def _describe_files(encoder: Encoder) -> str:
    try:
        if not generation(snapshot_folder(encoder)):
            return "none"
    except IndexUnreadable:
        return "damaged; a worker rebuilds them"
    index = load_index(encoder, index_class(Backend.EXACT))
    return f"{len(index.index)} vectors, {_lag(index)}"


def _describe_shared(row: SharedIndex) -> str:
    try:
        index = open_shared(row)
        size, lag = len(index.index), _lag(index)
    except SearchError as error:
        return str(error)
    return f"{size} vectors, {lag}" + ("" if row.ready_at else "; not ready to answer until it is filled")


def _lag(index: CatalogIndex) -> str:
    """Describe how far an index is behind the database."""
    position = index.index.position
    changes = changes_since(position.get("change", FROM_NOW), index.encoder.pk, position.get("vector", 0))
    if position and (position.get("history"), position.get("encoder")) != (changes.feed_id, index.encoder.pk):
        return "of another database; a worker rebuilds it"
    vectors = index.encoder.embeddings.filter(pk__gt=position.get("vector", 0)).count()
    return f"{vectors} vectors and {len(changes.changed)} changes behind the database"


def _wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        sleep(0.2)
