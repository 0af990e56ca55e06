"""Smaller answers for phones on slow networks."""

import re

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import patch_vary_headers
from django_http_compression.middleware import HttpCompressionMiddleware

WORTH_IT = 1024  # bytes; a smaller answer is one packet either way


class Compression(HttpCompressionMiddleware):
    """br, zstd or gzip for JSON of some size; pictures are compressed already, and an event must not wait in a buffer.

    Compression tells the length of what repeats (the attack called BREACH). So pages with their CSRF tokens are left
    alone, tokens of devices come in answers that are too short, and a header of random length blurs the rest.
    """

    content_type_re = re.compile(r"application/(?:json|vnd\.oai\.openapi)")

    def maybe_compress(self, request: HttpRequest, response: HttpResponseBase) -> None:
        if not isinstance(response, HttpResponse) or len(response.content) < WORTH_IT:
            return
        if self.content_type_re.match(response.get("Content-Type", "")):
            patch_vary_headers(response, ("Accept-Encoding",))  # also for who gets it as it is
            super().maybe_compress(request, response)
