"""Context manager for the work on a claimed row: records a failure or requeues the row when an error ends it."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from catalog.errors import ClaimLost, Refused

logger = logging.getLogger(__name__)

Record = Callable[[Exception], object]


@contextmanager
def claimed(
    *,
    fail: Record,
    requeue: Record,
    permanent: tuple[type[Exception], ...] = (Refused,),
    transient: tuple[type[Exception], ...] = (),
) -> Iterator[None]:
    """Run the block on a claimed row and record the error that stopped it.

    `fail` records a `permanent` error: the same input would fail again. `requeue` makes the row available again after
    a `transient` error, which is swallowed, and after any other error, which is a bug and is re-raised. A lost claim
    (`ClaimLost`) is logged and swallowed wherever it is raised, also by `fail` and `requeue`: the row belongs to
    another worker, or was deleted.
    """
    try:
        yield
    except ClaimLost as lost:
        logger.warning("%s", lost)
    except permanent as error:
        _record(fail, error)
    except transient as error:
        _record(requeue, error)
    except Exception as error:
        _record(requeue, error)
        raise


def _record(write: Record, error: Exception) -> None:
    try:
        write(error)
    except ClaimLost as lost:
        logger.warning("%s", lost)
