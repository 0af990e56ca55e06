"""Where a person is signed in: devices by token, browsers by session."""

import logging
from datetime import timedelta

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session
from django.db import OperationalError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from knox.models import AuthToken

from catalog.errors import Refused
from catalog.models import Device, Scope, User

SEEN_AGAIN = timedelta(minutes=5)  # a device is not noted more often, so that reading writes nearly nothing

logger = logging.getLogger(__name__)


def device_sign_in(*, user: User, name: str = "", scope: str = Scope.USER) -> tuple[AuthToken, str]:
    """A token for a device of this person: the row, and the secret, which is kept nowhere.

    Refused for a scope that the person may not give away. Tokens that have expired go on this occasion.
    """
    if not can_grant_scope(user=user, scope=scope):
        raise Refused("scope_not_allowed", "You may not sign in with this scope.", status=403)
    with transaction.atomic():
        AuthToken.objects.filter(user=user, expiry__lte=timezone.now()).delete()
        row, secret = AuthToken.objects.create(user=user)
        Device.objects.create(token=row, name=name, scope=scope)
    return row, secret


def can_grant_scope(*, user: User, scope: str) -> bool:
    """Staff take tokens for staff's work; a program's token is made by whoever may add devices."""
    allowed = {
        Scope.USER: True,
        Scope.STAFF: user.is_staff,
        Scope.SERVICE: user.is_staff and user.has_perm("catalog.add_device"),
    }
    return allowed[Scope(scope)]


def device_for(*, token: AuthToken) -> Device:
    """What is known of a token. Of one that was not made by signing in, nothing: an unsaved row with the defaults."""
    device: Device | None = getattr(token, "device", None)
    return device or Device(token=token)


def token_scope(*, token: AuthToken | None) -> Scope:
    """What may be done with a token, or with a browser's session, which has none.

    Who is no longer staff keeps the token, but not what it could do.
    """
    scope = Scope.USER if token is None else Scope(device_for(token=token).scope)
    return Scope.USER if token is not None and scope == Scope.STAFF and not token.user.is_staff else scope


def device_touch(*, token: AuthToken) -> None:
    """Note that a device was here, unless it was a moment ago. That is worth no failed request."""
    device, now = device_for(token=token), timezone.now()
    if device.pk is None or (device.last_seen_at and device.last_seen_at > now - SEEN_AGAIN):
        return
    try:
        Device.objects.filter(pk=device.pk).update(last_seen_at=now)
    except OperationalError as error:
        logger.warning("It could not be noted that device %s was here (%s).", device.pk, error)


def device_id(*, token: AuthToken) -> str:
    """The name of a token in the API. Neither the secret nor its hash can be told from it."""
    return salted_hmac("catalog.devices", token.pk, algorithm="sha256").hexdigest()[:32]


def devices_active(*, user: User) -> QuerySet[AuthToken]:
    """The tokens of a person that have not expired, each with its device."""
    has_not_expired = Q(expiry=None) | Q(expiry__gt=timezone.now())
    mine: QuerySet[AuthToken] = AuthToken.objects.filter(has_not_expired, user=user).select_related("device")
    return mine


def device_get(*, user: User, id: str) -> AuthToken | None:
    """The person's token of this id, unless it is gone or has expired."""
    tokens = devices_active(user=user)
    return next((token for token in tokens if constant_time_compare(device_id(token=token), id)), None)


def device_rename(*, token: AuthToken, name: str) -> AuthToken:
    device, _ = Device.objects.update_or_create(token=token, defaults={"name": name})
    token.device = device
    return token


def devices_sign_out(*, user: User, except_token: AuthToken | None = None) -> int:
    """Sign out every device of a person, except the one with `except_token`. Returns how many."""
    mine = AuthToken.objects.filter(user=user)
    _, rows = (mine.exclude(pk=except_token.pk) if except_token else mine).delete()
    return int(rows.get(AuthToken._meta.label, 0))


def sessions_sign_out(*, user: User) -> int:
    """Sign out every browser of a person. Returns how many.

    A session does not tell whose it is before it is opened, so all are: that is for rare occasions.
    """
    sessions = Session.objects.iterator(chunk_size=500)
    mine = [row.pk for row in sessions if row.get_decoded().get(SESSION_KEY) == str(user.pk)]
    return Session.objects.filter(pk__in=mine).delete()[0]
