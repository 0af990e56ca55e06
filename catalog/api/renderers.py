"""Media types of responses that a view writes itself: an archive, an event stream."""

from typing import Any

from rest_framework.renderers import BaseRenderer


class MediaType(BaseRenderer):
    """Registers a media type for content negotiation; `render` is never called."""

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        raise NotImplementedError


class EventStream(MediaType):
    """Server-sent events."""

    media_type, format = "text/event-stream", "events"


class Zip(MediaType):
    """A zip archive."""

    media_type, format = "application/zip", "zip"
