"""Background threads of a `cpu` worker: keep its indexes up to date, compacted and saved, so that no query waits.

`gpu` workers have no such thread: the first query loads a network in a third of a second.
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from django.db import DatabaseError, close_old_connections

from catalog.models import SHARED, Encoder, EncoderState, SearchChoice, SharedIndex
from ml.formats.errors import InputError
from worker.index.backends import SharedCatalogIndex, close_removed, open_shared, remove_shared
from worker.index.registry import MAX_INDEXES, open_indexes, refresh_index, release_shared
from worker.index.snapshots import remove_orphaned_folders, sync_snapshot

SYNC_INTERVAL: Final = 1.0  # seconds
MAINTENANCE_INTERVAL: Final = 5.0

logger = logging.getLogger(__name__)


def start_threads(worker: str) -> None:
    """Start the threads; they run as long as this process. `worker`: its name on claims."""
    jobs = {
        "sync": (partial(sync_shared, worker), SYNC_INTERVAL),
        "refresh": (refresh_all, SYNC_INTERVAL),
        "maintain": (partial(maintain, worker), MAINTENANCE_INTERVAL),
    }
    for name, (job, pause) in jobs.items():  # one thread per job, so that a slow job delays no other
        threading.Thread(target=_repeat, args=(job, pause), name=name, daemon=True).start()


def sync_shared(worker: str) -> None:
    """Bring the shared indexes up to date: those of the live backend, and others that were built earlier."""
    backend, rows = SearchChoice.current(), list(SharedIndex.objects.select_related("encoder"))
    encoders = servable_encoders() if rows or backend in SHARED else []
    if backend in SHARED:
        present = {(row.encoder_id, row.backend) for row in rows}
        missing = [encoder for encoder in encoders if (encoder.pk, backend) not in present]
        rows += [SharedIndex.objects.get_or_create_for(encoder, backend) for encoder in missing]
    release_shared({row.pk for row in rows if row.ready_at})
    close_removed(rows)
    for row in rows:
        if row.encoder in encoders:
            ignore_errors(partial(_sync, row, worker))


def _sync(row: SharedIndex, worker: str) -> None:
    open_shared(row).sync(worker)


def refresh_all() -> None:
    """Bring this process's indexes up to date. The live encoder's comes last, so that it is evicted last."""
    backend = SearchChoice.current()
    for encoder in reversed(servable_encoders()):
        ignore_errors(partial(refresh_index, encoder, backend))


def maintain(worker: str) -> None:
    """Save and compact the indexes, and remove those of deleted and retired encoders."""
    for index in open_indexes():
        if not isinstance(index, SharedCatalogIndex):
            sync_snapshot(index)
    remove_orphaned_folders()
    encoders = servable_encoders()
    for row in SharedIndex.objects.select_related("encoder"):
        if row.encoder in encoders:
            ignore_errors(partial(_compact, row))
        elif row.claim(worker):
            ignore_errors(partial(remove_shared, row))


def _compact(row: SharedIndex) -> None:
    if row.claim_compaction():
        try:
            open_shared(row).index.compact()
        finally:
            row.end_compaction()


def servable_encoders() -> list[Encoder]:
    """Return the live encoder, the previous live encoder and the newest candidates: at most `MAX_INDEXES`."""
    candidates = Encoder.objects.in_use().filter(state=EncoderState.CANDIDATE).order_by("-pk")
    others = Encoder.objects.in_use().exclude(state=EncoderState.CANDIDATE).order_by("state")  # live, retired
    return [*others, *candidates][:MAX_INDEXES]


def ignore_errors(job: Callable[[], object]) -> None:
    """Run `job`, only logging its errors; the next query repeats the work and reports them."""
    try:
        job()
    except (DatabaseError, InputError) as error:
        logger.warning("An index could not be brought up to date; the next round tries again: %s", error)
    except Exception:
        logger.exception("An index could not be brought up to date; the next round tries again.")


def _repeat(job: Callable[[], None], pause: float) -> None:
    while True:
        time.sleep(pause)
        close_old_connections()
        ignore_errors(job)
