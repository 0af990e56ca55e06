"""Who is behind a browser: someone with an account, or a visitor that only this browser knows."""

import secrets
from typing import TypedDict

from django.http import HttpRequest

from catalog.models import User
from catalog.services.feedback.triplets import LEARNING_DAYS

VISITOR = "visitor"  # the key in the session


class Person(TypedDict):
    """The two arguments by which services know whose a photo is."""

    owner: User | None
    visitor: str


def person_of(request: HttpRequest) -> Person:
    """The person, as far as known: a browser that never sent a photo is nobody yet, and owns nothing."""
    if request.user.is_authenticated:
        return {"owner": request.user, "visitor": ""}
    return {"owner": None, "visitor": request.session.get(VISITOR, "")}


def person_who_sends(request: HttpRequest) -> Person:
    """The person; a visitor gets a key with the first photo, so that reading pages sets no cookie."""
    if not request.user.is_authenticated and VISITOR not in request.session:
        request.session[VISITOR] = secrets.token_urlsafe(24)
    return person_of(request)


def visitor_stay(request: HttpRequest) -> None:
    """Let a visitor's browser know them for as long as their photo may be kept: nobody else can take it back."""
    if not request.user.is_authenticated and VISITOR in request.session:
        request.session.set_expiry(LEARNING_DAYS * 24 * 3600)
