"""A forgotten password: a mail with a link, and what the link leads to."""

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

# Mails are written and sent after the answer, which so takes as long for an address that nobody has. One that is lost
# with the process is asked for again.
_post = ThreadPoolExecutor(max_workers=1, thread_name_prefix="post")
_PAUSE = 0.1  # seconds until the answer is surely out: the work on a mail would slow it, and so tell of an account


def password_reset_request(*, email: str, link: Callable[[str], str]) -> None:
    """Send a link to the person with this address. Nobody learns from it whether there is one.

    `link` makes an address of this site from the code. The mail is in the language that is spoken at the moment.
    """
    addressed = User.objects.alias(lowered=Lower("email")).filter(lowered=Lower(Value(email)), is_active=True)
    user = addressed.exclude(email="").first()
    _post.submit(_send, user, link, get_language() or "en")


def _send(user: User | None, link: Callable[[str], str], language: str) -> None:
    time.sleep(_PAUSE)
    if user is None or not user.has_usable_password():  # one that never had a password signs in in another way
        return
    code = password_reset_code(user=user)
    try:
        letter = [f"mail/password_reset.{language}.txt", "mail/password_reset.txt"]  # the first there is
        text = render_to_string(letter, {"user": user, "link": link(code), "code": code})
        with override(language):
            subject = _("A new password for the clothes matcher")
        # To the address of the account, not to the one that was typed: two may look alike to a database.
        send_mail(subject, text, None, [user.email])
    except Exception:
        logger.exception("The mail for a new password could not be sent to account %s.", user.pk)


def password_reset_code(*, user: User) -> str:
    """Who the link is for, a hyphen, and the proof. Good for an hour, and until the password or the address changes."""
    return f"{urlsafe_base64_encode(force_bytes(user.pk))}-{default_token_generator.make_token(user)}"


def password_reset_user(*, uid: str, token: str) -> User:
    """Whose password may be set with these two parts of the code. Refused if the code is none, used or too old."""
    user = User.objects.filter(pk=_number(uid) or 0, is_active=True).first()
    if user is None or not default_token_generator.check_token(user, token):
        raise Refused("reset_link_invalid", "This link was used before, or is too old. Please ask for a new one.")
    return user


def _number(uid: str) -> int | None:
    """The number of an account; None if it is none."""
    try:
        text = urlsafe_base64_decode(uid).decode("ascii")
    except ValueError:
        return None
    return int(text) if text.isdigit() and len(text) < 19 else None


def password_reset(*, uid: str, token: str, password: str) -> None:
    """Set a new password. All devices and browsers are signed out, and whoever was locked out may try again."""
    user = password_reset_user(uid=uid, token=token)
    password_validate(user=user, password=password)
    earlier = user.password
    user.set_password(password)
    with transaction.atomic():
        # Of two requests with the same link at the same moment one wins. Sessions carry a hash of the old password.
        if not User.objects.filter(pk=user.pk, password=earlier).update(password=user.password):
            raise Refused("reset_link_invalid", "This link was used before, or is too old. Please ask for a new one.")
        devices_sign_out(user=user)
        AccessAttempt.objects.filter(username=user.username).delete()
