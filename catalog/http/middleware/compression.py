"""Middleware: br, zstd or gzip compression of JSON responses."""

import re

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import patch_vary_headers
from django_http_compression.middleware import HttpCompressionMiddleware

MIN_BYTES = 1024  # a smaller response is one packet either way


class Compression(HttpCompressionMiddleware):
    """Compress JSON of at least 1 KiB. Pictures are compressed already, and an event must not wait in a buffer.

    Against BREACH (the compressed length reveals repeated text): pages with CSRF tokens are not compressed, responses
    with device tokens are below the minimum size, and a header of random length blurs the rest.
    """

    content_type_re = re.compile(r"application/(?:json|vnd\.oai\.openapi)")

    def maybe_compress(self, request: HttpRequest, response: HttpResponseBase) -> None:
        """Compress a JSON response of at least `MIN_BYTES` in place."""
        if not isinstance(response, HttpResponse) or len(response.content) < MIN_BYTES:
            return
        if self.content_type_re.match(response.get("Content-Type", "")):
            patch_vary_headers(response, ("Accept-Encoding",))  # on uncompressed responses too, for shared caches
            super().maybe_compress(request, response)
