"""The staff's side, one file per noun. What changes a row is a service, so that a command can do it too."""

from catalog.admin import (
    embeddings,
    encoders,
    evaluations,
    imports,
    items,
    photos,
    promotions,
    queries,
    runs,
    triplets,
    users,
)

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
