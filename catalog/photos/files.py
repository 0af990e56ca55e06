"""Putting pictures into the storage."""

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage


def picture_store(*, name: str, content: bytes) -> str:
    """Store a picture whole, or not at all: OSError then. Returns the name it got."""
    try:
        return default_storage.save(name, ContentFile(content))
    except OSError:  # a full disk: a folder keeps what was written until then
        default_storage.delete(name)
        raise
