"""Similarity queries, their states, and their recommendations."""

import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import IntegrityError, connections, models, transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.functional import cached_property

from catalog.errors import ClaimLost, IllegalTransition
from catalog.models.claims import RESEND_AFTER, Claimable, ClaimableQuerySet, new_claim, no_claim
from catalog.models.encoders import Encoder
from catalog.models.items import CatalogItem, ItemPhoto
from catalog.models.owned import Owned, one_kind_of_owner
from catalog.models.photos import UploadedPhoto
from catalog.models.users import User

NOT_CLOTHES = "not_clothes"  # key in `SimilarityQuery.guess`: the photo is out of distribution for the encoder
MAX_ATTEMPTS = 3  # workers that may die with a query before it fails


class QueryState(models.TextChoices):
    """[to_fetch -> fetching ->] queued -> embedding -> embedded -> searching -> done, or from a claimed state failed.

    A query with an uploaded photo starts as queued; a query with a photo URL starts as to_fetch.
    """

    TO_FETCH = "to_fetch"  # waits for a net worker
    FETCHING = "fetching"  # claimed by a net worker
    QUEUED = "queued"  # waits for a gpu worker
    EMBEDDING = "embedding"  # claimed by a gpu worker
    EMBEDDED = "embedded"  # has its vector, waits for a cpu worker
    SEARCHING = "searching"  # claimed by a cpu worker
    DONE = "done"
    FAILED = "failed"


CLAIMED_STATE = {
    QueryState.TO_FETCH: QueryState.FETCHING,
    QueryState.QUEUED: QueryState.EMBEDDING,
    QueryState.EMBEDDED: QueryState.SEARCHING,
}
WAITING, CLAIMED = tuple(CLAIMED_STATE), tuple(CLAIMED_STATE.values())
ENDED = (QueryState.DONE, QueryState.FAILED)
_IS_WAITING = Q(state__in=[state.value for state in WAITING])
_IS_CLAIMED = Q(state__in=[state.value for state in CLAIMED])
WAITING_STATE = {claimed: waiting for waiting, claimed in CLAIMED_STATE.items()}


class Outcome(models.TextChoices):
    """The result of a query that is done."""

    CLOSE_MATCH = "close_match"  # the best item probably is the same garment
    NO_CLOSE_MATCH = "no_close_match"  # there are recommendations, but none probably is the same garment
    NOTHING_FITS = "nothing_fits"  # no item passes the filters and the minimum score


# Claims and reads a query in one statement. Raw SQL, because Django's UPDATE cannot return rows and is compiled at each
# use: with `update()` and `get()` a query takes 33.6 ms instead of 31.2 (`benchmarks.end_to_end`). Relies on Django:
# the generated table names (`catalog_similarityquery_more_photos` is the join table of a many-to-many field),
# `Model._meta`, `Field.get_db_prep_save`, and `raw()`, which turns further result columns into attributes.
_CLAIM = """
UPDATE catalog_similarityquery SET state = %s, claim_token = %s, claimed_by = %s, claimed_at = %s
WHERE id = %s AND state = %s
RETURNING *,
  EXISTS (SELECT 1 FROM catalog_similarityquery_more_photos AS other
          WHERE other.similarityquery_id = catalog_similarityquery.id) AS has_more_photos,
  EXISTS (SELECT 1 FROM catalog_webhookdelivery AS webhook
          WHERE webhook.query_id = catalog_similarityquery.id) AS has_webhook
"""


class SimilarityQuerySet(Owned, ClaimableQuerySet["SimilarityQuery"]):
    """Queries that claim, requeue and resend similarity queries."""

    def claim(self, pk: uuid.UUID | str, waiting: QueryState, *, worker: str) -> "SimilarityQuery | None":
        """Claim a query in the state `waiting`, and move it to the claimed state that follows.

        None if it was deleted, is in another state, or was claimed by another worker. Atomic: one statement.
        """
        columns = {"state": CLAIMED_STATE[waiting], **new_claim(worker), "id": pk}
        meta: Any = self.model._meta
        values = [meta.get_field(name).get_db_prep_save(value, connections[self.db]) for name, value in columns.items()]
        return next(iter(self.raw(_CLAIM, [*values, waiting.value])), None)

    def release_claims(self) -> int:
        """Requeue claimed queries; those with `MAX_ATTEMPTS` dead workers fail. Returns how many there were."""
        now = timezone.now()
        exhausted = self.filter(state__in=CLAIMED, attempts__gte=MAX_ATTEMPTS - 1)
        released = exhausted.update(
            state=QueryState.FAILED,
            error_code="internal_error",
            error_detail="We could not process this photo. Please try another picture.",
            finished_at=now,
            **no_claim(),
        )
        for claimed, waiting in WAITING_STATE.items():
            released += self.filter(state=claimed).update(
                state=waiting, attempts=F("attempts") + 1, nudged_at=now - RESEND_AFTER, **no_claim()
            )
        return released

    def take_undelivered(self, limit: int = 200) -> "list[SimilarityQuery]":
        """Up to `limit` waiting queries whose message seems lost, oldest first; each once per `RESEND_AFTER`."""
        return self.filter(state__in=WAITING).take_overdue(limit)


