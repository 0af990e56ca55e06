"""Store picture files in the default storage, without partial files after an error."""

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage


def store_picture(*, name: str, content: bytes) -> str:
    """Store a picture and return its name in the storage. Raises OSError without leaving a partial file."""
    try:
        return default_storage.save(name, ContentFile(content))
    except OSError:  # a full disk leaves a partial file in a folder
        default_storage.delete(name)
        raise
