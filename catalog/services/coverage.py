"""How much of the catalogue an encoder has embedded, and what hangs on the encoder."""

from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from catalog.models import Embedding, Encoder, Evaluation, ItemPhoto, Promotion, SimilarityQuery, TrainingRun

_LOOKED_AT = 512  # of the newest vectors: their times tell the speed
_RECENT = timedelta(minutes=2)
_SAME_BATCH = 0.2  # seconds: the rows of one batch are made at one go


@dataclass(frozen=True)
class Coverage:
    """`per_minute` is 0 while nothing is embedded, or nobody knows yet; then `seconds_left` is None."""

    embedded: int
    photos: int
    per_minute: float
    seconds_left: float | None

    @property
    def missing(self) -> int:
        return self.photos - self.embedded


def coverage_of(encoder: Encoder) -> Coverage:
    """The photos that have its vector, of all that should, and how fast there come more."""
    photos = ItemPhoto.objects.filter(item__deleted_at=None, problem="").count()
    missing = encoder.missing_photos().count()
    per_minute = _speed(encoder) if missing else 0.0
    return Coverage(
        embedded=max(photos - missing, 0),  # both are counted one after the other, while photos come and go
        photos=photos,
        per_minute=per_minute,
        seconds_left=60 * missing / per_minute if per_minute else None,
    )


def encoder_dependents(encoder: Encoder) -> dict[str, int]:
    """What there is because of an encoder, or names it."""
    return {
        "vectors": Embedding.objects.filter(encoder=encoder).count(),
        "queries": SimilarityQuery.objects.filter(encoder=encoder).count(),
        "evaluations": encoder.evaluations.count(),
        "comparisons_of_others": Evaluation.objects.filter(against=encoder).count(),
        "promotions": Promotion.objects.filter(encoder=encoder).count(),
        "training_runs": TrainingRun.objects.filter(encoder=encoder).count(),
    }


def _speed(encoder: Encoder) -> float:
    """Vectors a minute, from the first of the latest batches to the last; 0 for a single batch, or none."""
    newest = encoder.embeddings.order_by("-id").values_list("created_at", flat=True)[:_LOOKED_AT]
    since = timezone.now() - _RECENT
    times = sorted(moment.timestamp() for moment in newest if moment > since)
    after_first = [moment for moment in times if moment > times[0] + _SAME_BATCH]
    return 60 * len(after_first) / (times[-1] - times[0]) if after_first else 0.0
