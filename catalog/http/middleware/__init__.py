"""Django middleware of the site, one class per file."""

from catalog.http.middleware.bodies import BodySizeLimit
from catalog.http.middleware.compression import Compression
from catalog.http.middleware.languages import Languages
from catalog.http.middleware.policy import ContentSecurityPolicy
from catalog.http.middleware.request_ids import RequestIds
from catalog.http.middleware.response_headers import ApiResponseHeaders

__all__ = [
    "ApiResponseHeaders",
    "BodySizeLimit",
    "Compression",
    "ContentSecurityPolicy",
    "Languages",
    "RequestIds",
]
