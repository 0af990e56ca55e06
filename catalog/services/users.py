"""Accounts."""

from catalog.models import User
from catalog.services.uploads import upload_delete


def user_delete(*, user: User) -> None:
    """Delete an account with its photos, their files, its queries and its tokens."""
    for photo in user.photos.all():
        upload_delete(photo=photo)
    user.delete()
