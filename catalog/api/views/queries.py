"""Endpoints of similarity queries: create, list, read, delete."""

from typing import Any

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.generics import ListAPIView, RetrieveDestroyAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from catalog import events
from catalog.api.authentication import current_user
from catalog.api.pagination import NewestFirst
from catalog.api.parsers import PHOTO_PARSERS
from catalog.api.permissions import ANY_SCOPE
from catalog.api.request_headers import (
    PREFER,
    REPLAYED,
    idempotency_key,
    idempotency_key_parameter,
    preferred_wait,
)
from catalog.api.schema import RAW_PHOTO, problems, response_header
from catalog.api.serializers.queries import (
    QueryFormSerializer,
    QueryParametersSerializer,
    QueryRequestSerializer,
    QuerySerializer,
    QuerySummarySerializer,
)
from catalog.http.timing import ms_since_start
from catalog.models import SimilarityQuery
from catalog.services.queries.create import query_create, query_delete
from catalog.services.queries.read import queries_of, queries_with_answers, query_with_answer

RETRY_AFTER = {"Retry-After": "1"}


class QueryList(ListAPIView[SimilarityQuery]):
    """My queries, newest first; create a query."""

    serializer_class = QuerySummarySerializer
    pagination_class = NewestFirst
    parser_classes = PHOTO_PARSERS
    scopes = ANY_SCOPE
    throttle_scope = "query"

    def get_queryset(self) -> Any:
        parameters = {name: text for name, text in self.request.query_params.items() if name == "state"}
        serializer = QueryParametersSerializer(data=parameters)
        serializer.is_valid(raise_exception=True)
        return queries_of(owner=current_user(self.request)).filter(**serializer.validated_data)

    @extend_schema(
        operation_id="query_list",
        tags=["queries"],
        parameters=[QueryParametersSerializer],
        responses={200: QuerySummarySerializer(many=True), **problems(400, 401, 403, 404, 429)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="query_create",
        tags=["queries"],
        description="Send exactly one of `photo`, `photo_id`, `photo_url`, `photos` and `item_id`; or the picture "
        "itself as the body, with the other fields in the query string. The response is 202 with the URL of the "
        "query; or 200 with the ended query, if `Prefer: wait=N` was sent and it ended in time.",
        parameters=[
            PREFER,
            idempotency_key_parameter(),
            response_header("Location", "URL of the query.", 200, 202),
            response_header("Retry-After", "Seconds to wait before the next request.", 202),
            response_header("Preference-Applied", "The granted wait.", 200),
            response_header(
                "Idempotency-Replayed", "`true` if the response repeats the query of an earlier request.", 200, 202
            ),
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
            owner=current_user(request), idempotency_key=key, receive_ms=receive_ms, **serializer.validated_data
        )
        return self._respond(query, preferred_wait(request._request))

    def _respond(self, created: SimilarityQuery, seconds: int) -> Response:
        if seconds:  # no transaction is open here, so waiting holds no lock
            events.wait_until_ended(created.pk, seconds)
        query = query_with_answer(created=created)
        if query is None:  # deleted by another device since
            raise Http404
        has_ended_in_time = bool(seconds) and query.has_ended
        headers = {"Preference-Applied": f"wait={seconds}"} if has_ended_in_time else RETRY_AFTER
        headers = headers | REPLAYED if created.is_replay else headers
        body = QuerySerializer(query, context=self.get_serializer_context()).data
        return Response(
            body,
            status=status.HTTP_200_OK if has_ended_in_time else status.HTTP_202_ACCEPTED,
            headers={"Location": body["url"], **headers},
        )


class QueryDetail(RetrieveDestroyAPIView[SimilarityQuery]):
    """One of my queries, with its recommendations once it is done."""

    serializer_class = QuerySerializer
    scopes = ANY_SCOPE

    def get_queryset(self) -> Any:
        return queries_with_answers(owner=current_user(self.request))

    @extend_schema(
        operation_id="query",
        tags=["queries"],
        parameters=[response_header("Retry-After", "Seconds to wait before the next request.", 200)],
        responses={200: QuerySerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        query = self.get_object()
        return Response(self.get_serializer(query).data, headers={} if query.has_ended else RETRY_AFTER)

    @extend_schema(
        operation_id="query_delete",
        tags=["queries"],
        description="Delete the query with its answer. Its photo is kept and can be deleted separately.",
        responses={204: None, **problems(401, 403, 404, 429)},
    )
    def delete(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().delete(request, *args, **kwargs)

    def perform_destroy(self, instance: SimilarityQuery) -> None:
        query_delete(query=instance)
