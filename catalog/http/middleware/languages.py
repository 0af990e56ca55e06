"""In which language the site speaks."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase
from django.utils import translation
from django.utils.cache import patch_vary_headers

SPOKEN = ("/api/", "/account/")


class Languages:
    """What is written in several languages follows `Accept-Language`: the API, and the pages for a forgotten password.

    So does what the existing app is told, which mostly asks for nothing and gets English. The other pages are written
    in English alone, and stay so: Django's own middleware would make the admin and the forms of every site a mixture.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not (request.path_info.startswith(SPOKEN) or _is_from_the_app(request)):
            return self.get_response(request)
        language = translation.get_language_from_request(request)
        with translation.override(language):
            response = self.get_response(request)
        response.setdefault("Content-Language", language)
        patch_vary_headers(response, ("Accept-Language",))
        return response


def _is_from_the_app(request: HttpRequest) -> bool:
    return request.path_info == "/" and request.content_type == "application/json"
