"""`Idempotency-Key`: sending a request again, after an answer that got lost, without doing its work again."""

import re

from django.utils.translation import gettext as _
from rest_framework.request import Request

from catalog.errors import Refused

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
REPLAYED = {"Idempotency-Replayed": "true"}


def idempotency_key(request: Request, *, longest: int = 255) -> str | None:
    """The key that the client has made for this request; None if it sent none. Refused if it is none."""
    key: str | None = request.headers.get("Idempotency-Key")
    if key is not None and (not _KEY.fullmatch(key) or len(key) > longest):
        detail = _("An Idempotency-Key has 1 to {longest} visible ASCII characters.").format(longest=longest)
        raise Refused("idempotency_key_invalid", detail)
    return key
