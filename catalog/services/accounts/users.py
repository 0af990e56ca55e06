"""Accounts."""

from typing import Any

from axes.models import AccessAttempt
from django.contrib.admin.models import LogEntry
from django.contrib.auth import authenticate
from django.contrib.auth.password_validation import validate_password
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.http import HttpRequest
from knox.models import AuthToken

from catalog.errors import Refused
from catalog.models import Favourite, Feedback, Recommendation, SimilarityQuery, Triplet, UploadedPhoto, User
from catalog.run_folder import photo_copies_delete
from catalog.services.accounts.devices import devices_sign_out, sessions_sign_out
from catalog.services.feedback.feedback import user_consent_set

# The counts of a deleted account, by what they count.
_RECEIPT = {
    "photos": UploadedPhoto,
    "queries": SimilarityQuery,
    "recommendations": Recommendation,
    "feedback": Feedback,
    "triplets": Triplet,
    "favourites": Favourite,
    "devices": AuthToken,
}


def user_create(*, username: str, email: str, password: str) -> User:
    """A new account. Refused for a name or an address that someone else has, and for a password that is too weak."""
    password_validate(user=User(username=username, email=email), password=password)
    if User.objects.filter(username__iexact=username).exists():  # "Anna" and "anna" would be taken for one another
        raise _taken(username)
    try:
        with transaction.atomic():
            return User.objects.create_user(username=username, email=email, password=password)
    except IntegrityError:
        raise _taken(username) from None


def user_update(
    *, user: User, request: HttpRequest, password: str = "", may_train: bool | None = None, **columns: str
) -> User:
    """Change the names and the address of an account, and whether encoders may learn from its photos.

    Another address takes the password: to whoever reads its mail the account can be handed over.
    """
    if columns.get("email", user.email) != user.email:
        password_require(user=user, request=request, password=password)
    for name, value in columns.items():
        setattr(user, name, value)
    try:
        with transaction.atomic():
            user.save(update_fields=list(columns))
            if may_train is not None:
                user_consent_set(user=user, may_train=may_train)
    except IntegrityError:
        raise _taken("") from None
    return user


def _taken(username: str) -> Refused:
    if username and User.objects.filter(username__iexact=username).exists():
        return Refused("name_taken", "Someone has this name already. Please choose another.", status=409)
    return Refused("email_taken", "There is an account with this email address already.", status=409)


def password_validate(*, user: User, password: str) -> None:
    """Refused, with what is wrong, for a password that is too easy to guess."""
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise Refused("weak_password", " ".join(error.messages)) from None


def password_require(*, user: User, request: HttpRequest, password: str) -> None:
    """For what a found phone or a stolen token must not do alone. Guesses count as they do in signing in."""
    if authenticate(request, username=user.get_username(), password=password) is None:
        raise Refused("wrong_password", "This is not your password.", status=403)


def password_change(
    *, user: User, request: HttpRequest, old_password: str, password: str, device: AuthToken | None
) -> None:
    """A new password in exchange for the old one. Every other device and browser is signed out."""
    password_require(user=user, request=request, password=old_password)
    password_validate(user=user, password=password)
    user.set_password(password)
    with transaction.atomic():
        user.save(update_fields=["password"])  # the browsers' sessions carry a hash of the old one
        devices_sign_out(user=user, except_token=device)


def user_delete(*, user: User) -> dict[str, int]:
    """Delete an account with everything that tells of it: rows, files, sessions, and traces in the logs of others.

    Returns how much of each kind went. The files go first: while one cannot be reached, the account is still there
    and can be deleted again. A photo that comes in meanwhile goes with the rows, and its file after them.
    """
    known = list(user.photos.all())
    _delete_files(known)
    with transaction.atomic():
        late = [photo for photo in user.photos.select_for_update() if photo not in known]
        counts = {"sessions": sessions_sign_out(user=user), "sign_in_attempts": _delete_traces(user)}
        _, rows = user.delete()
    _delete_files(late)
    return {name: rows.get(model._meta.label, 0) for name, model in _RECEIPT.items()} | counts


def _delete_files(photos: list[UploadedPhoto]) -> None:
    photo_copies_delete(photo.pk for photo in photos)
    for photo in photos:
        if photo.file.name:
            photo.file.storage.delete(photo.file.name)


def _delete_traces(user: User) -> int:
    """What names a person without pointing to the row. Returns the failed attempts to sign in."""
    types: dict[type[Any], ContentType] = ContentType.objects.get_for_models(User, AuthToken)
    about_tokens = Q(content_type=types[AuthToken], object_repr__endswith=_end_of_log_line(user))
    LogEntry.objects.filter(Q(content_type=types[User], object_id=str(user.pk)) | about_tokens).delete()
    typed = [user.username, user.email] if user.email else [user.username]
    return int(AccessAttempt.objects.filter(username__in=typed).delete()[0])


def _end_of_log_line(user: User) -> str:
    """How the admin's log ends where it names a token, which knox writes as `hash : name`; cut after 200 characters."""
    longest = 200 - AuthToken._meta.get_field("digest").max_length
    return f" : {user.username}"[:longest]
