"""Create similarity queries: store the photos and the query, and queue it. Idempotent by key."""

import hashlib
import json
import time
from collections.abc import Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from catalog import tasks
from catalog.errors import Refused
from catalog.models import CatalogItem, QueryState, SimilarityQuery, UploadedPhoto, User
from catalog.photos.crops import Crop, require_min_size
from catalog.photos.validation import source_hash
from catalog.services.queries.webhooks import webhook_create
from catalog.services.uploads import upload_prepare

Picture = bytes | UploadedPhoto
"""The bytes of a new photo, or a stored photo of the same owner."""

_ATTEMPTS = 3  # each attempt may lose a race against a concurrent request with the same photos


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
    """Store the new photos and a query about them in one transaction, and queue the query after commit.

    Exactly one of `photo`, `photo_url` and `item` gives the garment; `more_photos` show the garment of `photo` again.
    Exactly one of `owner` and `visitor` owns the rows. `receive_ms` is the time that receiving the request took; it
    counts in `timings`. `callback_url` (owners only) receives a webhook when the query has ended.

    Idempotent with an `idempotency_key` (owners only): a retry with the same key and request returns the query created
    by the first request, with `is_replay` set.

    Raises `Refused`, and leaves no row and no file: the codes of `clean_photo` for bytes that are not a usable photo;
    `crop_too_small`; `idempotency_key_reused` (422) when the key was used for another request; `photo_gone` (410) when
    a stored photo was deleted.
    """
    started = time.perf_counter()
    pictures = _without_duplicates([picture for picture in (photo, *more_photos) if picture is not None])
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
        if earlier := _earlier_query(query):
            return earlier
    for _ in range(_ATTEMPTS):
        uploads = _uploads(pictures, query)
        query.created_at = query.nudged_at = timezone.now()  # the waiting time starts when the photos are clean
        query.timings = {"receive": round(receive_ms, 2), "clean": round((time.perf_counter() - started) * 1000, 2)}
        if _save_all(uploads, query, callback_url):
            return query
        # A concurrent request stored the same photo or used the same key after this request had checked.
        if earlier := _earlier_query(query):
            return earlier
    raise Refused("photo_gone", "The photo was deleted. Please send it again.", status=410)


def query_delete(*, query: SimilarityQuery) -> None:
    """Delete a query with its answer; its photos stay. A worker that has claimed it gets `ClaimLost`."""
    query.delete()


def _without_duplicates(pictures: list[Picture]) -> list[Picture]:
    """Each picture once, in order: a photo sent twice would count twice."""
    if len(pictures) < 2:  # hashing a large picture takes milliseconds
        return pictures
    return list({_picture_hash(picture): picture for picture in pictures}.values())


def _picture_hash(picture: Picture) -> str:
    return source_hash(picture) if isinstance(picture, bytes) else picture.source_sha256


def _request_hash(query: SimilarityQuery, pictures: list[Picture], callback_url: str) -> str:
    """SHA-256 of all parameters of the request, independent of the encoding of the request."""
    request = {
        "pictures": [_picture_hash(picture) for picture in pictures],
        "url": query.source_url,
        "item": query.item_id,
        "k": query.k,
        "filters": query.filters,
        "diversity": query.diversity,
        "min_score": query.min_score,
        "crop": query.crop,
        # Omitted when empty, so that hashes stored by earlier versions stay valid.
        **({"callback_url": callback_url} if callback_url else {}),
    }
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def _earlier_query(query: SimilarityQuery) -> SimilarityQuery | None:
    """The query that the same request created before; None if there is none. Raises `Refused` for another request."""
    if query.idempotency_key is None:
        return None
    queries = SimilarityQuery.objects.owned_by(owner=query.owner)
    earlier = queries.filter(idempotency_key=query.idempotency_key).defer("vector").first()
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
    """The rows of the pictures; new rows are unsaved, with their files stored. Errors leave no new file."""
    uploads: list[UploadedPhoto] = []
    try:
        for picture in pictures:
            uploads.append(_upload(picture, query))
        if query.crop is not None and uploads:
            require_min_size(query.crop, uploads[0].width, uploads[0].height)
    except BaseException:
        _remove_files(_new_among(uploads))
        raise
    return uploads


def _upload(picture: Picture, query: SimilarityQuery) -> UploadedPhoto:
    if isinstance(picture, UploadedPhoto):
        return picture
    return upload_prepare(raw=picture, owner=query.owner, visitor=query.visitor)


def _save_all(uploads: list[UploadedPhoto], query: SimilarityQuery, callback_url: str) -> bool:
    """Save all rows; return False, and leave no row and no new file, when a concurrent request stored one of them."""
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
        # In a fixed order, so that two requests with the same two photos cannot deadlock.
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
