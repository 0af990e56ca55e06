"""Middleware: the request ID of each response."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase

from catalog.http.request_ids import HEADER, begin_request


class RequestIds:
    """Set `X-Request-ID`. The outermost middleware, so that errors of all others have an ID too."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        name = begin_request(request.headers.get(HEADER, ""))
        response = self.get_response(request)
        response[HEADER] = name
        return response
