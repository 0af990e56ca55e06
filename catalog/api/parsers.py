"""Reading bodies that anybody may have sent."""

import json
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser


class DeepSafeJSONParser(JSONParser):
    """JSON in UTF-8, as RFC 8259 has it. Lists within lists a thousand deep are the sender's fault, not a crash."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            return json.loads(stream.read().decode("utf-8-sig"), parse_constant=_refuse)
        except RecursionError:
            raise ParseError("JSON parse error: nested too deeply.") from None
        except ValueError as error:
            raise ParseError(f"JSON parse error: {error}") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
