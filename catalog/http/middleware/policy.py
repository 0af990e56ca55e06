"""Middleware: Content-Security-Policy of the site's pages."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils.functional import cached_property

# Pages have no inline script or style and load nothing from other sites. A preview is a blob of the page's own.
CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)


class ContentSecurityPolicy:
    """Allow scripts, styles and pictures from this site only: a second defence against XSS by catalogue text.

    Not for the admin and the API documentation: third-party pages with inline scripts.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if not request.path.startswith(self.excluded):
            response.setdefault("Content-Security-Policy", CONTENT_POLICY)
        return response

    @cached_property
    def excluded(self) -> tuple[str, str]:
        """The path prefixes without the policy."""
        return reverse("admin:index"), reverse("api:docs")
