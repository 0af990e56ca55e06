"""Answers that a view writes itself, such as an archive or a stream."""

from typing import Any

from rest_framework.renderers import BaseRenderer


class WrittenElsewhere(BaseRenderer):
    """Says in the negotiation that an answer of this kind may be asked for. REST framework never has one to write."""

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        raise NotImplementedError


class EventStream(WrittenElsewhere):
    media_type, format = "text/event-stream", "events"


class Zip(WrittenElsewhere):
    media_type, format = "application/zip", "zip"
