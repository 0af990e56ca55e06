"""Signed, expiring URLs of uploaded photos, for image loaders that send no credentials."""

import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from django.core.signing import BadSignature, Signer
from django.http import HttpRequest
from django.urls import reverse

SPAN: Final = 3600  # seconds; a URL is valid for one to two spans, and stays the same during one (cacheable)
_SALT: Final = "catalog.picture"  # signatures made for another purpose are invalid here


def make_item_photo_path() -> Callable[[int], str]:
    """Return a function from the id of an item photo to its URL path. One `reverse` call serves many ids."""
    prefix, _, suffix = reverse("item-photo", args=[0]).rpartition("0")
    return lambda photo_id: f"{prefix}{photo_id}{suffix}"


def signed_path(photo_id: UUID) -> str:
    """A URL path that opens an uploaded photo without signing in, until it expires or the photo is deleted."""
    expires = (int(time.time()) // SPAN + 2) * SPAN
    query = urlencode({"until": expires, "signature": _signer().signature(_signed_value(photo_id, expires))})
    return f"{reverse('uploaded-photo', args=[photo_id])}?{query}"


def has_valid_signature(request: HttpRequest, photo_id: UUID) -> bool:
    """Whether the request has a valid, unexpired signature of `signed_path` for this photo."""
    expires, signature = request.GET.get("until", ""), request.GET.get("signature", "")
    if not (expires.isascii() and expires.isdigit() and len(expires) < 20 and int(expires) > time.time()):
        return False
    try:
        _signer().unsign(f"{_signed_value(photo_id, expires)}:{signature}")
    except BadSignature:
        return False
    return True


def _signer() -> Signer:
    return Signer(salt=_SALT)


def _signed_value(photo_id: UUID, expires: int | str) -> str:
    return f"{photo_id}.{expires}"
