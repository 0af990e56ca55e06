"""The existing Android app: it posts a photo as JSON to `/`, and shows the pictures that come back.

The app is out there and cannot be changed. It sends no credentials, waits ten seconds for one answer, and reads two
members of it: `hello`, a sentence, and `images`, best match first. Errors carry both as well, so that an app which
reads the body without a look at the status finds a sentence and no pictures instead of stumbling over null.
"""

import base64
import time
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db.models import F, Q
from django.http import Http404, HttpResponse, JsonResponse
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.views import APIView

from catalog import events
from catalog.api.fields import PhotoField
from catalog.api.parsers import DeepSafeJSONParser
from catalog.errors import Refused
from catalog.http.error_handler import problem_handler, problem_response
from catalog.http.error_pages import as_legacy_problem
from catalog.http.problems import Problem, failure_sentence
from catalog.http.throttles import ScopedThrottle
from catalog.http.timing import ms_since_start
from catalog.models import CatalogItem, ItemPhoto, Outcome, QueryState, SimilarityQuery
from catalog.photos.clean import source_hash
from catalog.photos.thumbnails import thumbnail
from catalog.services.queries.create import query_create

MAX_RESULTS = 10  # what the app lets its user choose
PATIENCE = 8.5  # seconds from the last byte of the photo; the app hangs up after 10, and the pictures need their time
WIDTH = 320  # px of the pictures; ten of them are about 200 kB
ASKED_AGAIN = timedelta(minutes=10)  # for so long an answer that came too late waits for its photo to be sent again
TOO_SLOW = Problem(
    503,
    "answer_not_ready",
    "Your photo has arrived, but finding what looks like it takes longer than usual. Please send it again in a moment.",
    headers={"Retry-After": "5"},
)


class LegacyRequestSerializer(serializers.Serializer[Any]):
    """What the app sends. Members that are not known are ignored; 5, 5.0 and "5" are all five to Java's libraries."""

    numResults = serializers.IntegerField(min_value=1, max_value=MAX_RESULTS)  # noqa: N815 - the app's own name
    photo = PhotoField()


class LegacyRoute(APIView):
    """A photo in, pictures out. Needs no account, so it has a switch, a rate and a size of its own."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    parser_classes = (DeepSafeJSONParser,)
    throttle_classes = (ScopedThrottle,)
    throttle_scope = "legacy"

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        if not settings.LEGACY_ROUTE:
            raise Http404
        super().initial(request, *args, **kwargs)
        if int(request.META.get("CONTENT_LENGTH") or 0) > settings.LEGACY_MAX_KB * 1024:
            raise RequestDataTooBig

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        """Whatever it says that it accepts, this is the only answer it understands."""
        return super().perform_content_negotiation(request, force=True)

    def get_exception_handler(self) -> Any:
        return _problem_handler

    def post(self, request: Request) -> HttpResponse:
        wish = LegacyRequestSerializer(data=request.data)
        received_ms, deadline = ms_since_start(request._request), time.monotonic() + PATIENCE
        wish.is_valid(raise_exception=True)
        photo, k = wish.validated_data["photo"], wish.validated_data["numResults"]
        visitor = _visitor_of(photo)
        query = _unread_query(visitor, k) or query_create(photo=photo, visitor=visitor, k=k, receive_ms=received_ms)
        if not query.has_ended:
            events.wait_until_ended(query.pk, deadline - time.monotonic())
        return _answer(SimilarityQuery.objects.defer("vector").filter(pk=query.pk).first())


legacy_route = LegacyRoute.as_view()


def _visitor_of(photo: bytes) -> str:
    """Whose the photo is, as far as that is known: whoever holds these very bytes.

    Nothing of the sender is in it, so the rows do not tell which photos came from one phone. The same photo sent again,
    as people do after a 503, is the same row: its answer is there, or at least its vector. It is made with the site's
    secret and no session holds it, so nobody can ask for the photo of somebody else.
    """
    return f"legacy-{salted_hmac('catalog.api.legacy', source_hash(photo), algorithm='sha256').hexdigest()[:56]}"


def _unread_query(visitor: str, k: int) -> SimilarityQuery | None:
    """The same wish for the same photo if its answer has not been given: still on the way, or done after the 503."""
    came_late = Q(state=QueryState.DONE, finished_at__gt=F("created_at") + timedelta(seconds=PATIENCE))
    recent = SimilarityQuery.objects.owned_by(visitor=visitor).filter(k=k, created_at__gt=timezone.now() - ASKED_AGAIN)
    return recent.filter(Q(finished_at=None) | came_late).defer("vector").first()


def _answer(query: SimilarityQuery | None) -> HttpResponse:
    """None: staff deleted the photo while it was waited for."""
    if query is None:
        raise Refused("photo_gone", "The photo was deleted meanwhile. Please send it again.", status=410)
    if query.state == QueryState.DONE:
        images = [{"image": picture} for photo in _best_photos(query) if (picture := _picture(photo))]
        return JsonResponse({"hello": _greeting(query, bool(images)), "images": images})
    if query.state == QueryState.FAILED:
        sentence = failure_sentence(query.error_code, query.error_detail)
        failed = Problem(503, query.error_code, sentence, headers=TOO_SLOW.headers)
        return as_legacy_problem(problem_response(failed))
    return as_legacy_problem(problem_response(TOO_SLOW))


def _best_photos(query: SimilarityQuery) -> list[ItemPhoto]:
    """In order of rank. An answer that waited is checked again for items that were hidden meanwhile."""
    shown = query.recommendations.filter(item__in=CatalogItem.objects.findable())
    return [found.photo for found in shown.select_related("photo").order_by("rank")]


def _picture(photo: ItemPhoto) -> str | None:
    """In base64, which the app takes with and without line breaks; None if its file is lost."""
    try:
        return base64.b64encode(thumbnail(photo.file, WIDTH)).decode("ascii")
    except FileNotFoundError:
        return None


def _greeting(query: SimilarityQuery, found: bool) -> str:
    if query.probably_not_clothes:
        return _("This does not look like a garment. Please photograph one from close by.")
    if not found:
        return _("There is nothing like it in the catalogue.")
    if query.outcome == Outcome.NO_CLOSE_MATCH:
        return _("Perhaps this very garment is not in the catalogue. These come nearest.")
    return _("These look most like your photo, the best match first.")


def _problem_handler(exception: Exception, context: dict[str, Any]) -> JsonResponse | None:
    problem = problem_handler(exception, context)
    return None if problem is None else as_legacy_problem(problem)
