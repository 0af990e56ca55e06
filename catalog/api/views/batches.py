"""Many queries in one request."""

import time
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog import events
from catalog.api.authentication import signed_in
from catalog.api.idempotency import idempotency_key
from catalog.api.parsers import DeepSafeJSONParser
from catalog.api.permissions import EVERYBODY
from catalog.api.prefer import preferred_wait
from catalog.api.schema import problems, response_header
from catalog.api.serializers.batches import MAX_BATCH, BatchRequestSerializer, BatchSerializer
from catalog.api.serializers.queries import QueryRequestSerializer, QuerySerializer
from catalog.api.views.queries import PREFER, idempotency_key_parameter
from catalog.http.error_handler import api_problem_for
from catalog.http.problems import NOT_FOUND, Problem
from catalog.http.timing import ms_since_start
from catalog.models import SimilarityQuery
from catalog.services.queries.answers import queries_with_answers
from catalog.services.queries.create import query_create

LONGEST_KEY = 250  # with the place of an entry behind it, such as /49, it is still a key


class QueryBatch(APIView):
    """Up to fifty queries at once; each has an answer of its own, and a bad one does not hurt the others."""

    parser_classes: tuple[type[BaseParser], ...] = (DeepSafeJSONParser,)
    scopes = EVERYBODY
    throttle_scope = "query"

    def throttle_cost(self, request: Request) -> int:
        """As many queries as it holds; a body that holds none is refused anyway."""
        queries = request.data.get("queries") if isinstance(request.data, dict) else None
        return max(1, min(len(queries), MAX_BATCH)) if isinstance(queries, list) else 1

    @extend_schema(
        operation_id="query_batch",
        tags=["queries"],
        description="The entries are taken one after the other. An `Idempotency-Key` (at most "
        f"{LONGEST_KEY} characters) is that of each entry with its place behind it: `key/0`, `key/1` and so on. "
        "`Prefer: wait=N` waits until all have ended, N seconds at most.",
        parameters=[
            PREFER,
            idempotency_key_parameter(longest=LONGEST_KEY),
            response_header("Preference-Applied", "The wait that was granted, if all have ended in it.", 200),
        ],
        request=BatchRequestSerializer,
        responses={200: BatchSerializer, **problems(400, 401, 403, 411, 413, 415, 429)},
    )
    def post(self, request: Request) -> Response:
        key = idempotency_key(request, longest=LONGEST_KEY)
        serializer = BatchRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        receive_ms = ms_since_start(request._request)
        made = [
            self._make(entry, None if key is None else f"{key}/{place}", receive_ms)
            for place, entry in enumerate(serializer.validated_data["queries"])
        ]
        seconds = preferred_wait(request._request)
        self._wait([query for query in made if isinstance(query, SimilarityQuery)], seconds)
        results = self._results(made, waited=seconds > 0)
        all_ended = seconds and all(result["status"] != status.HTTP_202_ACCEPTED for result in results)
        return Response({"results": results}, headers={"Preference-Applied": f"wait={seconds}"} if all_ended else {})

    def _make(self, entry: Any, key: str | None, receive_ms: float) -> SimilarityQuery | Problem:
        try:
            serializer = QueryRequestSerializer(data=entry, context={"request": self.request, "idempotency_key": key})
            serializer.is_valid(raise_exception=True)
            return query_create(
                owner=signed_in(self.request), idempotency_key=key, receive_ms=receive_ms, **serializer.validated_data
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

    def _results(self, made: list[SimilarityQuery | Problem], *, waited: bool) -> list[dict[str, Any]]:
        ids = [query.pk for query in made if isinstance(query, SimilarityQuery)]
        now = {query.pk: query for query in queries_with_answers(owner=signed_in(self.request)).filter(pk__in=ids)}
        results = []
        for one in made:
            query = now.get(one.pk) if isinstance(one, SimilarityQuery) else None
            if isinstance(one, Problem) or query is None:  # deleted meanwhile, by another device
                results.append(_refusal(one if isinstance(one, Problem) else NOT_FOUND))
                continue
            ended = waited and query.has_ended
            results.append(
                {
                    "status": status.HTTP_200_OK if ended else status.HTTP_202_ACCEPTED,
                    "replayed": one.is_replay,
                    "query": QuerySerializer(query, context={"request": self.request}).data,
                }
            )
        return results


def _refusal(problem: Problem) -> dict[str, Any]:
    return {"status": problem.status, "problem": problem.as_json()}
