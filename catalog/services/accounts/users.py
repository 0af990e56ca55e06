"""Create, change and delete user accounts; check and change passwords."""

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

# The rows of a deleted account that are counted, by the name in the receipt.
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
    """Create an account.

    Raises `Refused`: `name_taken` or `email_taken` (409); `weak_password`.
    """
    password_validate(user=User(username=username, email=email), password=password)
    if User.objects.filter(username__iexact=username).exists():  # "Anna" and "anna" would be confused
        raise _taken(username)
    try:
        with transaction.atomic():
            return User.objects.create_user(username=username, email=email, password=password)
    except IntegrityError:
        raise _taken(username) from None


def user_update(
    *, user: User, request: HttpRequest, password: str = "", may_train: bool | None = None, **columns: str
) -> User:
    """Change the columns of an account, and whether its photos may be used for training, in one transaction.

    A new email address needs `password`, because a password reset sent there takes over the account.
    Raises `Refused`: `wrong_password` (403); `email_taken` (409).
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
    """Raise `Refused` (`weak_password`) with the reasons when a password is too easy to guess."""
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise Refused("weak_password", " ".join(error.messages)) from None


def password_require(*, user: User, request: HttpRequest, password: str) -> None:
    """Require the current password, so that a stolen device or token does not suffice. Failures count for the lockout.

    Raises `Refused`: `wrong_password` (403).
    """
    if authenticate(request, username=user.get_username(), password=password) is None:
        raise Refused("wrong_password", "This is not your password.", status=403)


def password_change(
    *, user: User, request: HttpRequest, old_password: str, password: str, device: AuthToken | None
) -> None:
    """Change the password, and sign out every browser and every device except `device`.

    Raises `Refused`: `wrong_password` (403) for `old_password`; `weak_password` for `password`.
    """
    password_require(user=user, request=request, password=old_password)
    password_validate(user=user, password=password)
    user.set_password(password)
    with transaction.atomic():
        user.save(update_fields=["password"])  # ends browser sessions, which carry a hash of the password
        devices_sign_out(user=user, except_token=device)


def user_delete(*, user: User) -> dict[str, int]:
    """Delete an account with its rows, files, sessions, and its traces in log entries. Returns the counts by kind.

    Files are deleted first: when the storage fails, the account still exists and deleting can be repeated. The rows are
    deleted in one transaction; files of photos uploaded in between are deleted after it.
    """
    photos = list(user.photos.all())
    _delete_files(photos)
    with transaction.atomic():
        new_photos = [photo for photo in user.photos.select_for_update() if photo not in photos]
        counts = {"sessions": sessions_sign_out(user=user), "sign_in_attempts": _delete_traces(user)}
        _, rows = user.delete()
    _delete_files(new_photos)
    return {name: rows.get(model._meta.label, 0) for name, model in _RECEIPT.items()} | counts


def _delete_files(photos: list[UploadedPhoto]) -> None:
    photo_copies_delete(photo.pk for photo in photos)
    for photo in photos:
        if photo.file.name:
            photo.file.storage.delete(photo.file.name)


def _delete_traces(user: User) -> int:
    """Delete log entries that name the user without a foreign key. Returns the number of failed sign-ins."""
    types: dict[type[Any], ContentType] = ContentType.objects.get_for_models(User, AuthToken)
    about_tokens = Q(content_type=types[AuthToken], object_repr__endswith=_end_of_log_line(user))
    LogEntry.objects.filter(Q(content_type=types[User], object_id=str(user.pk)) | about_tokens).delete()
    login_names = [user.username, user.email] if user.email else [user.username]
    return int(AccessAttempt.objects.filter(username__in=login_names).delete()[0])


def _end_of_log_line(user: User) -> str:
    """The end of an admin log line about a token: knox writes `hash : name`, the log keeps 200 characters."""
    longest = 200 - AuthToken._meta.get_field("digest").max_length
    return f" : {user.username}"[:longest]
