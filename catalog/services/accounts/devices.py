"""Sign-ins of a user: devices by API token, browsers by session."""

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

TOUCH_INTERVAL = timedelta(minutes=5)  # `last_seen_at` is written at most so often, so that reads stay cheap

logger = logging.getLogger(__name__)


def device_sign_in(*, user: User, name: str = "", scope: str = Scope.USER) -> tuple[AuthToken, str]:
    """Issue a token for a device. Returns the row and the secret, which is not stored. Deletes expired tokens.

    Raises `Refused`: `scope_not_allowed` (403) when the user may not issue a token of this scope.
    """
    if not can_grant_scope(user=user, scope=scope):
        raise Refused("scope_not_allowed", "You may not sign in with this scope.", status=403)
    with transaction.atomic():
        AuthToken.objects.filter(user=user, expiry__lte=timezone.now()).delete()
        row, secret = AuthToken.objects.create(user=user)
        Device.objects.create(token=row, name=name, scope=scope)
    return row, secret


def can_grant_scope(*, user: User, scope: str) -> bool:
    """Whether the user may issue a token of this scope: `staff` for staff, `service` for staff who may add devices."""
    allowed = {
        Scope.USER: True,
        Scope.STAFF: user.is_staff,
        Scope.SERVICE: user.is_staff and user.has_perm("catalog.add_device"),
    }
    return allowed[Scope(scope)]


def device_for(*, token: AuthToken) -> Device:
    """The device of a token, or an unsaved one with the defaults when the token was not issued by signing in."""
    device: Device | None = getattr(token, "device", None)
    return device or Device(token=token)


def token_scope(*, token: AuthToken | None) -> Scope:
    """The effective scope of a token; `user` for a browser session, which has no token.

    A `staff` token of a user who is no longer staff counts as `user`.
    """
    scope = Scope.USER if token is None else Scope(device_for(token=token).scope)
    return Scope.USER if token is not None and scope == Scope.STAFF and not token.user.is_staff else scope


def device_touch(*, token: AuthToken) -> None:
    """Write `last_seen_at`, at most once per `TOUCH_INTERVAL`. A database error is only logged."""
    device, now = device_for(token=token), timezone.now()
    if device.pk is None or (device.last_seen_at and device.last_seen_at > now - TOUCH_INTERVAL):
        return
    try:
        Device.objects.filter(pk=device.pk).update(last_seen_at=now)
    except OperationalError as error:
        logger.warning("The last use of device %s could not be saved (%s).", device.pk, error)


def device_id(*, token: AuthToken) -> str:
    """The id of a token in the API. It reveals neither the secret nor the stored hash."""
    return salted_hmac("catalog.devices", token.pk, algorithm="sha256").hexdigest()[:32]


def devices_active(*, user: User) -> QuerySet[AuthToken]:
    """The unexpired tokens of a user, each with its device."""
    has_not_expired = Q(expiry=None) | Q(expiry__gt=timezone.now())
    tokens: QuerySet[AuthToken] = AuthToken.objects.filter(has_not_expired, user=user).select_related("device")
    return tokens


def device_get(*, user: User, id: str) -> AuthToken | None:
    """The unexpired token of a user with this id (see `device_id`); None if there is none."""
    tokens = devices_active(user=user)
    return next((token for token in tokens if constant_time_compare(device_id(token=token), id)), None)


def device_rename(*, token: AuthToken, name: str) -> AuthToken:
    """Rename the device of a token, creating its row if needed."""
    device, _ = Device.objects.update_or_create(token=token, defaults={"name": name})
    token.device = device
    return token


def devices_sign_out(*, user: User, except_token: AuthToken | None = None) -> int:
    """Delete the tokens of a user, except `except_token`. Returns how many."""
    tokens = AuthToken.objects.filter(user=user)
    _, rows = (tokens.exclude(pk=except_token.pk) if except_token else tokens).delete()
    return int(rows.get(AuthToken._meta.label, 0))


def sessions_sign_out(*, user: User) -> int:
    """Delete the browser sessions of a user. Returns how many.

    Decodes every session of the site, because a session names its user only in its encoded data. For rare use.
    """
    sessions = Session.objects.iterator(chunk_size=500)
    pks = [row.pk for row in sessions if row.get_decoded().get(SESSION_KEY) == str(user.pk)]
    return Session.objects.filter(pk__in=pks).delete()[0]
