"""Asking for the items most like a photo, and reading the answer."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from catalog import queue
from catalog.api.authentication import signed_in
from catalog.api.pagination import NewestFirst
from catalog.api.prefer import preferred_wait
from catalog.api.schema import problems, response_header
from catalog.api.serializers.queries import (
    QueryFormSerializer,
    QueryRequestSerializer,
    QuerySerializer,
    QuerySummarySerializer,
)
from catalog.middleware import ms_since_start
from catalog.models import SimilarityQuery
from catalog.services.answers import queries_with_answers
from catalog.services.queries import query_create

RETRY_AFTER = {"Retry-After": "1"}


class QueryList(ListAPIView[SimilarityQuery]):
    """My queries, newest first; and the way to make one."""

    serializer_class = QuerySummarySerializer
    pagination_class = NewestFirst

    def get_queryset(self) -> Any:
        mine = SimilarityQuery.objects.of(user=signed_in(self.request))
        return mine.select_related("photo", "encoder").defer("vector")

    @extend_schema(
        operation_id="query_list",
        tags=["queries"],
        responses={200: QuerySummarySerializer(many=True), **problems(400, 401)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="query_create",
        tags=["queries"],
        description="Send exactly one of `photo` and `photo_id`. The answer is 202 with the query's address, where it "
        "can be followed; or 200 with the finished query, if `Prefer: wait=N` was sent and it ended in time.",
        parameters=[
            OpenApiParameter("Prefer", str, OpenApiParameter.HEADER, description="`wait=N`: wait up to N seconds."),
            response_header("Location", "The query's address.", 200, 202),
            response_header("Retry-After", "Seconds until it is worth asking again.", 202),
            response_header("Preference-Applied", "The wait that was granted.", 200),
        ],
        request={"multipart/form-data": QueryFormSerializer, "application/json": QueryRequestSerializer},
        responses={
            200: QuerySerializer,
            202: QuerySerializer,
            **problems(400, 401, 403, 411, 413, 415, 507),
        },
    )
    def post(self, request: Request) -> Response:
        serializer = QueryRequestSerializer(data=request.data, context={"request": request})
        serializer.is_valid(raise_exception=True)
        receive_ms = ms_since_start(request._request)
        query = query_create(owner=signed_in(request), receive_ms=receive_ms, **serializer.validated_data)
        return self._answer(query, preferred_wait(request._request))

    def _answer(self, query: SimilarityQuery, seconds: int) -> Response:
        if seconds:  # no transaction is open here, so a waiting request blocks nobody
            queue.wait_until_ended(query.pk, seconds)
        query = queries_with_answers(owner=signed_in(self.request)).get(pk=query.pk)
        met = bool(seconds) and query.has_ended
        headers = {"Preference-Applied": f"wait={seconds}"} if met else RETRY_AFTER
        return Response(
            QuerySerializer(query, context=self.get_serializer_context()).data,
            status=status.HTTP_200_OK if met else status.HTTP_202_ACCEPTED,
            headers={"Location": reverse("api:query", args=[query.pk], request=self.request), **headers},
        )


class QueryDetail(RetrieveAPIView[SimilarityQuery]):
    """One query of mine, with its answer once there is one."""

    serializer_class = QuerySerializer

    def get_queryset(self) -> Any:
        return queries_with_answers(owner=signed_in(self.request))

    @extend_schema(
        operation_id="query",
        tags=["queries"],
        parameters=[response_header("Retry-After", "Seconds until it is worth asking again.", 200)],
        responses={200: QuerySerializer, **problems(401, 404)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        query = self.get_object()
        return Response(self.get_serializer(query).data, headers={} if query.has_ended else RETRY_AFTER)
