"""Many queries in one request, with an answer for each."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from catalog.api.fields import StrictSerializer
from catalog.api.schema import ProblemSerializer
from catalog.api.serializers.queries import QueryRequestSerializer, QuerySerializer

MAX_BATCH = 50


@extend_schema_field(QueryRequestSerializer(many=True))
class EntriesField(serializers.ListField):
    """Bodies of queries. Whether each is in order is told with its answer, so that a bad one does not hurt the rest."""


class BatchRequestSerializer(StrictSerializer):
    queries = EntriesField(
        min_length=1, max_length=MAX_BATCH, help_text=f"1 to {MAX_BATCH} bodies, each as `POST /queries/` takes it."
    )


class BatchResultSerializer(serializers.Serializer[Any]):
    """What came of one entry: a query or a problem."""

    status = serializers.IntegerField(help_text="200 if it has ended, 202 if it has not, else the problem's.")
    replayed = serializers.BooleanField(required=False, help_text="Whether the same entry was sent before.")
    query = QuerySerializer(required=False)
    problem = ProblemSerializer(required=False)


class BatchSerializer(serializers.Serializer[Any]):
    results = BatchResultSerializer(many=True, help_text="In the order of the entries.")
