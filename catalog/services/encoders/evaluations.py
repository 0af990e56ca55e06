"""Request evaluations of encoders, and comparisons with the live encoder, on the current evaluation set."""

from django.db import transaction
from django.utils import timezone

from catalog import tasks
from catalog.errors import Refused
from catalog.models import CatalogItem, Encoder, EncoderState, Evaluation, EvaluationSet, EvaluationState
from catalog.services.datasets.evaluation_sets import evaluation_set_ensure

UNFINISHED = (EvaluationState.QUEUED, EvaluationState.RUNNING)


def evaluation_request(
    *,
    encoder: Encoder,
    against: Encoder | None = None,
    evaluation_set: EvaluationSet | None = None,
    again: bool = False,
) -> Evaluation:
    """Return the evaluation of an encoder, optionally compared with `against`, and queue it if it is new.

    `evaluation_set` None means the current set, drawn now if there is none. Idempotent: an existing evaluation is
    returned in whatever state it is; `again` requeues one that has ended.

    Raises `Refused`: `evaluation_kind` when the two encoders cannot be compared; `no_evaluation_set` when the catalogue
    is too small to draw a set.
    """
    if against is not None and (against == encoder or against.kind != encoder.kind):
        raise Refused("evaluation_kind", f"{encoder} can only be compared with another {encoder.kind} encoder.")
    evaluation_set = evaluation_set or evaluation_set_ensure()
    if evaluation_set is None:
        raise Refused("no_evaluation_set", f"There are too few items with a category to measure {encoder} on.")
    with transaction.atomic():
        evaluation, is_new = Evaluation.objects.get_or_create(
            encoder=encoder, against=against, evaluation_set=evaluation_set
        )
        if is_new or (again and _requeue(evaluation)):
            tasks.send_evaluate(evaluation.pk)
    evaluation.refresh_from_db()
    return evaluation


def evaluations_ensure() -> list[Evaluation]:
    """Request the missing evaluations of candidates. Returns the new requests. Idempotent.

    A metric encoder is compared with the live encoder, once it has embedded every photo; a classifier is measured
    alone. Failed evaluations are not repeated: staff decide.
    """
    live, evaluation_set = Encoder.objects.live(), EvaluationSet.current()
    if evaluation_set is None and not CatalogItem.objects.exclude(category="").exists():
        return []  # no set can be drawn; this runs every few seconds, so it must be cheap
    candidates = Encoder.objects.filter(state=EncoderState.CANDIDATE).order_by("pk")
    pairs = [(encoder, live if encoder.kind == "metric" else None) for encoder in candidates]
    pairs = [(encoder, against) for encoder, against in pairs if against or encoder.kind != "metric"]
    requested = []
    for encoder, against in pairs:
        if Evaluation.objects.filter(encoder=encoder, against=against, evaluation_set=evaluation_set).exists():
            continue
        if encoder.kind == "metric" and encoder.missing_photos().exists():
            continue
        try:
            requested.append(evaluation_request(encoder=encoder, against=against, evaluation_set=evaluation_set))
        except Refused:  # no evaluation set can be drawn
            return requested
    return requested


def _requeue(evaluation: Evaluation) -> bool:
    """Reset and queue an evaluation that has ended; False if it has not."""
    initial = {"reason": "", "attempts": 0, "report": {}, "samples": [], "finished_at": None, "stage": ""}
    ended = Evaluation.objects.filter(pk=evaluation.pk).exclude(state__in=UNFINISHED)
    return bool(ended.update(state=EvaluationState.QUEUED, nudged_at=timezone.now(), **initial))


def latest_evaluation(encoder: Encoder) -> Evaluation | None:
    """The newest finished evaluation of an encoder, preferring the current evaluation set; None if there is none."""
    done = encoder.evaluations.filter(state=EvaluationState.DONE).select_related("evaluation_set", "against")
    return done.defer("samples").order_by("-evaluation_set__is_current", "-finished_at").first()


def evaluation_against(encoder: Encoder, other: Encoder | None) -> Evaluation | None:
    """The newest evaluation of `encoder` against `other`, preferring the current set; None if there is none."""
    if other is None:
        return None
    evaluations = encoder.evaluations.filter(against=other).select_related("evaluation_set")
    return evaluations.order_by("-evaluation_set__is_current", "-created_at").first()


def comparison_candidate(encoder: Encoder) -> Encoder | None:
    """The encoder to compare with by default: the live one; for the live one, the last it was compared with."""
    live = Encoder.objects.live()
    if live is not None and live != encoder and live.kind == encoder.kind:
        return live
    last = encoder.evaluations.exclude(against=None).order_by("-created_at").first()
    return last.against if last else None
