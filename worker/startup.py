"""Start of a `gpu` or `cpu` worker: release its old claims, and warm up."""

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
from worker.index.refresh import start_threads
from worker.index.registry import index_of
from worker.tasks.search import embed_query, search_query
from worker.tasks.sweep import sweep

logger = logging.getLogger(__name__)


@worker_ready.connect
def start(sender: Any, **_: Any) -> None:
    """Prepare this worker for its first query. Runs in the main thread, before tasks are accepted."""
    release_own_claims(sender.hostname)
    queues = {queue.name for queue in sender.task_consumer.queues}
    warm_up(queues)
    warm_up_pool(sender.pool, queues)
    if "cpu" in queues:
        start_threads(sender.hostname)
    gc.collect()
    gc.freeze()  # the loaded objects stay: the garbage collector need not scan them during a query


def release_own_claims(worker: str) -> None:
    """Release what this worker held before it was killed, and send it again. `worker`: its Celery node name."""
    SimilarityQuery.objects.held_by(worker).release_claims()
    Encoder.objects.held_by(worker).release_claims()
    SharedIndex.objects.held_by(worker).release_claims()
    sweep()


def warm_up(queues: set[str]) -> None:
    """Load the network on `gpu` and the index on `cpu`; otherwise the first query would wait for them."""
    encoder = Encoder.objects.live()
    if encoder is None:
        return
    try:
        if "gpu" in queues:
            picture = Image.new("RGB", (224, 224), "white")
            embedder_of(encoder).embed([picture])
            garment_colour(picture)
        if "cpu" in queues:
            any_vector = np.eye(1, encoder.dim, dtype=np.float32)[0]
            index_of(encoder).refresh().search(any_vector, 1, encoder=encoder.name)
    except (InputError, FileNotFoundError) as error:
        logger.error("The live encoder %s cannot be loaded: %s", encoder, error)


def warm_up_pool(pool: Any, queues: set[str]) -> None:
    """Run a rehearsal query in each thread of the pool: connections and prepared statements belong to a thread."""
    barrier = threading.Barrier(pool.limit + 1, timeout=TIMEOUT)

    def wait_for_all() -> None:
        with suppress(threading.BrokenBarrierError):  # timed out
            barrier.wait()

    def rehearse() -> None:
        run_and_roll_back(partial(_embed_and_search, queues))
        if "gpu" in queues:
            tasks.send_search_query(uuid4())  # the id of no query: opens the broker connection
        wait_for_all()  # otherwise one thread could run two rehearsals

    for _ in range(pool.limit):
        pool.apply_async(rehearse)
    wait_for_all()


def _embed_and_search(queues: set[str], user: User) -> None:
    encoder = Encoder.objects.live()
    if encoder is None:
        return
    photo = example_photo(user)
    if "gpu" in queues:
        query = SimilarityQuery.objects.create(owner=user, photo=photo, state=QueryState.QUEUED)
        embed_query(str(query.pk))
    if "cpu" in queues:
        vector = np.eye(1, encoder.dim, dtype="<f4").tobytes()
        columns = {"encoder": encoder, "vector": vector, "embedded_at": timezone.now()}
        query = SimilarityQuery.objects.create(owner=user, photo=photo, state=QueryState.EMBEDDED, **columns)
        search_query(str(query.pk))
