"""Serializers of query batches."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from catalog.api.fields import StrictSerializer
from catalog.api.schema import ProblemSerializer
from catalog.api.serializers.queries import QueryRequestSerializer, QuerySerializer

MAX_BATCH = 50


@extend_schema_field(QueryRequestSerializer(many=True))
class EntriesField(serializers.ListField):
    """Query bodies, validated one by one by the view: an invalid entry does not fail the batch."""


class BatchRequestSerializer(StrictSerializer):
    """A batch of queries."""

    queries = EntriesField(
        min_length=1, max_length=MAX_BATCH, help_text=f"1 to {MAX_BATCH} query bodies, as for `POST /queries/`."
    )


class BatchResultSerializer(serializers.Serializer[Any]):
    """Result of one entry: a query or a problem."""

    status = serializers.IntegerField(
        help_text="200 for an ended query, 202 for a running one, else the problem's status."
    )
    replayed = serializers.BooleanField(
        required=False, help_text="Whether the same entry was sent before with the same `Idempotency-Key`."
    )
    query = QuerySerializer(required=False)
    problem = ProblemSerializer(required=False)


class BatchSerializer(serializers.Serializer[Any]):
    """The results of a batch."""

    results = BatchResultSerializer(many=True, help_text="In the order of the entries.")
