"""Absolute links to pages of this site, for mails."""

from collections.abc import Callable

from django.http import HttpRequest
from django.urls import reverse


def link_maker(request: HttpRequest) -> Callable[[str], str]:
    """Return a function from a reset code to the absolute URL of the page that accepts it."""
    site = request.build_absolute_uri("/")[:-1]
    return lambda code: site + reverse("password-reset", args=[code])
