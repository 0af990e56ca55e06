"""Catch-all for unknown API URLs: 404, with a hint about a missing slash."""

from dataclasses import replace

from django.http import HttpRequest, JsonResponse
from django.urls import resolve
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt

from catalog.http.error_handler import problem_response
from catalog.http.problems import NOT_FOUND


@csrf_exempt
def unknown(request: HttpRequest) -> JsonResponse:
    """Respond with 404. Without this route Django would redirect a POST without its trailing slash into a GET."""
    with_slash = request.path_info + "/"
    if request.path_info.endswith("/") or resolve(with_slash).func is unknown:
        return problem_response(NOT_FOUND)
    detail = _("There is nothing at this address. Did you mean {address} ?").format(address=with_slash)
    return problem_response(replace(NOT_FOUND, detail=detail))
