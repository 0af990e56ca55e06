"""Release status of an encoder: objections, coverage, comparison with the live encoder, rollback target."""

from dataclasses import dataclass

from catalog.models import Encoder, EncoderState, Evaluation, Promotion
from catalog.services.encoders.evaluations import UNFINISHED, evaluation_against
from catalog.services.encoders.gate import Objection, release_objections
from catalog.services.encoders.release import Coverage, encoder_coverage


@dataclass(frozen=True)
class ReleaseStatus:
    """The state of an encoder with regard to its release.

    `coverage` and `comparison` are None for a classifier, which embeds nothing and cannot go live. `comparison`: the
    evaluation against the live encoder, None if there is none. `rollback_target`: only for the live encoder.
    """

    encoder: Encoder
    live: Encoder | None
    coverage: Coverage | None
    objections: list[Objection]
    comparison: Evaluation | None
    rollback_target: Encoder | None

    @property
    def needs_reason(self) -> bool:
        """Whether promoting it requires a written reason."""
        return bool(self.objections)

    @property
    def can_promote(self) -> bool:
        """Whether no objection is blocking; a written reason overrides the others."""
        return not any(objection.is_blocking for objection in self.objections)

    @property
    def is_changing(self) -> bool:
        """Whether photos are being embedded or the comparison runs, so that the page must poll the status."""
        is_embedding = self.coverage is not None and self.coverage.missing > 0
        return is_embedding or (self.comparison is not None and self.comparison.state in UNFINISHED)


def release_status(encoder: Encoder) -> ReleaseStatus:
    """Run the release checks of an encoder and collect what a person needs to decide about it."""
    live, last = Encoder.objects.live(), Promotion.objects.select_related("previous", "by").first()
    is_live, is_metric = encoder.state == EncoderState.LIVE, encoder.kind == "metric"
    return ReleaseStatus(
        encoder=encoder,
        live=live,
        objections=[] if is_live or not is_metric else release_objections(encoder),
        coverage=encoder_coverage(encoder) if is_metric else None,
        comparison=evaluation_against(encoder, live) if is_metric else None,
        rollback_target=last.previous if is_live and last else None,
    )


def coverage_percent(embedded: int, photos: int) -> int:
    """The embedded share in percent, rounded down: 100 means complete. An empty catalogue is complete."""
    return 100 * embedded // photos if photos else 100


def coverage_text(embedded: int, photos: int, per_minute: float) -> str:
    """A text such as "3,000 of 4,000 photos, 350 a minute, 3 min left"; without the speed if that is 0 (unknown)."""
    count = f"{embedded:,} of {photos:,} photos"
    if embedded >= photos or not per_minute:
        return count
    return f"{count}, {per_minute:,.0f} a minute, {_duration(60 * (photos - embedded) / per_minute)} left"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} hours"
