"""Parsers of request bodies: robust JSON, raw pictures."""

import json
from collections.abc import Mapping
from typing import IO, Any

from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, JSONParser, MultiPartParser


class DeepSafeJSONParser(JSONParser):
    """Parse JSON in UTF-8 (RFC 8259). Too deep nesting is a parse error, not a crash."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            return json.loads(stream.read().decode("utf-8-sig"), parse_constant=_refuse)
        except RecursionError:
            raise ParseError("The JSON in the body is nested too deeply.") from None
        except ValueError as error:
            raise ParseError(_("The body is not valid JSON: {reason}").format(reason=error)) from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not valid in JSON")


class RawPhotoParser(BaseParser):
    """Parse a body that is the picture itself; the other fields come from the query string."""

    media_type = "image/*"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        request = (parser_context or {})["request"]
        return {**request.query_params.dict(), "photo": bytes(stream.read())}


class RawBytesParser(RawPhotoParser):
    """Like RawPhotoParser, for clients that do not name the picture format."""

    media_type = "application/octet-stream"


PHOTO_PARSERS = (DeepSafeJSONParser, MultiPartParser, RawPhotoParser, RawBytesParser)
"""`parser_classes` of views that accept a photo."""
