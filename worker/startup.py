"""What a worker does once, when it is ready: take back what it held when it was killed, and warm up."""

import gc
import logging
import threading
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import uuid4

import numpy as np
from celery.signals import worker_ready
from django.utils import timezone
from PIL import Image

from catalog import tasks
from catalog.models import Encoder, QueryState, SharedIndex, SimilarityQuery, User
from catalog.photos.colour import garment_colour
from catalog.warmup import TIMEOUT, example_photo, run_and_roll_back
from ml.formats.errors import InputError
from worker.encoders.loaded import embedder_of
from worker.index.refresh import keep_warm
from worker.index.registry import index_of
from worker.tasks.search import embed_query, search_query
from worker.tasks.sweep import sweep

logger = logging.getLogger(__name__)


@worker_ready.connect
def start(sender: Any, **_: Any) -> None:
    release_own_claims(sender.hostname)
    queues = {queue.name for queue in sender.task_consumer.queues}
    warm_up(queues)
    rehearse_in_pool(sender.pool, queues)
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


def rehearse_in_pool(pool: Any, queues: set[str]) -> None:
    """Go the way of a query once in each of the threads that will work: connections and statements are a thread's."""
    together = threading.Barrier(pool.limit + 1, timeout=TIMEOUT)

    def meet() -> None:
        with suppress(threading.BrokenBarrierError):  # the time is over
            together.wait()

    def in_a_thread() -> None:
        run_and_roll_back(partial(_embed_and_search, queues))
        if "gpu" in queues:
            tasks.send_search_query(uuid4())  # of no query: only so that there is a connection
        meet()  # else one thread might take two turns

    for _ in range(pool.limit):
        pool.apply_async(in_a_thread)
    meet()


def _embed_and_search(queues: set[str], person: User) -> None:
    encoder = Encoder.objects.live()
    if encoder is None:
        return
    photo = example_photo(person)
    if "gpu" in queues:
        query = SimilarityQuery.objects.create(owner=person, photo=photo, state=QueryState.QUEUED)
        embed_query(str(query.pk))
    if "cpu" in queues:
        vector = np.eye(1, encoder.dim, dtype="<f4").tobytes()
        seen = {"encoder": encoder, "vector": vector, "embedded_at": timezone.now()}
        query = SimilarityQuery.objects.create(owner=person, photo=photo, state=QueryState.EMBEDDED, **seen)
        search_query(str(query.pk))
