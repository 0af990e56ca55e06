"""Django models. Rows are the source of truth; queue messages carry their ids, and files beside them are caches."""

from catalog.models.change_feed import ChangeFeed, RemovedItem
from catalog.models.devices import Device, Scope
from catalog.models.encoders import Embedding, Encoder, EncoderState, Promotion
from catalog.models.evaluations import Evaluation, EvaluationItem, EvaluationSet, EvaluationState
from catalog.models.favourites import Favourite
from catalog.models.feedback import Feedback, Triplet, TripletState, Verdict
from catalog.models.imports import ImportJob, ImportState
from catalog.models.items import CatalogItem, ItemPhoto
from catalog.models.photos import UploadedPhoto
from catalog.models.queries import Outcome, QueryState, Recommendation, SimilarityQuery
from catalog.models.search import SHARED, Backend, SearchChoice, SharedIndex
from catalog.models.training import RunKind, RunSource, RunState, RunTracker, TrainingRun
from catalog.models.users import User
from catalog.models.webhooks import WebhookDelivery, WebhookSecret, WebhookState

__all__ = [
    "SHARED",
    "Backend",
    "CatalogItem",
    "ChangeFeed",
    "Device",
    "Embedding",
    "Encoder",
    "EncoderState",
    "Evaluation",
    "EvaluationItem",
    "EvaluationSet",
    "EvaluationState",
    "Favourite",
    "Feedback",
    "ImportJob",
    "ImportState",
    "ItemPhoto",
    "Outcome",
    "Promotion",
    "QueryState",
    "Recommendation",
    "RemovedItem",
    "RunKind",
    "RunSource",
    "RunState",
    "RunTracker",
    "Scope",
    "SearchChoice",
    "SharedIndex",
    "SimilarityQuery",
    "TrainingRun",
    "Triplet",
    "TripletState",
    "UploadedPhoto",
    "User",
    "Verdict",
    "WebhookDelivery",
    "WebhookSecret",
    "WebhookState",
]
