"""Uploaded photos: taking them in, and letting them go."""

from django.core.files.base import ContentFile
from django.utils import timezone

from catalog.models import UploadedPhoto, User
from catalog.models.photos import expiry
from catalog.photos import clean_photo, source_hash


def upload_prepare(*, raw: bytes, owner: User | None = None, visitor: str = "") -> UploadedPhoto:
    """The person's photo with these bytes: the earlier row if they sent it before, else a new one, not yet saved.

    The file of a new one is stored already, so that a row never points to nothing; whoever saves the row deletes the
    file if that fails. Raises `Refused` for bytes that are no usable picture.
    """
    digest = source_hash(raw)
    earlier = UploadedPhoto.objects.of(user=owner, visitor=visitor).filter(source_sha256=digest).first()
    if earlier is not None:
        earlier.expires_at = expiry()
        earlier.save(update_fields=["expires_at"])
        return earlier
    clean = clean_photo(raw)
    photo = UploadedPhoto(
        owner=owner,
        visitor=visitor,
        source_sha256=digest,
        sha256=clean.sha256,
        width=clean.width,
        height=clean.height,
        size=len(clean.content),
    )
    photo.file.save(f"{photo.id}.jpg", ContentFile(clean.content), save=False)
    return photo


def uploads_expire() -> int:
    """Delete the photos whose time is over, with their queries and files. Returns how many."""
    expired = UploadedPhoto.objects.filter(expires_at__lte=timezone.now())
    count = 0
    for photo in expired.iterator(chunk_size=200):
        upload_delete(photo=photo)
        count += 1
    return count


def upload_delete(*, photo: UploadedPhoto) -> None:
    """Delete a photo with its queries, then its file: a file without a row is found again, the reverse is an error."""
    name, storage = photo.file.name, photo.file.storage
    photo.delete()
    if name:
        storage.delete(name)
