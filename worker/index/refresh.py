"""Keeping indexes up to date, tidy and saved while nobody waits for it: the first query after anything is a fast one.

Only for processes that search. A network is loaded in a third of a second, so `gpu` workers load it when it is needed.
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
from worker.index.backends import SharedCatalogIndex, forget_closed, shared, take_away
from worker.index.registry import KEPT, follow, in_use, stop_asking
from worker.index.snapshots import keep, remove_folders_of_the_gone

FEED_EVERY: Final = 1.0  # seconds
TIDY_EVERY: Final = 5.0

logger = logging.getLogger(__name__)


def keep_warm(worker: str) -> None:
    """From now on, and as long as this process lives, keep up the indexes of the encoders that may answer next."""
    jobs = {"feeding": partial(feed, worker), "warming": warm, "tidying": partial(tidy, worker)}
    for name, job in jobs.items():  # each in a thread of its own: none waits for another
        pause = TIDY_EVERY if name == "tidying" else FEED_EVERY
        threading.Thread(target=_repeat, args=(job, pause), name=name, daemon=True).start()


def feed(worker: str) -> None:
    """Bring the shared indexes up to date: those that are chosen, and others that somebody had built."""
    backend, rows = SearchChoice.current(), list(SharedIndex.objects.select_related("encoder"))
    encoders = likely_next() if rows or backend in SHARED else []
    if backend in SHARED:
        known = {(row.encoder_id, row.backend) for row in rows}
        rows += [SharedIndex.objects.of(one, backend) for one in encoders if (one.pk, backend) not in known]
    stop_asking({row.pk for row in rows if row.ready_at})
    forget_closed(rows)
    for row in rows:
        if row.encoder in encoders:
            if_possible(partial(_feed, row, worker))


def _feed(row: SharedIndex, worker: str) -> None:
    shared(row).feed(worker)


def warm() -> None:
    """Bring the indexes that answer up to date. The live encoder comes last: what was used last stays longest."""
    backend = SearchChoice.current()
    for encoder in reversed(likely_next()):
        if_possible(partial(follow, encoder, backend))


def tidy(worker: str) -> None:
    """Save and tidy up what is worth it, and remove what belongs to nobody any more."""
    for index in in_use():
        if not isinstance(index, SharedCatalogIndex):
            keep(index)
    remove_folders_of_the_gone()
    encoders = likely_next()
    for row in SharedIndex.objects.select_related("encoder"):
        if row.encoder in encoders:
            if_possible(partial(_tidy_up, row))
        elif row.claim(worker):
            if_possible(partial(take_away, row))


def _tidy_up(row: SharedIndex) -> None:
    if row.claim_tidying():
        try:
            shared(row).index.compact()
        finally:
            row.end_tidying()


def likely_next() -> list[Encoder]:
    """The live encoder, the one before it, and the newest candidates, as many as memory is meant for."""
    candidates = Encoder.objects.in_use().filter(state=EncoderState.CANDIDATE).order_by("-pk")
    others = Encoder.objects.in_use().exclude(state=EncoderState.CANDIDATE).order_by("state")  # live, retired
    return [*others, *candidates][:KEPT]


def if_possible(job: Callable[[], object]) -> None:
    """Do a job, whatever is wrong: what is missing is made up for when a query needs it, and that one tells."""
    try:
        job()
    except (DatabaseError, InputError) as error:
        logger.warning("The vectors could not be brought up to date: %s", error)
    except Exception:
        logger.exception("The vectors could not be brought up to date.")


def _repeat(job: Callable[[], None], pause: float) -> None:
    while True:
        time.sleep(pause)
        close_old_connections()
        if_possible(job)
