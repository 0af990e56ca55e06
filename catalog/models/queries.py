import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, ClassVar, Self

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.db.models import F, Q
from django.utils import timezone

from catalog.errors import ClaimLost, IllegalMove
from catalog.models.claims import Claimable, ClaimableQuerySet, new_claim, no_claim
from catalog.models.encoders import Encoder
from catalog.models.items import CatalogItem, ItemPhoto
from catalog.models.photos import UploadedPhoto
from catalog.models.users import User

NUDGE_AGAIN = timedelta(seconds=10)  # a message not acted upon for so long is sent again
MAX_ATTEMPTS = 3  # a query that was in the hands of so many dying workers is not tried again


class QueryState(models.TextChoices):
    """queued -> embedding -> embedded -> searching -> done, and from each of the first four to failed."""

    QUEUED = "queued"  # waits for a gpu worker
    EMBEDDING = "embedding"  # claimed by one
    EMBEDDED = "embedded"  # has its vector, waits for a cpu worker
    SEARCHING = "searching"  # claimed by one
    DONE = "done"
    FAILED = "failed"


WAITING = (QueryState.QUEUED, QueryState.EMBEDDED)
CLAIMED = (QueryState.EMBEDDING, QueryState.SEARCHING)
ENDED = (QueryState.DONE, QueryState.FAILED)
CLAIM_OF = {QueryState.QUEUED: QueryState.EMBEDDING, QueryState.EMBEDDED: QueryState.SEARCHING}
BACK_FROM = {claimed: waiting for waiting, claimed in CLAIM_OF.items()}


class SimilarityQuerySet(ClaimableQuerySet["SimilarityQuery"]):
    def of(self, *, user: User | None = None, visitor: str = "") -> Self:
        """The queries of one person: an account, or a browser without one."""
        return self.filter(photo__in=UploadedPhoto.objects.of(user=user, visitor=visitor))

    def claim(self, pk: uuid.UUID | str, waiting: QueryState, *, worker: str) -> "SimilarityQuery | None":
        """Take a query that waits in the state `waiting`; None if it is gone, further on, or someone else's."""
        claim = new_claim(worker)
        if not self.filter(pk=pk, state=waiting).update(state=CLAIM_OF[waiting], **claim):
            return None
        return self.select_related("photo", "encoder").filter(pk=pk, claim_token=claim["claim_token"]).first()

    def release(self) -> int:
        """Give claimed queries back, to be tried again; those tried too often fail. Returns how many there were."""
        now = timezone.now()
        worn = self.filter(state__in=CLAIMED, attempts__gte=MAX_ATTEMPTS - 1)
        released = worn.update(
            state=QueryState.FAILED,
            error_code="internal_error",
            error_detail="Something on our side failed on this photo each time. Please try another picture.",
            finished_at=now,
            **no_claim(),
        )
        for claimed, waiting in BACK_FROM.items():
            released += self.filter(state=claimed).update(
                state=waiting, attempts=F("attempts") + 1, nudged_at=now - NUDGE_AGAIN, **no_claim()
            )
        return released

    def take_unheard(self, limit: int = 200) -> "list[SimilarityQuery]":
        """Up to `limit` queries whose message seems lost, oldest first; each is given out once per `NUDGE_AGAIN`."""
        now = timezone.now()
        overdue = self.filter(state__in=WAITING, nudged_at__lte=now - NUDGE_AGAIN)
        taken = list(overdue.order_by("created_at")[:limit])
        self.filter(pk__in=[query.pk for query in taken]).update(nudged_at=now)
        return taken


