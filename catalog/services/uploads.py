"""Store, expire and delete uploaded photos.

The file is stored before the row and deleted after it: a crash leaves a file without a row, which
`uploads_remove_orphans` finds, but never a row without a file.
"""

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
from catalog.photos.crops import require_min_size
from catalog.photos.files import store_picture
from catalog.photos.validation import clean_photo, source_hash
from catalog.run_folder import photo_copies_delete
from catalog.services.feedback.triplets import photos_reset_expiry


def upload_prepare(*, raw: bytes, owner: User | None = None, visitor: str = "") -> UploadedPhoto:
    """Return the owner's photo with these bytes: the existing row, or a new unsaved row whose file is stored.

    The caller saves a new row, and deletes its file if saving fails. The expiry of an existing photo is extended.
    Raises `Refused`, with the codes of `clean_photo`, for bytes that are not a usable photo.
    """
    digest = source_hash(raw)
    existing = UploadedPhoto.objects.owned_by(owner=owner, visitor=visitor).filter(source_sha256=digest).first()
    if existing is not None:
        existing.expires_at = max(existing.expires_at, expiry())  # a photo used for training may be kept longer
        if UploadedPhoto.objects.filter(pk=existing.pk).update(expires_at=existing.expires_at):
            return existing  # no row was updated if another request has just deleted the photo
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
    photo.file = store_picture(name=name, content=clean.content)
    return photo


def upload_create(
    *,
    raw: bytes,
    owner: User | None = None,
    visitor: str = "",
    attach: Callable[[UploadedPhoto], None] | None = None,
) -> tuple[UploadedPhoto, bool]:
    """Store a photo. Returns it, and whether it is new; idempotent: the same bytes of one owner are one photo.

    `attach` writes related rows in the same transaction. On any error a new photo leaves no row and no file.
    Raises `Refused`: the codes of `clean_photo`; `photo_gone` (410) when the owner's account was deleted.
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
        duplicate = _find_duplicate(photo)
        if duplicate is None:  # not a duplicate photo: the owner's account was just deleted
            detail = "The photo was deleted. Please send it again."
            raise Refused("photo_gone", detail, status=410) from None
        _save(duplicate, attach)  # a concurrent request stored the same bytes
        return duplicate, False
    return photo, is_new


def _save(photo: UploadedPhoto, attach: Callable[[UploadedPhoto], None] | None) -> None:
    with transaction.atomic():
        if photo._state.adding:
            photo.save(force_insert=True)
        if attach is not None:
            attach(photo)


def _find_duplicate(photo: UploadedPhoto) -> UploadedPhoto | None:
    """Another row with the same owner and bytes."""
    photos = UploadedPhoto.objects.owned_by(owner=photo.owner, visitor=photo.visitor)
    return photos.filter(source_sha256=photo.source_sha256).exclude(pk=photo.pk).first()


def upload_attach_fetched(*, query: SimilarityQuery, raw: bytes, timings: dict[str, float]) -> UploadedPhoto:
    """Store the bytes fetched for a claimed query as its photo, and queue the query, in one transaction.

    Raises `Refused` as `upload_create`, and for a crop that is too small; raises `ClaimLost`.
    """

    def attach(photo: UploadedPhoto) -> None:
        if query.crop is not None:
            require_min_size(query.crop, photo.width, photo.height)
        query.record_fetched(photo, timings)
        tasks.send_embed_query(query.pk)

    return upload_create(raw=raw, owner=query.owner, visitor=query.visitor, attach=attach)[0]


def uploads_expire() -> int:
    """Delete expired photos with their queries and files. Returns how many photos.

    Queries whose photo could not be fetched are deleted after `PHOTO_DAYS`, too.
    """
    without_photo = SimilarityQuery.objects.filter(photo=None, item=None)
    without_photo.filter(created_at__lte=timezone.now() - timedelta(days=settings.PHOTO_DAYS)).delete()
    photos_reset_expiry(photos=UploadedPhoto.objects.all())
    expired = UploadedPhoto.objects.filter(expires_at__lte=timezone.now())
    count = 0
    for photo in expired.iterator(chunk_size=200):
        upload_delete(photo=photo)
        count += 1
    return count


def uploads_remove_orphans() -> int:
    """Delete files without a row, left by a process that was killed before its commit. Returns how many.

    Files younger than an hour stay, because their rows may not be committed yet.
    """
    an_hour_ago = timezone.now() - timedelta(hours=1)
    orphans = [
        name
        for folder in _recent_folders()
        for name in _files_without_rows(folder)
        if default_storage.get_modified_time(name) < an_hour_ago
    ]
    for name in orphans:
        default_storage.delete(name)
    return len(orphans)


def _recent_folders() -> list[str]:
    """The upload folders of this month and, for two days, of the previous one."""
    now = timezone.now()
    return sorted({(now - timedelta(days=days)).strftime(UPLOAD_FOLDER) for days in (0, 2)})


def _files_without_rows(folder: str) -> list[str]:
    try:
        _, files = default_storage.listdir(folder)
    except FileNotFoundError:  # no upload in that month
        return []
    names = {f"{folder}{file}" for file in files}
    names_of_rows = UploadedPhoto.objects.filter(file__startswith=folder).values_list("file", flat=True)
    return sorted(names.difference(names_of_rows))


def upload_delete(*, photo: UploadedPhoto) -> None:
    """Delete a photo with its queries in one transaction, then its file and the copies in run folders."""
    name, storage = photo.file.name, photo.file.storage
    photo_copies_delete([photo.pk])
    with transaction.atomic():
        photo.joint_queries.all().delete()  # queries in which this is a further photo
        photo.delete()
    if name:
        storage.delete(name)
