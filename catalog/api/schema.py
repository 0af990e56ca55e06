"""What the OpenAPI schema says about errors, the same way for every endpoint."""

from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from catalog.http.error_handler import CONTENT_TYPE

MEANINGS = {
    400: "The input is at fault: `code` and `errors` say where.",
    401: "No valid token or session.",
    403: "Not allowed.",
    404: "There is no such thing, or it is not yours.",
    405: "The address does not take this method.",
    406: "Nothing acceptable to answer with.",
    410: "The photo was deleted meanwhile.",
    409: "Someone or something else is in the way.",
    411: "The body's length was not announced.",
    413: "The photo is too large.",
    415: "The content type is not one that is taken here.",
    422: "The `Idempotency-Key` came with another request before.",
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
    request_id = serializers.CharField(help_text="The answer's `X-Request-ID`; name it when you ask us for help.")
    errors = FieldProblemSerializer(many=True)  # type: ignore[assignment]  # hides an attribute nobody uses here


class Schema(AutoSchema):
    """drf-spectacular's, which also tells of the body of a DELETE where one is declared."""

    def get_request_serializer(self) -> Any:
        return None if self.method == "DELETE" else super().get_request_serializer()  # a declared one comes before

    def _get_request_body(self, direction: Any = "request") -> Any:
        if self.method != "DELETE":
            return super()._get_request_body(direction)  # type: ignore[no-untyped-call]
        if self.get_request_serializer() is None:
            return None
        self.method = "POST"
        try:
            return super()._get_request_body(direction)  # type: ignore[no-untyped-call]
        finally:
            self.method = "DELETE"


def problems(*statuses: int) -> dict[Any, OpenApiResponse]:
    """The error answers of an endpoint, for `extend_schema(responses=...)`."""
    return {
        (status, CONTENT_TYPE): OpenApiResponse(ProblemSerializer, description=MEANINGS[status])
        for status in sorted({*statuses, 429, 503})
    }


def response_header(name: str, description: str, *statuses: int) -> OpenApiParameter:
    return OpenApiParameter(
        name, str, OpenApiParameter.HEADER, description=description, response=[str(code) for code in statuses]
    )


NO_NULL_CHARACTERS = "^[^\\u0000]*$"  # PostgreSQL's texts cannot hold one


def forbid_null_characters(result: Any, **_: Any) -> Any:
    """A postprocessing hook of drf-spectacular: every text that is sent is without null characters."""
    sent = [component for name, component in result["components"]["schemas"].items() if name.endswith("Request")]
    for operations in result["paths"].values():
        for operation in operations.values():
            asked = [parameter["schema"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"]
            for schema in asked:
                schema.pop("minLength", None)  # a wish without a word in it is none, and is left out
            sent += asked
    for schema in sent:
        _add_null_pattern(schema)
    return result


def _add_null_pattern(schema: Any) -> None:
    if isinstance(schema, list):
        for inner in schema:
            _add_null_pattern(inner)
    elif isinstance(schema, dict):
        if schema.get("type") == "string" and not {"format", "enum", "pattern", "contentEncoding"} & schema.keys():
            schema["pattern"] = NO_NULL_CHARACTERS
        for inner in schema.values():
            _add_null_pattern(inner)
