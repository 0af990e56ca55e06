"""The Django admin, one module per model. Every change goes through a service, so that commands can do the same."""

from catalog.admin import imports, items, photos, queries, triplets, users
from catalog.admin.encoders import admin as encoders
from catalog.admin.encoders import embeddings, evaluations, promotions
from catalog.admin.runs import admin as runs

__all__ = [
    "embeddings",
    "encoders",
    "evaluations",
    "imports",
    "items",
    "photos",
    "promotions",
    "queries",
    "runs",
    "triplets",
    "users",
]
