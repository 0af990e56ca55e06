"""From the bytes of a photo to a query in the queue."""

import time
from typing import Any

from django.db import IntegrityError, transaction

from catalog import queue
from catalog.models import SimilarityQuery, UploadedPhoto, User
from catalog.services.uploads import upload_prepare


def query_create(
    *,
    photo: bytes | UploadedPhoto,
    owner: User | None = None,
    visitor: str = "",
    k: int = 10,
    filters: dict[str, Any] | None = None,
    diversity: float = 0.0,
    receive_ms: float = 0.0,
) -> SimilarityQuery:
    """Store the photo, if it is new, and queue a query for it: the rows in one transaction, the message after it.

    `photo` is a picture as it was sent, or an earlier one of the same person; `owner` or `visitor` says whose it is.
    `receive_ms` is what it took to arrive. Raises `Refused` for bytes that are no usable picture; nothing is left then.
    """
    started = time.perf_counter()
    upload = upload_prepare(raw=photo, owner=owner, visitor=visitor) if isinstance(photo, bytes) else photo
    timings = {"receive": round(receive_ms, 2), "clean": round((time.perf_counter() - started) * 1000, 2)}
    is_new = upload._state.adding
    query = SimilarityQuery(
        owner=owner,
        visitor=visitor,
        photo=upload,
        k=k,
        filters=filters or {},
        diversity=diversity,
        timings=timings,
    )
    try:
        _save(upload, query)
    except BaseException as error:
        if not is_new:
            raise
        upload.file.delete(save=False)
        twin = UploadedPhoto.objects.of(user=owner, visitor=visitor).filter(source_sha256=upload.source_sha256).first()
        if not isinstance(error, IntegrityError) or twin is None:
            raise
        query.photo = twin  # the same picture came twice at the same moment, and the other request stored it
        _save(twin, query)
    return query


def _save(upload: UploadedPhoto, query: SimilarityQuery) -> None:
    with transaction.atomic():
        if upload._state.adding:
            upload.save(force_insert=True)
        query.save(force_insert=True)
        queue.send_embed_query(query.pk)
