"""What browsers may run and load on our pages."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils.functional import cached_property

# Our pages have no script, style or address of anybody else inside. A preview is a blob of the page's own.
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


class ContentPolicy:
    """Tells browsers to run and load only what is ours, so that text of a catalogue could never become a script.

    The admin and the API's documentation are other people's pages, written with scripts inside.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if not request.path.startswith(self.of_others):
            response.setdefault("Content-Security-Policy", CONTENT_POLICY)
        return response

    @cached_property
    def of_others(self) -> tuple[str, str]:
        return reverse("admin:index"), reverse("api:docs")
