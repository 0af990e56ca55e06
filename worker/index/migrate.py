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

K: Final = 20  # items per answer that is compared
QUESTIONS: Final = 100  # answers that are compared
MIN_AGREEMENT: Final = 0.95  # share of the present index's items
ATTEMPTS: Final = 5
TIE_TOLERANCE: Final = 1e-5  # scores closer than this count as equal

CLAIM_NAME: Final = f"search_backend-{os.getpid()}@{socket.gethostname()}"

WriteLine = Callable[[str], object]

logger = logging.getLogger(__name__)


class SwitchRefused(SearchError):
    """The requested change would harm the answers."""

    code = "switch_refused"


class NotComparable(SwitchRefused):
    """Every item kept changing while two indexes were compared."""

    code = "indexes_not_comparable"


def backend_use(*, backend: Backend, force: bool = False, write: WriteLine = logger.info) -> None:
    """Build the index of a backend completely, compare it with the present one, and let it answer from then on.

    Until then the present one answers. `write` gets progress lines. Raises `SwitchRefused` if the new index finds too
    few of the present one's items, unless `force`; `BackendUnavailable`; and `IndexUnavailable`.
    """
    require_available(backend)
    for encoder in servable_encoders():
        index = _build(encoder, backend, write)
        share = agreement(index, _present_index(encoder), encoder)
        if share is None:
            write(f"{encoder}: no vectors yet.")
            continue
        write(f"{encoder}: {len(index.index)} vectors; finds {share:.1%} of the {K} items that {_present()} finds.")
        if share < MIN_AGREEMENT and not force:
            raise SwitchRefused(
                f"{backend} finds only {share:.1%} of the items that {_present()} finds; {MIN_AGREEMENT:.0%} are "
                f"needed. {_present()} stays in use. Use --force to switch all the same.",
            )
    SearchChoice.choose(backend)


def backend_drop(*, backend: Backend, write: WriteLine = logger.info) -> None:
    """Remove the shared indexes of a backend. Raises `SwitchRefused` for the one that answers and those in memory."""
    if backend == SearchChoice.current():
        raise SwitchRefused(f"{backend} answers the queries. Let another backend answer before you remove it.")
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
    """Lines for people: which backend answers, and for each encoder which indexes exist and how current they are."""
    default = "" if SearchChoice.objects.exists() else " (from the setting SEARCH_BACKEND)"
    lines = [f"{_present()} answers{default}."]
    for encoder in servable_encoders():
        rows = Embedding.objects.filter(encoder=encoder).count()
        lines.append(f"{encoder} ({encoder.get_state_display().lower()}): {rows} vectors in the database")
        lines.append(f"  files of this machine: {_describe_files(encoder)}")
        for row in SharedIndex.objects.select_related("encoder").filter(encoder=encoder):
            lines.append(f"  {row.backend}: {_describe_shared(row)}")
    return lines


def agreement(candidate: CatalogIndex, present: CatalogIndex, encoder: Encoder) -> float | None:
    """The share of the present index's first `K` items that the candidate finds, or items with equal scores.

    None if there are no vectors.

    The queries are stored vectors, spread over all of them. The two indexes are searched one after the other; items
    that changed in between do not count. Raises `NotComparable` if every item keeps changing.
    """
    for _ in range(ATTEMPTS):
        vectors = _sample_vectors(encoder)
        if not vectors:
            return None
        before = changes_since(FROM_NOW, encoder.pk)
        versions = changes_since(before.cursor, encoder.pk).changed
        queries = np.stack(vectors)
        found, expected = (
            _up_to_date(index).search_many(queries, K, encoder=encoder.name) for index in (candidate, present)
        )
        changes = changes_since(before.cursor, encoder.pk, before.vector).changed
        changed = {item for item, version in changes.items() if versions.get(item) != version}
        changed |= set(encoder.embeddings.filter(pk__gt=before.vector).values_list("item_id", flat=True))
        pairs = zip(found, expected, strict=True)
        shares = [share for pair in pairs if (share := _recall(*pair, changed)) is not None]
        if shares or not any(expected):
            return sum(shares) / len(shares) if shares else 1.0
    raise NotComparable(
        "Every item kept changing, so the two indexes could not be compared. Try again when there are fewer changes."
    )


def _sample_vectors(encoder: Encoder) -> list[Floats]:
    ids = list(Embedding.objects.filter(encoder=encoder).order_by("pk").values_list("pk", flat=True))
    sample = Embedding.objects.filter(pk__in=ids[:: max(1, len(ids) // QUESTIONS)][:QUESTIONS])
    return [np.frombuffer(bytes(vector), "<f4") for vector in sample.values_list("vector", flat=True)]


def _up_to_date(index: CatalogIndex) -> SearchIndex:
    """The index with all committed rows; a shared one may have to wait for the process that writes to it."""
    if isinstance(index, SharedCatalogIndex):
        _wait_for(lambda: index.sync(CLAIM_NAME, seconds=60.0))
    return index.refresh()


def _recall(found: list[Hit], expected: list[Hit], changed: set[int]) -> float | None:
    """The share of the unchanged expected items that `found` had room for. None if there are none."""
    unchanged = [hit for hit in found if hit.item_id not in changed]
    room = K - (len(found) - len(unchanged))
    right = [hit for hit in expected if hit.item_id not in changed][:room]
    if not right:
        return None
    return min(1.0, sum(hit.score >= right[-1].score - TIE_TOLERANCE for hit in unchanged) / len(right))


def _build(encoder: Encoder, backend: Backend, write: WriteLine) -> CatalogIndex:
    write(f"{encoder}: building the {backend} index …")
    if backend in SHARED:
        index: CatalogIndex = _fill(SharedIndex.objects.get_or_create_for(encoder, backend))
    else:
        index = load_index(encoder, index_class(backend, Embedding.objects.filter(encoder=encoder).count()))
        index.refresh()
    index.index.compact()
    if backend not in SHARED:
        sync_snapshot(index)  # for the workers of this machine; those of others build theirs before they switch
    return index


def _fill(row: SharedIndex) -> SharedCatalogIndex:
    """Fill a shared index, or wait for a worker that is filling it."""
    index = open_shared(row)

    def is_ready() -> bool:
        index.sync(CLAIM_NAME, seconds=3600.0)
        row.refresh_from_db()
        index.row.ready_at = row.ready_at
        return row.ready_at is not None

    _wait_for(is_ready)
    return index


def _present_index(encoder: Encoder) -> CatalogIndex:
    """The index that answers now, as a worker that has just started would open it."""
    present = SearchChoice.current()
    row = SharedIndex.objects.ready().select_related("encoder").filter(encoder=encoder, backend=present).first()
    return open_shared(row) if row else load_index(encoder, index_class(present))


def _present() -> str:
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
    """How far an index is behind the database."""
    position = index.index.position
    changes = changes_since(position.get("change", FROM_NOW), index.encoder.pk, position.get("vector", 0))
    if position and (position.get("history"), position.get("encoder")) != (changes.feed_id, index.encoder.pk):
        return "of another database; a worker rebuilds it"
    vectors = index.encoder.embeddings.filter(pk__gt=position.get("vector", 0)).count()
    return f"{vectors} vectors and {len(changes.changed)} changes behind the database"


def _wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        sleep(0.2)
