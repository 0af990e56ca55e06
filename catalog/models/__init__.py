"""The rows. They are the truth: the queue carries their ids, and files beside them are caches."""

from catalog.models.devices import Device, Scope
from catalog.models.encoders import Embedding, Encoder, EncoderState
from catalog.models.favourites import Favourite
from catalog.models.imports import ImportJob, ImportState
from catalog.models.items import CatalogItem, ItemPhoto
from catalog.models.photos import UploadedPhoto
from catalog.models.queries import Outcome, QueryState, Recommendation, SimilarityQuery
from catalog.models.users import User

__all__ = [
    "CatalogItem",
    "Device",
    "Embedding",
    "Encoder",
    "EncoderState",
    "Favourite",
    "ImportJob",
    "ImportState",
    "ItemPhoto",
    "Outcome",
    "QueryState",
    "Recommendation",
    "Scope",
    "SimilarityQuery",
    "UploadedPhoto",
    "User",
]
