"""Endpoint for query batches."""

import time
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog import events
from catalog.api.authentication import current_user
from catalog.api.parsers import DeepSafeJSONParser
from catalog.api.permissions import ANY_SCOPE
from catalog.api.request_headers import PREFER, idempotency_key, idempotency_key_parameter, preferred_wait
from catalog.api.schema import problems, response_header
from catalog.api.serializers.batches import MAX_BATCH, BatchRequestSerializer, BatchSerializer
from catalog.api.serializers.queries import QueryRequestSerializer, QuerySerializer
from catalog.http.error_handler import api_problem_for
from catalog.http.problems import NOT_FOUND, Problem
from catalog.http.timing import ms_since_start
from catalog.models import SimilarityQuery
from catalog.services.queries.create import query_create
from catalog.services.queries.read import queries_with_answers

LONGEST_KEY = 250  # with the index of an entry appended, such as /49, it is still a valid key


class QueryBatch(APIView):
    """Create up to fifty queries. Each entry has its own result; an invalid entry does not fail the others."""

    parser_classes: tuple[type[BaseParser], ...] = (DeepSafeJSONParser,)
    scopes = ANY_SCOPE
    throttle_scope = "query"

    def throttle_cost(self, request: Request) -> int:
        """Return the number of queries in the body; an invalid body costs 1 and is refused later."""
        queries = request.data.get("queries") if isinstance(request.data, dict) else None
        return max(1, min(len(queries), MAX_BATCH)) if isinstance(queries, list) else 1

    @extend_schema(
        operation_id="query_batch",
        tags=["queries"],
        description="The entries are processed in order. The `Idempotency-Key` (at most "
        f"{LONGEST_KEY} characters) applies to each entry with its index appended: `key/0`, `key/1` and so on. "
        "`Prefer: wait=N` waits until all queries have ended, at most N seconds.",
        parameters=[
            PREFER,
            idempotency_key_parameter(longest=LONGEST_KEY),
            response_header("Preference-Applied", "The granted wait, if all queries have ended within it.", 200),
        ],
        request=BatchRequestSerializer,
        responses={200: BatchSerializer, **problems(400, 401, 403, 411, 413, 415, 429)},
    )
    def post(self, request: Request) -> Response:
        key = idempotency_key(request, longest=LONGEST_KEY)
        serializer = BatchRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        receive_ms = ms_since_start(request._request)
        created = [
            self._create(entry, None if key is None else f"{key}/{index}", receive_ms)
            for index, entry in enumerate(serializer.validated_data["queries"])
        ]
        seconds = preferred_wait(request._request)
        self._wait([query for query in created if isinstance(query, SimilarityQuery)], seconds)
        results = self._results(created, waited=seconds > 0)
        all_ended = seconds and all(result["status"] != status.HTTP_202_ACCEPTED for result in results)
        return Response({"results": results}, headers={"Preference-Applied": f"wait={seconds}"} if all_ended else {})

    def _create(self, entry: Any, key: str | None, receive_ms: float) -> SimilarityQuery | Problem:
        try:
            serializer = QueryRequestSerializer(data=entry, context={"request": self.request, "idempotency_key": key})
            serializer.is_valid(raise_exception=True)
            return query_create(
                owner=current_user(self.request),
                idempotency_key=key,
                receive_ms=receive_ms,
                **serializer.validated_data,
            )
        except Exception as error:
            problem = api_problem_for(error)
            if problem is None:
                raise
            return problem

    def _wait(self, queries: list[SimilarityQuery], seconds: int) -> None:
        deadline = time.monotonic() + seconds
        for query in queries:
            events.wait_until_ended(query.pk, deadline - time.monotonic())

    def _results(self, created: list[SimilarityQuery | Problem], *, waited: bool) -> list[dict[str, Any]]:
        ids = [query.pk for query in created if isinstance(query, SimilarityQuery)]
        current = {
            query.pk: query for query in queries_with_answers(owner=current_user(self.request)).filter(pk__in=ids)
        }
        results = []
        for entry in created:
            query = current.get(entry.pk) if isinstance(entry, SimilarityQuery) else None
            if isinstance(entry, Problem) or query is None:  # None: deleted by another device since
                results.append(_refusal(entry if isinstance(entry, Problem) else NOT_FOUND))
                continue
            ended = waited and query.has_ended
            results.append(
                {
                    "status": status.HTTP_200_OK if ended else status.HTTP_202_ACCEPTED,
                    "replayed": entry.is_replay,
                    "query": QuerySerializer(query, context={"request": self.request}).data,
                }
            )
        return results


def _refusal(problem: Problem) -> dict[str, Any]:
    return {"status": problem.status, "problem": problem.as_json()}