class SimilarityQuery(Claimable):
    """A request for the items most similar to a garment, with its state and its result.

    The garment is given by one of: `photo`, optionally with `more_photos` of the same garment; `source_url`, the URL of
    a photo that becomes `photo` once it is fetched; or `item`, an item of the catalogue.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(User, on_delete=models.CASCADE, null=True, blank=True, related_name="queries")
    visitor = models.CharField(max_length=64, blank=True, help_text="A browser without an account, by its session.")
    photo = models.ForeignKey(UploadedPhoto, on_delete=models.CASCADE, null=True, blank=True, related_name="queries")
    more_photos = models.ManyToManyField(UploadedPhoto, blank=True, related_name="joint_queries")
    source_url = models.CharField(max_length=2000, blank=True, help_text="Where the photo is fetched from.")
    item = models.ForeignKey(CatalogItem, on_delete=models.CASCADE, null=True, blank=True, related_name="queries")
    crop = models.JSONField(
        null=True,
        blank=True,
        help_text="The part of the photo that counts, in shares of its sides.",
    )
    k = models.PositiveSmallIntegerField(
        default=10, validators=[MinValueValidator(1), MaxValueValidator(settings.MAX_K)], help_text="Items wanted."
    )
    filters = models.JSONField(default=dict, blank=True, help_text="What the items must be, see CatalogItem.matching.")
    diversity = models.FloatField(
        default=0.0,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text="0: the nearest, 1: the most varied.",
    )
    min_score = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(-1.0), MaxValueValidator(1.0)],
        help_text="Items below this score are left out.",
    )
    state = models.CharField(max_length=10, choices=QueryState, default=QueryState.QUEUED)
    outcome = models.CharField(max_length=20, choices=Outcome, blank=True, help_text="Of a query that is done.")
    encoder = models.ForeignKey(Encoder, on_delete=models.PROTECT, null=True, blank=True, related_name="queries")
    vector = models.BinaryField(null=True, blank=True, help_text="The embedding it is searched with, float32.")
    last_vector = models.BigIntegerField(
        null=True, blank=True, editable=False, help_text="Of the catalogue's, the newest it was compared with."
    )
    colour_lab = models.JSONField(null=True, blank=True, editable=False, help_text="The garment's in CIE L*a*b*.")
    guess = models.JSONField(default=dict, blank=True, help_text="What most of the nearest items have in common.")
    timings = models.JSONField(default=dict, help_text="Milliseconds of each step.")
    error_code = models.CharField(max_length=50, blank=True)
    error_detail = models.CharField(max_length=500, blank=True)
    idempotency_key = models.CharField(max_length=255, null=True, blank=True, editable=False)  # noqa: DJ001 - NULL is no key
    request_sha256 = models.CharField(max_length=64, blank=True, editable=False, help_text="What came with the key.")
    attempts = models.PositiveSmallIntegerField(default=0, help_text="Workers that died with it.")
    nudged_at = models.DateTimeField(default=timezone.now, editable=False, help_text="When its message was last sent.")
    created_at = models.DateTimeField(default=timezone.now)
    embedded_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    # Not columns:
    is_replay = False  # whether an earlier request with the same Idempotency-Key created it
    has_more_photos = has_webhook = True  # False only when a claim has found none; saves an SQL statement

    objects = SimilarityQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)
        verbose_name_plural = "similarity queries"
        indexes = (
            models.Index(
                fields=["nudged_at"], condition=Q(state__in=["to_fetch", "queued", "embedded"]), name="waiting_queries"
            ),
            models.Index(
                fields=["claimed_at"],
                condition=Q(state__in=["fetching", "embedding", "searching"]),
                name="claimed_queries",
            ),
            models.Index(fields=["owner", "-created_at"], name="history"),
        )
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(k__gte=1, k__lte=settings.MAX_K), name="k_is_in_range"),
            one_kind_of_owner("a_query_has_one_kind_of_owner"),
            models.CheckConstraint(
                condition=Q(item__isnull=False, photo__isnull=True, source_url="")
                | (Q(item__isnull=True) & (Q(photo__isnull=False) | ~Q(source_url=""))),
                name="a_query_has_one_kind_of_source",
            ),
            models.UniqueConstraint(
                fields=["owner", "idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
                name="one_query_per_idempotency_key",
            ),
        ]

    def __str__(self) -> str:
        return f"query {self.id}"

    @property
    def has_ended(self) -> bool:
        """Whether the query is done or failed."""
        return self.state in ENDED

    @property
    def came_with_photo(self) -> bool:
        """Whether the photo was uploaded with this query, so that no earlier query can have the same photo."""
        return self.photo is not None and self.photo.created_at >= self.created_at  # the photo's row is saved later

    @property
    def other_photos(self) -> list[UploadedPhoto]:
        """The further photos of the garment."""
        return list(self.more_photos.all()) if self.has_more_photos else []

    @cached_property
    def ranked(self) -> "list[Recommendation]":
        """The recommendations in order of rank; read once, or prefetched."""
        return list(self.recommendations.all())

    @property
    def probably_not_clothes(self) -> bool:
        """Whether the photo is out of distribution; False when the encoder has no OOD threshold."""
        return bool(self.guess.get(NOT_CLOTHES))

    @property
    def answering_encoder(self) -> Encoder:
        """The encoder that embedded the query. Raises `IllegalTransition` before that."""
        if self.encoder is None:
            raise IllegalTransition(f"{self} is not embedded yet")
        return self.encoder

    def record_fetched(self, photo: UploadedPhoto, timings: dict[str, float]) -> None:
        """fetching -> queued, with the photo from `source_url`. Raises `ClaimLost`."""
        self._move(
            QueryState.FETCHING,
            QueryState.QUEUED,
            photo=photo,
            timings={**self.timings, **timings},
            nudged_at=timezone.now(),
        )

    def record_embedding(self, encoder: Encoder, vector: bytes, timings: dict[str, float], **columns: Any) -> None:
        """embedding -> embedded. `columns`: values for `colour_lab` and `guess`. Raises `ClaimLost`."""
        self._move(
            QueryState.EMBEDDING,
            QueryState.EMBEDDED,
            encoder=encoder,
            vector=vector,
            timings={**self.timings, **timings},
            embedded_at=timezone.now(),
            nudged_at=timezone.now(),
            **columns,
        )

    def record_answer(
        self, recommendations: "Iterable[Recommendation]", timings: dict[str, float], **columns: Any
    ) -> None:
        """searching -> done, with its recommendations, atomically. `columns`: further values. Raises `ClaimLost`."""
        claimed = {name: getattr(self, name) for name in ("state", *no_claim())}
        try:
            self._write_answer(recommendations, timings, columns)
        except IntegrityError:  # an item or photo was deleted; SQLite checks foreign keys only at the commit
            for name, value in claimed.items():
                setattr(self, name, value)
            if type(self).objects.filter(pk=self.pk, claim_token=self.claim_token).exists():
                raise
            raise ClaimLost(f"{self} was answered by another worker, or deleted") from None

    def _write_answer(
        self, recommendations: "Iterable[Recommendation]", timings: dict[str, float], columns: dict[str, Any]
    ) -> None:
        started = timezone.now()
        with transaction.atomic():
            Recommendation.objects.bulk_create(recommendations)
            now = timezone.now()
            request_ms = self.timings.get("receive", 0.0) + self.timings.get("clean", 0.0)
            timings = {
                "write": _ms(now - started),
                "total": round(request_ms + _ms(now - self.created_at), 2),
            } | timings
            columns = {"finished_at": now, "timings": self.timings | timings, **columns}
            self._move(QueryState.SEARCHING, QueryState.DONE, **columns)  # a lost claim rolls the transaction back

    def record_failure(self, code: str, detail: str) -> None:
        """A claimed state -> failed, with an error code and a sentence for the user. Raises `ClaimLost`."""
        if self.state not in CLAIMED:
            raise IllegalTransition(f"{self} is {self.state}: only a claimed query can fail")
        self._move(
            QueryState(self.state),
            QueryState.FAILED,
            error_code=code,
            error_detail=detail[:500],
            finished_at=timezone.now(),
        )

    def requeue(self) -> None:
        """Undo the claim after a crash: back to the waiting state, or failed after `MAX_ATTEMPTS` dead workers."""
        type(self).objects.filter(pk=self.pk, claim_token=self.claim_token).release_claims()

    def _move(self, source: QueryState, target: QueryState, **columns: Any) -> None:
        if self.state != source:
            raise IllegalTransition(f"{self} is {self.state}: it cannot become {target}")
        self.write_claimed(source, {"state": target, **no_claim(), **columns})


def _ms(span: timedelta) -> float:
    return round(span.total_seconds() * 1000, 2)


class Recommendation(models.Model):
    """One ranked item in the answer of a query."""

    query = models.ForeignKey(SimilarityQuery, on_delete=models.CASCADE, related_name="recommendations")
    rank = models.PositiveSmallIntegerField(help_text="1 is the most similar.")
    item = models.ForeignKey(CatalogItem, on_delete=models.CASCADE, related_name="+")
    photo = models.ForeignKey(
        ItemPhoto, on_delete=models.CASCADE, related_name="+", help_text="The picture that matched."
    )
    score = models.FloatField(help_text="Cosine similarity, -1 to 1.")
    probability = models.FloatField(null=True, blank=True, help_text="How likely it is the same garment, 0 to 1.")
    why = models.JSONField(default=dict, blank=True, help_text="What it has in common with what was asked for.")

    class Meta:
        ordering = ("query", "rank")
        constraints = (
            models.UniqueConstraint(fields=["query", "rank"], name="one_recommendation_per_rank"),
            models.UniqueConstraint(fields=["query", "item"], name="one_recommendation_per_item"),
        )

    def __str__(self) -> str:
        return f"{self.rank}. {self.item_id} ({self.score:.3f})"
