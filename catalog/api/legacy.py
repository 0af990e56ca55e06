"""Route of the existing Android app: a photo as JSON posted to `/`, the pictures of the best matches in the response.

The app is deployed and cannot be changed. It sends no credentials, times out after ten seconds, and reads two members
of the response: `hello`, a sentence, and `images`, best match first. Errors have both members too: the app reads the
body without checking the status and would fail on null.
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
from catalog.photos.thumbnails import thumbnail
from catalog.photos.validation import source_hash
from catalog.services.queries.create import query_create

MAX_RESULTS = 10  # the most that the app offers
TIMEOUT = 8.5  # seconds from the last byte of the photo; the app hangs up after 10, and sending the pictures takes time
WIDTH = 320  # px of the pictures; ten of them are about 200 kB
RETRY_WINDOW = timedelta(minutes=10)  # within it, the same photo sent again gets the answer that came too late
TOO_SLOW = Problem(
    503,
    "answer_not_ready",
    "Your photo has arrived, but the search takes longer than usual. Please send it again in a moment.",
    headers={"Retry-After": "5"},
)


class LegacyRequestSerializer(serializers.Serializer[Any]):
    """The app's request. Unknown members are ignored; the Java JSON libraries write the number as 5, 5.0 or "5"."""

    numResults = serializers.IntegerField(min_value=1, max_value=MAX_RESULTS)  # noqa: N815 - the app's own name
    photo = PhotoField()


class LegacyRoute(APIView):
    """Answer a photo with pictures. Needs no account, so it has its own feature flag, rate limit and size limit."""

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
        """Ignore `Accept`: the app understands JSON only."""
        return super().perform_content_negotiation(request, force=True)

    def get_exception_handler(self) -> Any:
        return _problem_handler

    def post(self, request: Request) -> HttpResponse:
        serializer = LegacyRequestSerializer(data=request.data)
        receive_ms, deadline = ms_since_start(request._request), time.monotonic() + TIMEOUT
        serializer.is_valid(raise_exception=True)
        photo, k = serializer.validated_data["photo"], serializer.validated_data["numResults"]
        visitor = _visitor(photo)
        query = _undelivered_query(visitor, k) or query_create(photo=photo, visitor=visitor, k=k, receive_ms=receive_ms)
        if not query.has_ended:
            events.wait_until_ended(query.pk, deadline - time.monotonic())
        return _answer(SimilarityQuery.objects.defer("vector").filter(pk=query.pk).first())


legacy_route = LegacyRoute.as_view()


def _visitor(photo: bytes) -> str:
    """Return a visitor key derived from the photo's bytes (HMAC with the site's secret).

    It contains nothing about the sender, so the rows do not link photos of one phone. The same photo sent again, as
    people do after a 503, is the same row with its answer, or at least its vector. No session has such a key, so the
    photo cannot be requested by others.
    """
    return f"legacy-{salted_hmac('catalog.api.legacy', source_hash(photo), algorithm='sha256').hexdigest()[:56]}"


def _undelivered_query(visitor: str, k: int) -> SimilarityQuery | None:
    """Return a recent query with the same photo and `k` whose answer was not delivered: running, or done too late."""
    is_late = Q(state=QueryState.DONE, finished_at__gt=F("created_at") + timedelta(seconds=TIMEOUT))
    recent = SimilarityQuery.objects.owned_by(visitor=visitor).filter(k=k, created_at__gt=timezone.now() - RETRY_WINDOW)
    return recent.filter(Q(finished_at=None) | is_late).defer("vector").first()


def _answer(query: SimilarityQuery | None) -> HttpResponse:
    """Respond with the pictures, or why there are none. `query` is None if staff deleted the photo during the wait."""
    if query is None:
        raise Refused("photo_gone", "The photo has been deleted. Please send it again.", status=410)
    if query.state == QueryState.DONE:
        images = [{"image": picture} for photo in _best_photos(query) if (picture := _picture(photo))]
        return JsonResponse({"hello": _greeting(query, bool(images)), "images": images})
    if query.state == QueryState.FAILED:
        sentence = failure_sentence(query.error_code, query.error_detail)
        failed = Problem(503, query.error_code, sentence, headers=TOO_SLOW.headers)
        return as_legacy_problem(problem_response(failed))
    return as_legacy_problem(problem_response(TOO_SLOW))


def _best_photos(query: SimilarityQuery) -> list[ItemPhoto]:
    """Return the matching photos by rank, without items that were hidden since the search."""
    shown = query.recommendations.filter(item__in=CatalogItem.objects.findable())
    return [match.photo for match in shown.select_related("photo").order_by("rank")]


def _picture(photo: ItemPhoto) -> str | None:
    """Return the picture as base64 without line breaks; None if its file is missing."""
    try:
        return base64.b64encode(thumbnail(photo.file, WIDTH)).decode("ascii")
    except FileNotFoundError:
        return None


def _greeting(query: SimilarityQuery, has_matches: bool) -> str:
    if query.probably_not_clothes:
        return _("This does not look like a garment. Please photograph one from close by.")
    if not has_matches:
        return _("There is nothing similar in the catalogue.")
    if query.outcome == Outcome.NO_CLOSE_MATCH:
        return _("We may not have this exact garment, but these come close.")
    return _("These are most similar to your photo, best match first.")


def _problem_handler(exception: Exception, context: dict[str, Any]) -> JsonResponse | None:
    problem = problem_handler(exception, context)
    return None if problem is None else as_legacy_problem(problem)
