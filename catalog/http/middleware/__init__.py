"""What happens to a request before any view sees it, and to an answer after; one file per matter."""

from catalog.http.middleware.answers import ApiAnswers
from catalog.http.middleware.bodies import BodySizeLimit
from catalog.http.middleware.compression import Compression
from catalog.http.middleware.languages import Languages
from catalog.http.middleware.policy import ContentPolicy
from catalog.http.middleware.request_ids import RequestIds

__all__ = [
    "ApiAnswers",
    "BodySizeLimit",
    "Compression",
    "ContentPolicy",
    "Languages",
    "RequestIds",
]
