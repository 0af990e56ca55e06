"""What happens to a request before any view sees it, and to an answer after; one file per matter."""

from catalog.middleware.answers import ApiAnswers
from catalog.middleware.bodies import BodySizeLimit, ms_since_start
from catalog.middleware.compression import Compression
from catalog.middleware.languages import Languages
from catalog.middleware.policy import ContentPolicy
from catalog.middleware.request_ids import RequestIds

__all__ = [
    "ApiAnswers",
    "BodySizeLimit",
    "Compression",
    "ContentPolicy",
    "Languages",
    "RequestIds",
    "ms_since_start",
]
