"""Owner of a browser's photos and queries: the signed-in user, or a visitor whose key is in the session."""

import secrets
from typing import TypedDict

from django.http import HttpRequest

from catalog.models import User
from catalog.services.feedback.triplets import TRAINING_PHOTO_DAYS

VISITOR = "visitor"  # key in the session


class Owner(TypedDict):
    """The two keyword arguments by which services select the rows of an owner."""

    owner: User | None
    visitor: str


def current_owner(request: HttpRequest) -> Owner:
    """Return the owner. A browser that never sent a photo has an empty visitor key, which owns nothing."""
    if request.user.is_authenticated:
        return {"owner": request.user, "visitor": ""}
    return {"owner": None, "visitor": request.session.get(VISITOR, "")}


def ensure_owner(request: HttpRequest) -> Owner:
    """Return the owner; give a new visitor a key. Only on sending a photo, so that reading pages sets no cookie."""
    if not request.user.is_authenticated and VISITOR not in request.session:
        request.session[VISITOR] = secrets.token_urlsafe(24)
    return current_owner(request)


def extend_visitor_session(request: HttpRequest) -> None:
    """Keep a visitor's session as long as their photo may be kept: only this browser can withdraw the consent."""
    if not request.user.is_authenticated and VISITOR in request.session:
        request.session.set_expiry(TRAINING_PHOTO_DAYS * 24 * 3600)
