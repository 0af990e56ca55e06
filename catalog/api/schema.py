"""OpenAPI schema: error responses, response headers, DELETE bodies, patterns of strings."""

from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from catalog.http.error_handler import CONTENT_TYPE

DESCRIPTIONS = {
    400: "Invalid input; `code` and `errors` name the cause.",
    401: "No valid token or session.",
    403: "Permission denied.",
    404: "Not found, or not yours.",
    405: "Method not allowed for this URL.",
    406: "No response format matches `Accept`.",
    410: "The photo has been deleted.",
    409: "Conflict with the current state of the resource.",
    411: "`Content-Length` is missing.",
    413: "The body is too large.",
    415: "Unsupported content type.",
    422: "The `Idempotency-Key` was used for a different request.",
    429: "Too many requests; retry after the seconds in `Retry-After`.",
    503: "The database or the storage is unavailable; try again later.",
    507: "No storage space left for pictures.",
}

RAW_PHOTO = {"type": "string", "format": "binary"}  # a body that is the picture itself


class FieldProblemSerializer(serializers.Serializer[Any]):
    """An invalid field."""

    field = serializers.CharField(help_text="Path of the field, such as `filters.min_price`; empty for the whole body.")
    code = serializers.CharField()
    detail = serializers.CharField()


class ProblemSerializer(serializers.Serializer[Any]):
    """Problem details (RFC 9457) with a stable code and the invalid fields."""

    type = serializers.CharField()
    title = serializers.CharField(help_text="Standard phrase of the HTTP status.")
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="Explanation for people, in the language of `Accept-Language`.")
    code = serializers.CharField(help_text="Stable error code for programs.")
    request_id = serializers.CharField(help_text="Same as the header `X-Request-ID`; quote it in support requests.")
    errors = FieldProblemSerializer(many=True)  # type: ignore[assignment]  # overrides an unused attribute of Serializer


class Schema(AutoSchema):
    """AutoSchema that also describes the body of a DELETE where one is declared."""

    def get_request_serializer(self) -> Any:
        # `extend_schema(request=...)` replaces this method where a body is declared.
        return None if self.method == "DELETE" else super().get_request_serializer()

    def _get_request_body(self, direction: Any = "request") -> Any:
        if self.method != "DELETE":
            return super()._get_request_body(direction)  # type: ignore[no-untyped-call]
        if self.get_request_serializer() is None:
            return None
        self.method = "POST"  # the base class writes a body for POST, PUT and PATCH only
        try:
            return super()._get_request_body(direction)  # type: ignore[no-untyped-call]
        finally:
            self.method = "DELETE"


def problems(*statuses: int) -> dict[Any, OpenApiResponse]:
    """Return the error responses of an endpoint, for `extend_schema(responses=...)`. Adds 429 and 503."""
    return {
        (status, CONTENT_TYPE): OpenApiResponse(ProblemSerializer, description=DESCRIPTIONS[status])
        for status in sorted({*statuses, 429, 503})
    }


def response_header(name: str, description: str, *statuses: int) -> OpenApiParameter:
    """Describe a header of the responses with these statuses, for `extend_schema(parameters=...)`."""
    return OpenApiParameter(
        name, str, OpenApiParameter.HEADER, description=description, response=[str(code) for code in statuses]
    )


NO_NULL_CHARACTERS = "^[^\\u0000]*$"  # PostgreSQL cannot store U+0000 in text


def forbid_null_characters(result: Any, **_: Any) -> Any:
    """Postprocessing hook of drf-spectacular: add a pattern without null characters to all strings of requests."""
    schemas = [component for name, component in result["components"]["schemas"].items() if name.endswith("Request")]
    for operations in result["paths"].values():
        for operation in operations.values():
            parameters = [
                parameter["schema"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"
            ]
            for schema in parameters:
                schema.pop("minLength", None)  # an empty parameter is ignored, not refused
            schemas += parameters
    for schema in schemas:
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
