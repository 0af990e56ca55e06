"""Addresses of people's own pictures that open without signing in, for a while: image loaders send no token."""

import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from django.core.signing import BadSignature, Signer
from django.http import HttpRequest
from django.urls import reverse

SPAN: Final = 3600  # seconds; an address is good for one to two of these, and the same one is given out for one
_SALT: Final = "catalog.picture"  # a signature made for something else opens no picture


def item_photo_paths() -> Callable[[int], str]:
    """From the id of an item's photo to the path of its picture, as `reverse` says it; asked once for many."""
    before, _, after = reverse("item-photo", args=[0]).rpartition("0")
    return lambda photo_id: f"{before}{photo_id}{after}"


def signed_path(photo_id: UUID) -> str:
    """The address of an uploaded photo for whoever is given it. It dies with the photo, or when its time is over."""
    until = (int(time.time()) // SPAN + 2) * SPAN
    query = urlencode({"until": until, "signature": _signer().signature(_signed(photo_id, until))})
    return f"{reverse('uploaded-photo', args=[photo_id])}?{query}"


def is_signed(request: HttpRequest, photo_id: UUID) -> bool:
    """Whether the request names this photo by an address that `signed_path` made, and whose time is not over."""
    until, signature = request.GET.get("until", ""), request.GET.get("signature", "")
    if not (until.isascii() and until.isdigit() and len(until) < 20 and int(until) > time.time()):
        return False
    try:
        _signer().unsign(f"{_signed(photo_id, until)}:{signature}")
    except BadSignature:
        return False
    return True


def _signer() -> Signer:
    return Signer(salt=_SALT)


def _signed(photo_id: UUID, until: int | str) -> str:
    return f"{photo_id}.{until}"
