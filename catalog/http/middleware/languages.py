"""Middleware: language of a response by `Accept-Language`."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase
from django.utils import translation
from django.utils.cache import patch_vary_headers

from catalog.http.error_pages import is_legacy_request

TRANSLATED = ("/api/", "/account/")


class Languages:
    """Follow `Accept-Language` for the API, the password pages and the existing Android app (English by default).

    The other pages are in English only. Django's LocaleMiddleware would mix languages in them and in the admin, whose
    forms have translations of Django's own.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not (request.path_info.startswith(TRANSLATED) or is_legacy_request(request)):
            return self.get_response(request)
        language = translation.get_language_from_request(request)
        with translation.override(language):
            response = self.get_response(request)
        response.setdefault("Content-Language", language)
        patch_vary_headers(response, ("Accept-Language",))
        return response
