"""From what is asked about to a query in the queue."""

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from catalog import tasks
from catalog.errors import Refused
from catalog.models import CatalogItem, QueryState, SimilarityQuery, UploadedPhoto, User
from catalog.photos.clean import source_hash
from catalog.photos.crops import Crop, require_large_enough
from catalog.services.queries.webhooks import webhook_create
from catalog.services.uploads import upload_prepare

Picture = bytes | UploadedPhoto
"""A picture as it was sent, or an earlier one of the same person."""

_ATTEMPTS = 3  # of requests with the same pictures at the same moment each loses to another at most so often


def query_create(
    *,
    photo: Picture | None = None,
    more_photos: Sequence[Picture] = (),
    photo_url: str = "",
    item: CatalogItem | None = None,
    owner: User | None = None,
    visitor: str = "",
    k: int = 10,
    filters: dict[str, Any] | None = None,
    diversity: float = 0.0,
    min_score: float | None = None,
    crop: Crop | None = None,
    callback_url: str = "",
    idempotency_key: str | None = None,
    receive_ms: float = 0.0,
) -> SimilarityQuery:
    """Store the photos that are new and queue a query about them: the rows in one transaction, the message after it.

    One of `photo`, `photo_url` and `item` says what is asked about; `more_photos` show the garment of `photo` again.
    `owner` or `visitor` says whose all of it is. `receive_ms` is what it took to arrive. An owner may have a
    `callback_url` told of the end. An owner who uses an `idempotency_key` again gets the query that it made, with
    `is_replay` set.

    Raises `Refused` for bytes that are no usable picture, for a crop of which too little is left, and for a key that
    came with another request before; nothing is left then.
    """
    started = time.perf_counter()
    pictures = _different(picture for picture in (photo, *more_photos) if picture is not None)
    query = SimilarityQuery(
        owner=owner,
        visitor=visitor,
        source_url=photo_url,
        item=item,
        k=k,
        filters=filters or {},
        diversity=diversity,
        min_score=min_score,
        crop=crop,
        state=QueryState.TO_FETCH if photo_url else QueryState.QUEUED,
        idempotency_key=idempotency_key,
    )
    if idempotency_key is not None:
        query.request_sha256 = _request_hash(query, pictures, callback_url)
        if earlier := _earlier(query):
            return earlier
    for _ in range(_ATTEMPTS):
        uploads = _uploads(pictures, query)
        query.created_at = query.nudged_at = timezone.now()  # its way begins when its photos are clean
        query.timings = {"receive": round(receive_ms, 2), "clean": round((time.perf_counter() - started) * 1000, 2)}
        if _stored(uploads, query, callback_url):
            return query
        # Another request came between our look and our write, with the same picture or under the same key.
        if earlier := _earlier(query):
            return earlier
    raise Refused("photo_gone", "The photo was deleted meanwhile. Please send it again.", status=410)


def query_delete(*, query: SimilarityQuery) -> None:
    """Delete a query with its answer. Its photos stay; a worker that is at it finds nothing to write to."""
    query.delete()


def _different(given: Iterable[Picture]) -> list[Picture]:
    """Each picture once, in order: a garment's photo sent twice would count twice."""
    pictures = list(given)
    if len(pictures) < 2:  # nothing to compare; a large one takes milliseconds to hash
        return pictures
    return list({_hash_of(picture): picture for picture in pictures}.values())


def _hash_of(picture: Picture) -> str:
    return source_hash(picture) if isinstance(picture, bytes) else picture.source_sha256


def _request_hash(query: SimilarityQuery, pictures: list[Picture], callback_url: str) -> str:
    """What makes two requests the same: all that is asked, not how it was sent."""
    asked = {
        "pictures": [_hash_of(picture) for picture in pictures],
        "url": query.source_url,
        "item": query.item_id,
        "k": query.k,
        "filters": query.filters,
        "diversity": query.diversity,
        "min_score": query.min_score,
        "crop": query.crop,
        **({"callback_url": callback_url} if callback_url else {}),  # as it was before there were any
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _earlier(query: SimilarityQuery) -> SimilarityQuery | None:
    """The query that the same request made before. Refused if its key came with another request."""
    if query.idempotency_key is None:
        return None
    mine = SimilarityQuery.objects.owned_by(user=query.owner)
    earlier = mine.filter(idempotency_key=query.idempotency_key).defer("vector").first()
    if earlier is None:
        return None
    if earlier.request_sha256 != query.request_sha256:
        raise Refused(
            "idempotency_key_reused",
            "This Idempotency-Key came with another request before. Use a new one.",
            status=422,
        )
    earlier.is_replay = True
    return earlier


def _uploads(pictures: list[Picture], query: SimilarityQuery) -> list[UploadedPhoto]:
    """The rows of the pictures, those that are new not yet saved but with their files stored."""
    uploads: list[UploadedPhoto] = []
    try:
        for picture in pictures:
            uploads.append(_upload(picture, query))
        if query.crop is not None and uploads:
            require_large_enough(query.crop, uploads[0].width, uploads[0].height)
    except BaseException:
        _remove_files(_new_among(uploads))
        raise
    return uploads


def _upload(picture: Picture, query: SimilarityQuery) -> UploadedPhoto:
    if isinstance(picture, UploadedPhoto):
        return picture
    return upload_prepare(raw=picture, owner=query.owner, visitor=query.visitor)


def _stored(uploads: list[UploadedPhoto], query: SimilarityQuery, callback_url: str) -> bool:
    """Whether all rows could be written; if not, no row and no new file is left."""
    new = _new_among(uploads)
    try:
        _save(uploads, query, callback_url)
    except IntegrityError:
        _remove_files(new)
        return False
    except BaseException:
        _remove_files(new)
        raise
    return True


def _save(uploads: list[UploadedPhoto], query: SimilarityQuery, callback_url: str) -> None:
    with transaction.atomic():
        # In an order of their own: two requests with the same two pictures never wait for each other crosswise.
        for upload in sorted(_new_among(uploads), key=lambda upload: upload.source_sha256):
            upload.save(force_insert=True)
        query.photo = uploads[0] if uploads else None
        query.save(force_insert=True)
        query.has_more_photos, query.has_webhook = bool(uploads[1:]), bool(callback_url)
        if query.has_more_photos:
            query.more_photos.add(*uploads[1:])
        if callback_url:
            webhook_create(query=query, url=callback_url)
        send = tasks.send_fetch_photo if query.state == QueryState.TO_FETCH else tasks.send_embed_query
        send(query.pk)


def _new_among(uploads: list[UploadedPhoto]) -> list[UploadedPhoto]:
    return [upload for upload in uploads if upload._state.adding]


def _remove_files(uploads: list[UploadedPhoto]) -> None:
    for upload in uploads:
        upload.file.delete(save=False)
