"""What the OpenAPI schema says about errors, the same way for every endpoint."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from catalog.api.errors import CONTENT_TYPE

MEANINGS = {
    400: "The input is at fault: `code` and `errors` say where.",
    401: "No valid token or session.",
    403: "Not allowed.",
    404: "There is no such thing, or it is not yours.",
    405: "The address does not take this method.",
    406: "Nothing acceptable to answer with.",
    411: "The body's length was not announced.",
    413: "The photo is too large.",
    415: "The content type is not one that is taken here.",
    429: "Too many requests; `Retry-After` says when to come back.",
    503: "The database or the storage cannot be reached; try again later.",
    507: "No room for pictures is left.",
}


class FieldProblemSerializer(serializers.Serializer[Any]):
    field = serializers.CharField(help_text="A path, such as `filters.min_price`; empty for the whole body.")
    code = serializers.CharField()
    detail = serializers.CharField()


class ProblemSerializer(serializers.Serializer[Any]):
    """RFC 9457, with a stable code and what is wrong with which field."""

    type = serializers.CharField()
    title = serializers.CharField(help_text="The name of the status.")
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="A sentence for people.")
    code = serializers.CharField(help_text="For machines; never changes.")
    errors = FieldProblemSerializer(many=True)  # type: ignore[assignment]  # hides an attribute nobody uses here


def problems(*statuses: int) -> dict[Any, OpenApiResponse]:
    """The error answers of an endpoint, for `extend_schema(responses=...)`."""
    return {
        (status, CONTENT_TYPE): OpenApiResponse(ProblemSerializer, description=MEANINGS[status])
        for status in (*statuses, 503)
    }


def response_header(name: str, description: str, *statuses: int) -> OpenApiParameter:
    return OpenApiParameter(
        name, str, OpenApiParameter.HEADER, description=description, response=[str(code) for code in statuses]
    )
