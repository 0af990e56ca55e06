"""Having the vectors of an encoder in memory before it is promoted: the first query after a switch waits for nothing.

Only for processes that search. A network is loaded in a third of a second, so `gpu` workers load it when it is needed.
"""

import logging
import threading
import time
from typing import Final

from django.db import DatabaseError, close_old_connections

from catalog.models import Encoder, EncoderState
from worker.index import KEPT, index_of

EVERY_SECONDS: Final = 5.0

logger = logging.getLogger(__name__)


def keep_warm() -> None:
    """From now on, and as long as this process lives, keep up the indexes of the encoders that may answer next."""
    threading.Thread(target=_keep_warm, name="warming", daemon=True).start()


def warm() -> None:
    """Bring those indexes up to date once. That of the live encoder comes last: what was used last stays longest."""
    for encoder in reversed(likely_next()):
        index_of(encoder).refresh()


def likely_next() -> list[Encoder]:
    """The live encoder, the one before it, and the newest candidates, as many as memory is meant for."""
    candidates = Encoder.objects.in_use().filter(state=EncoderState.CANDIDATE).order_by("-pk")
    others = Encoder.objects.in_use().exclude(state=EncoderState.CANDIDATE).order_by("state")  # live, retired
    return [*others, *candidates][:KEPT]


def _keep_warm() -> None:
    while True:
        time.sleep(EVERY_SECONDS)
        warm_if_possible()


def warm_if_possible() -> None:
    """`warm`, whatever is wrong: what is missing is read when a query needs it, and that one tells."""
    close_old_connections()
    try:
        warm()
    except DatabaseError as error:
        logger.warning("The vectors could not be brought up to date: %s", error)
    except Exception:
        logger.exception("The vectors could not be brought up to date.")
