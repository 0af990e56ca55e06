"""Reading bodies that anybody may have sent."""

import json
from collections.abc import Mapping
from typing import IO, Any

from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, JSONParser, MultiPartParser


class DeepSafeJSONParser(JSONParser):
    """JSON in UTF-8, as RFC 8259 has it. Lists within lists a thousand deep are the sender's fault, not a crash."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            return json.loads(stream.read().decode("utf-8-sig"), parse_constant=_refuse)
        except RecursionError:
            raise ParseError("The body is JSON that is nested too deeply.") from None
        except ValueError as error:
            raise ParseError(_("The body is not valid JSON: {reason}").format(reason=error)) from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


class RawPhotoParser(BaseParser):
    """A body that is the picture itself. Whatever else is asked for stands in the query string of the address."""

    media_type = "image/*"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        request = (parser_context or {})["request"]
        return {**request.query_params.dict(), "photo": bytes(stream.read())}


class RawBytesParser(RawPhotoParser):
    """The same from a client that does not know, or does not say, what kind of picture it sends."""

    media_type = "application/octet-stream"


PHOTO_PARSERS = (DeepSafeJSONParser, MultiPartParser, RawPhotoParser, RawBytesParser)
"""For views that take a photo: `parser_classes`."""