class SimilarityQuery(Claimable):
    """One request for the items most similar to a photo, and the way it has come."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    photo = models.ForeignKey(UploadedPhoto, on_delete=models.CASCADE, related_name="queries")
    k = models.PositiveSmallIntegerField(
        default=10, validators=[MinValueValidator(1), MaxValueValidator(settings.MAX_K)], help_text="Items wanted."
    )
    filters = models.JSONField(default=dict, blank=True, help_text="What the items must be, see CatalogItem.matching.")
    diversity = models.FloatField(
        default=0.0,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text="0: the nearest, 1: the most varied.",
    )
    state = models.CharField(max_length=10, choices=QueryState, default=QueryState.QUEUED)
    encoder = models.ForeignKey(Encoder, on_delete=models.PROTECT, null=True, blank=True, related_name="queries")
    vector = models.BinaryField(null=True, blank=True, help_text="The photo's embedding, float32.")
    timings = models.JSONField(default=dict, help_text="Milliseconds of each step.")
    error_code = models.CharField(max_length=50, blank=True)
    error_detail = models.CharField(max_length=500, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0, help_text="Workers that died with it.")
    nudged_at = models.DateTimeField(default=timezone.now, editable=False, help_text="When its message was last sent.")
    created_at = models.DateTimeField(default=timezone.now)
    embedded_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = SimilarityQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)
        verbose_name_plural = "similarity queries"
        indexes = (
            models.Index(fields=["nudged_at"], condition=Q(state__in=["queued", "embedded"]), name="waiting_queries"),
            models.Index(
                fields=["claimed_at"], condition=Q(state__in=["embedding", "searching"]), name="claimed_queries"
            ),
        )
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(k__gte=1, k__lte=settings.MAX_K), name="k_is_in_range"),
        ]

    def __str__(self) -> str:
        return f"query {self.id}"

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    @property
    def answering_encoder(self) -> Encoder:
        """The encoder whose vectors this query is compared with. IllegalMove before it is embedded."""
        if self.encoder is None:
            raise IllegalMove(f"{self} is not embedded yet")
        return self.encoder

    def record_embedding(self, encoder: Encoder, vector: bytes, timings: dict[str, float]) -> None:
        """embedding -> embedded."""
        self._move(
            QueryState.EMBEDDING,
            QueryState.EMBEDDED,
            encoder=encoder,
            vector=vector,
            timings={**self.timings, **timings},
            embedded_at=timezone.now(),
            nudged_at=timezone.now(),
        )

    def record_answer(self, recommendations: "Iterable[Recommendation]", timings: dict[str, float]) -> None:
        """searching -> done, with its recommendations: both or neither."""
        with transaction.atomic():
            # The move comes first: it locks the row, and a lost claim stops here before anything is written.
            started = timezone.now()
            self._move(QueryState.SEARCHING, QueryState.DONE, finished_at=started)
            Recommendation.objects.bulk_create(recommendations)
            now = timezone.now()
            before = self.timings.get("receive", 0.0) + self.timings.get("clean", 0.0)
            timings = {"write": _ms(now - started), "total": round(before + _ms(now - self.created_at), 2)} | timings
            self.timings = self.timings | timings
            self.finished_at = now
            self.save(update_fields=["timings", "finished_at"])

    def record_failure(self, code: str, detail: str) -> None:
        """embedding or searching -> failed, with a code for machines and a sentence for people."""
        if self.state not in CLAIMED:
            raise IllegalMove(f"{self} is {self.state}: only a claimed query can fail")
        self._move(
            QueryState(self.state),
            QueryState.FAILED,
            error_code=code,
            error_detail=detail[:500],
            finished_at=timezone.now(),
        )

    def give_back(self) -> None:
        """Undo the claim after a crash, so that the query is tried again a few times."""
        type(self).objects.filter(pk=self.pk, claim_token=self.claim_token).release()

    def _move(self, source: QueryState, target: QueryState, **columns: Any) -> None:
        if self.state != source:
            raise IllegalMove(f"{self} is {self.state}: it cannot become {target}")
        columns |= {"state": target, **no_claim()}
        mine = type(self).objects.filter(pk=self.pk, state=source, claim_token=self.claim_token)
        if not mine.update(**columns):
            raise ClaimLost(f"{self} was given to another worker")
        for name, value in columns.items():
            setattr(self, name, value)


def _ms(span: timedelta) -> float:
    return round(span.total_seconds() * 1000, 2)


class Recommendation(models.Model):
    """One ranked answer of a query."""

    query = models.ForeignKey(SimilarityQuery, on_delete=models.CASCADE, related_name="recommendations")
    rank = models.PositiveSmallIntegerField(help_text="1 is the most similar.")
    item = models.ForeignKey(CatalogItem, on_delete=models.CASCADE, related_name="+")
    photo = models.ForeignKey(
        ItemPhoto, on_delete=models.CASCADE, related_name="+", help_text="The picture that matched."
    )
    score = models.FloatField(help_text="Cosine similarity, -1 to 1.")

    class Meta:
        ordering = ("query", "rank")
        constraints = (
            models.UniqueConstraint(fields=["query", "rank"], name="one_recommendation_per_rank"),
            models.UniqueConstraint(fields=["query", "item"], name="one_recommendation_per_item"),
        )

    def __str__(self) -> str:
        return f"{self.rank}. {self.item_id} ({self.score:.3f})"
