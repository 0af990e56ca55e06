"""The staff's side, one file per noun. What changes a row is a service, so that a command can do it too."""

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
