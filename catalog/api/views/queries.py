"""Asking for the items most like a photo or an item, and reading the answer."""

from typing import Any

from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.generics import ListAPIView, RetrieveDestroyAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from catalog import events
from catalog.api.authentication import signed_in
from catalog.api.idempotency import REPLAYED, idempotency_key
from catalog.api.pagination import NewestFirst
from catalog.api.parsers import PHOTO_PARSERS
from catalog.api.permissions import EVERYBODY
from catalog.api.prefer import preferred_wait
from catalog.api.schema import problems, response_header
from catalog.api.serializers.queries import (
    QueryFormSerializer,
    QueryRequestSerializer,
    QuerySerializer,
    QuerySummarySerializer,
    QueryWishSerializer,
)
from catalog.http.timing import ms_since_start
from catalog.models import SimilarityQuery
from catalog.services.queries.answers import queries_of, queries_with_answers, query_with_answer
from catalog.services.queries.create import query_create, query_delete

RETRY_AFTER = {"Retry-After": "1"}
RAW_PHOTO = {"type": "string", "format": "binary"}
PREFER = OpenApiParameter("Prefer", str, OpenApiParameter.HEADER, description="`wait=N`: wait up to N seconds.")


def idempotency_key_parameter(*, longest: int = 255) -> OpenApiParameter:
    return OpenApiParameter(
        "Idempotency-Key",
        {"type": "string", "minLength": 1, "maxLength": longest, "pattern": "^[!-~]+$"},
        OpenApiParameter.HEADER,
        description="Of your making: a request that is sent again with it gets the query of the first one.",
    )


class QueryList(ListAPIView[SimilarityQuery]):
    """My queries, newest first; and the way to make one."""

    serializer_class = QuerySummarySerializer
    pagination_class = NewestFirst
    parser_classes = PHOTO_PARSERS
    scopes = EVERYBODY
    throttle_scope = "query"

    def get_queryset(self) -> Any:
        given = {name: text for name, text in self.request.query_params.items() if name == "state"}
        wish = QueryWishSerializer(data=given)
        wish.is_valid(raise_exception=True)
        return queries_of(owner=signed_in(self.request)).filter(**wish.validated_data)

    @extend_schema(
        operation_id="query_list",
        tags=["queries"],
        parameters=[QueryWishSerializer],
        responses={200: QuerySummarySerializer(many=True), **problems(400, 401, 403, 404, 429)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="query_create",
        tags=["queries"],
        description="Send exactly one of `photo`, `photo_id`, `photo_url`, `photos` and `item_id`; or the picture "
        "itself as the body, and the rest in the query string. The answer is 202 with the query's address, where it "
        "can be followed; or 200 with the finished query, if `Prefer: wait=N` was sent and it ended in time.",
        parameters=[
            PREFER,
            idempotency_key_parameter(),
            response_header("Location", "The query's address.", 200, 202),
            response_header("Retry-After", "Seconds until it is worth asking again.", 202),
            response_header("Preference-Applied", "The wait that was granted.", 200),
            response_header("Idempotency-Replayed", "`true` if the same request was sent before.", 200, 202),
        ],
        request={
            "multipart/form-data": QueryFormSerializer,
            "application/json": QueryRequestSerializer,
            "image/*": RAW_PHOTO,
            "application/octet-stream": RAW_PHOTO,
        },
        responses={
            200: QuerySerializer,
            202: QuerySerializer,
            **problems(400, 401, 403, 404, 410, 411, 413, 415, 422, 429, 507),
        },
    )
    def post(self, request: Request) -> Response:
        key = idempotency_key(request)
        serializer = QueryRequestSerializer(data=request.data, context={"request": request, "idempotency_key": key})
        serializer.is_valid(raise_exception=True)
        receive_ms = ms_since_start(request._request)
        query = query_create(
            owner=signed_in(request), idempotency_key=key, receive_ms=receive_ms, **serializer.validated_data
        )
        return self._answer(query, preferred_wait(request._request))

    def _answer(self, made: SimilarityQuery, seconds: int) -> Response:
        if seconds:  # no transaction is open here, so a waiting request blocks nobody
            events.wait_until_ended(made.pk, seconds)
        query = query_with_answer(created=made)
        if query is None:  # another device has deleted it meanwhile
            raise Http404
        met = bool(seconds) and query.has_ended
        told = {"Preference-Applied": f"wait={seconds}"} if met else RETRY_AFTER
        told = told | REPLAYED if made.is_replay else told
        shown = QuerySerializer(query, context=self.get_serializer_context()).data
        return Response(
            shown,
            status=status.HTTP_200_OK if met else status.HTTP_202_ACCEPTED,
            headers={"Location": shown["url"], **told},
        )


class QueryDetail(RetrieveDestroyAPIView[SimilarityQuery]):
    """One query of mine, with its answer once there is one."""

    serializer_class = QuerySerializer
    scopes = EVERYBODY

    def get_queryset(self) -> Any:
        return queries_with_answers(owner=signed_in(self.request))

    @extend_schema(
        operation_id="query",
        tags=["queries"],
        parameters=[response_header("Retry-After", "Seconds until it is worth asking again.", 200)],
        responses={200: QuerySerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        query = self.get_object()
        return Response(self.get_serializer(query).data, headers={} if query.has_ended else RETRY_AFTER)

    @extend_schema(
        operation_id="query_delete",
        tags=["queries"],
        description="Deletes the query with its answer. Its photo stays: it has an address of its own.",
        responses={204: None, **problems(401, 403, 404, 429)},
    )
    def delete(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().delete(request, *args, **kwargs)

    def perform_destroy(self, instance: SimilarityQuery) -> None:
        query_delete(query=instance)
