"""What a worker does once, when it is ready: take back what it held when it was killed, and warm up."""

import gc
import logging
from typing import Any

import numpy as np
from celery.signals import worker_ready
from PIL import Image

from catalog.colour import garment_colour
from catalog.models import Encoder, SharedIndex, SimilarityQuery
from ml.errors import InputError
from worker.encoders import embedder_of
from worker.index import index_of
from worker.tasks import sweep
from worker.warming import keep_warm

logger = logging.getLogger(__name__)


@worker_ready.connect
def start(sender: Any, **_: Any) -> None:
    release_own_claims(sender.hostname)
    queues = {queue.name for queue in sender.task_consumer.queues}
    warm_up(queues)
    if "cpu" in queues:
        keep_warm(sender.hostname)
    gc.collect()
    gc.freeze()  # what is there by now stays: no query waits until it has been looked through for garbage


def release_own_claims(worker: str) -> None:
    """Give back what a worker of this name held: it was this one, before it was killed. Then send it again."""
    SimilarityQuery.objects.held_by(worker).release()
    Encoder.objects.held_by(worker).release()
    SharedIndex.objects.held_by(worker).release()
    sweep()


def warm_up(queues: set[str]) -> None:
    """Load what the first query would wait for: the network on `gpu`, the vectors on `cpu`."""
    encoder = Encoder.objects.live()
    if encoder is None:
        return
    try:
        if "gpu" in queues:
            picture = Image.new("RGB", (224, 224), "white")
            embedder_of(encoder).embed([picture])
            garment_colour(picture)
        if "cpu" in queues:
            anything = np.eye(1, encoder.dim, dtype=np.float32)[0]
            index_of(encoder).refresh().search(anything, 1, encoder=encoder.name)
    except (InputError, FileNotFoundError) as error:
        logger.error("The live encoder %s cannot be loaded: %s", encoder, error)
