"""Reset a forgotten password by a link sent by mail."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from axes.models import AccessAttempt
from django.contrib.auth.tokens import default_token_generator
from django.core.mail import send_mail
from django.db import transaction
from django.db.models import Value
from django.db.models.functions import Lower
from django.template.loader import render_to_string
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode
from django.utils.translation import get_language, override
from django.utils.translation import gettext as _

from catalog.errors import Refused
from catalog.models import User
from catalog.services.accounts.devices import devices_sign_out
from catalog.services.accounts.users import password_validate

logger = logging.getLogger(__name__)

# Mails are rendered and sent after the response, so that the response time does not reveal whether an account exists.
# A mail that is lost with the process is requested again.
_mail_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mail")
_DELAY = 0.1  # seconds until the response is sent: rendering the mail would slow it, and reveal the account


def password_reset_request(*, email: str, link: Callable[[str], str]) -> None:
    """Send a reset link to the active account with this address, if there is one. The caller cannot tell.

    `link` builds the URL of the reset page from a code. The mail is in the active language. Sent in the background, at
    most once.
    """
    accounts = User.objects.alias(lowered=Lower("email")).filter(lowered=Lower(Value(email)), is_active=True)
    user = accounts.exclude(email="").first()
    _mail_thread.submit(_send, user, link, get_language() or "en")


def _send(user: User | None, link: Callable[[str], str], language: str) -> None:
    time.sleep(_DELAY)
    if user is None or not user.has_usable_password():  # an account without a password signs in another way
        return
    code = password_reset_code(user=user)
    try:
        templates = [f"mail/password_reset.{language}.txt", "mail/password_reset.txt"]  # the first that exists
        text = render_to_string(templates, {"user": user, "link": link(code), "code": code})
        with override(language):
            subject = _("A new password for the clothes matcher")
        # To the stored address, not to the typed one: a database may treat two different addresses as equal.
        send_mail(subject, text, None, [user.email])
    except Exception:
        logger.exception("The mail for a new password could not be sent to account %s.", user.pk)


def password_reset_code(*, user: User) -> str:
    """The code of a reset link, `<uid>-<token>`. Valid for an hour, until the password or the address changes."""
    return f"{urlsafe_base64_encode(force_bytes(user.pk))}-{default_token_generator.make_token(user)}"


def password_reset_user(*, uid: str, token: str) -> User:
    """The user whose password may be set with the two parts of a code.

    Raises `Refused`: `reset_link_invalid` when the code is malformed, used or expired.
    """
    user = User.objects.filter(pk=_account_id(uid) or 0, is_active=True).first()
    if user is None or not default_token_generator.check_token(user, token):
        raise Refused("reset_link_invalid", "This link was used before, or is too old. Please ask for a new one.")
    return user


def _account_id(uid: str) -> int | None:
    """Decode the primary key of an account; None if it is malformed."""
    try:
        text = urlsafe_base64_decode(uid).decode("ascii")
    except ValueError:
        return None
    return int(text) if text.isdigit() and len(text) < 19 else None


def password_reset(*, uid: str, token: str, password: str) -> None:
    """Set a new password, sign out all devices and browsers, and lift the lockout, in one transaction.

    Raises `Refused`: `reset_link_invalid`; `weak_password`.
    """
    user = password_reset_user(uid=uid, token=token)
    password_validate(user=user, password=password)
    old_hash = user.password
    user.set_password(password)
    with transaction.atomic():
        # The conditional UPDATE lets one of two concurrent requests win. Sessions end, as they hold a password hash.
        if not User.objects.filter(pk=user.pk, password=old_hash).update(password=user.password):
            raise Refused("reset_link_invalid", "This link was used before, or is too old. Please ask for a new one.")
        devices_sign_out(user=user)
        AccessAttempt.objects.filter(username=user.username).delete()
