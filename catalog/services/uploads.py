"""Uploaded photos: taking them in, and letting them go."""

from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import IntegrityError, transaction
from django.utils import timezone

from catalog import tasks
from catalog.errors import Refused
from catalog.models import SimilarityQuery, UploadedPhoto, User
from catalog.models.photos import UPLOAD_FOLDER, expiry
from catalog.photos.clean import clean_photo, source_hash
from catalog.photos.crops import require_large_enough
from catalog.photos.files import picture_store
from catalog.run_folder import photo_copies_delete
from catalog.services.feedback.triplets import photos_reset_expiry


def upload_prepare(*, raw: bytes, owner: User | None = None, visitor: str = "") -> UploadedPhoto:
    """The person's photo with these bytes: the earlier row if they sent it before, else a new one, not yet saved.

    The file of a new one is stored already, so that a row never points to nothing; whoever saves the row deletes the
    file if that fails. Raises `Refused` for bytes that are no usable picture.
    """
    digest = source_hash(raw)
    earlier = UploadedPhoto.objects.owned_by(user=owner, visitor=visitor).filter(source_sha256=digest).first()
    if earlier is not None:
        earlier.expires_at = max(earlier.expires_at, expiry())  # one that is learned from may be kept longer
        if UploadedPhoto.objects.filter(pk=earlier.pk).update(expires_at=earlier.expires_at):
            return earlier  # else it was deleted at this very moment
    clean = clean_photo(raw)
    photo = UploadedPhoto(
        owner=owner,
        visitor=visitor,
        source_sha256=digest,
        sha256=clean.sha256,
        width=clean.width,
        height=clean.height,
        size=len(clean.content),
        may_train=owner is not None and owner.may_train,
    )
    name = photo.file.field.generate_filename(photo, f"{photo.id}.jpg")
    photo.file = picture_store(name=name, content=clean.content)
    return photo


def upload_create(
    *,
    raw: bytes,
    owner: User | None = None,
    visitor: str = "",
    attach: Callable[[UploadedPhoto], None] | None = None,
) -> tuple[UploadedPhoto, bool]:
    """The person's photo with these bytes, stored, and whether it is new: the same bytes twice are one photo.

    `attach` writes what belongs to it in the same transaction. If that fails a new photo leaves no row and no file.
    Raises `Refused` for bytes that are no usable picture, and when the owner is gone.
    """
    photo = upload_prepare(raw=raw, owner=owner, visitor=visitor)
    is_new = photo._state.adding
    name = photo.file.name or ""
    try:
        _save(photo, attach)
    except BaseException as error:
        if not is_new:
            raise
        default_storage.delete(name)
        if not isinstance(error, IntegrityError):
            raise
        twin = _twin(photo)
        if twin is None:  # not the photo but its owner is in the way, who has left at this very moment
            detail = "The photo was deleted meanwhile. Please send it again."
            raise Refused("photo_gone", detail, status=410) from None
        _save(twin, attach)  # the same bytes came twice at the same moment, and the other request stored them
        return twin, False
    return photo, is_new


def _save(photo: UploadedPhoto, attach: Callable[[UploadedPhoto], None] | None) -> None:
    with transaction.atomic():
        if photo._state.adding:
            photo.save(force_insert=True)
        if attach is not None:
            attach(photo)


def _twin(photo: UploadedPhoto) -> UploadedPhoto | None:
    mine = UploadedPhoto.objects.owned_by(user=photo.owner, visitor=photo.visitor)
    return mine.filter(source_sha256=photo.source_sha256).exclude(pk=photo.pk).first()


def upload_attach_fetched(*, query: SimilarityQuery, raw: bytes, timings: dict[str, float]) -> UploadedPhoto:
    """Make what was fetched for a claimed query its photo, and send the query on its way: all of it or nothing."""

    def attach(photo: UploadedPhoto) -> None:
        if query.crop is not None:
            require_large_enough(query.crop, photo.width, photo.height)
        query.record_fetched(photo, timings)
        tasks.send_embed_query(query.pk)

    return upload_create(raw=raw, owner=query.owner, visitor=query.visitor, attach=attach)[0]


def uploads_expire() -> int:
    """Delete the photos whose time is over, with their queries and files. Returns how many.

    A query whose photo never came, since it could not be fetched, goes after the same time.
    """
    never_came = SimilarityQuery.objects.filter(photo=None, item=None)
    never_came.filter(created_at__lte=timezone.now() - timedelta(days=settings.PHOTO_DAYS)).delete()
    photos_reset_expiry(photos=UploadedPhoto.objects.all())
    expired = UploadedPhoto.objects.filter(expires_at__lte=timezone.now())
    count = 0
    for photo in expired.iterator(chunk_size=200):
        upload_delete(photo=photo)
        count += 1
    return count


def uploads_remove_orphans() -> int:
    """Delete the files that no row names: a process was killed between storing one and committing its row.

    Files younger than an hour are left alone, since their rows may be on the way. Returns how many went.
    """
    too_young = timezone.now() - timedelta(hours=1)
    orphans = [
        name
        for folder in _recent_folders()
        for name in _files_without_rows(folder)
        if default_storage.get_modified_time(name) < too_young
    ]
    for name in orphans:
        default_storage.delete(name)
    return len(orphans)


def _recent_folders() -> list[str]:
    """Where new uploads go, and where they went until the last turn of a month."""
    now = timezone.now()
    return sorted({(now - timedelta(days=days)).strftime(UPLOAD_FOLDER) for days in (0, 2)})


def _files_without_rows(folder: str) -> list[str]:
    try:
        _, files = default_storage.listdir(folder)
    except FileNotFoundError:  # nothing was uploaded in that month
        return []
    names = {f"{folder}{file}" for file in files}
    known = UploadedPhoto.objects.filter(file__startswith=folder).values_list("file", flat=True)
    return sorted(names.difference(known))


def upload_delete(*, photo: UploadedPhoto) -> None:
    """Delete a photo with its queries, then its file: a file without a row is found again, the reverse is an error."""
    name, storage = photo.file.name, photo.file.storage
    photo_copies_delete([photo.pk])
    with transaction.atomic():
        photo.joint_queries.all().delete()  # queries about several photos, of which this was not the first
        photo.delete()
    if name:
        storage.delete(name)
