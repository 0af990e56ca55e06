"""Having encoders measured, and compared with the live one, on the current evaluation set."""

from django.db import transaction
from django.utils import timezone

from catalog import tasks
from catalog.errors import Refused
from catalog.models import CatalogItem, Encoder, EncoderState, Evaluation, EvaluationSet, EvaluationState
from catalog.services.datasets.evaluation_sets import evaluation_set_ensure

UNDER_WAY = (EvaluationState.QUEUED, EvaluationState.RUNNING)


def evaluation_request(
    *,
    encoder: Encoder,
    against: Encoder | None = None,
    evaluation_set: EvaluationSet | None = None,
    again: bool = False,
) -> Evaluation:
    """An evaluation of an encoder, alone or beside another, on a set (None: the current one). Queued, if it is new.

    The earlier one of the same is returned as it is, whatever came of it, unless it has ended and `again` asks for it
    anew. Refused where the two cannot be compared (`evaluation_kind`), or where there is no set and none can be drawn.
    """
    if against is not None and (against == encoder or against.kind != encoder.kind):
        raise Refused("evaluation_kind", f"{encoder} can only be compared with another {encoder.kind} encoder.")
    chosen = evaluation_set or evaluation_set_ensure()
    if chosen is None:
        raise Refused("no_evaluation_set", f"There are too few items with a category to measure {encoder} on.")
    with transaction.atomic():
        found, is_new = Evaluation.objects.get_or_create(encoder=encoder, against=against, evaluation_set=chosen)
        if is_new or (again and _queue_again(found)):
            tasks.send_evaluate(found.pk)
    found.refresh_from_db()
    return found


def evaluations_ensure() -> list[Evaluation]:
    """Request what is missing: each complete candidate beside the live encoder, each candidate classifier alone.

    What has failed is left to staff. Returns what was requested now.
    """
    live, chosen = Encoder.objects.live(), EvaluationSet.current()
    if chosen is None and not CatalogItem.objects.exclude(category="").exists():
        return []  # none can be drawn: this is asked every few seconds, so it must not take long
    candidates = Encoder.objects.filter(state=EncoderState.CANDIDATE).order_by("pk")
    wanted = [(encoder, live if encoder.kind == "metric" else None) for encoder in candidates]
    wanted = [(encoder, other) for encoder, other in wanted if other or encoder.kind != "metric"]
    requested = []
    for encoder, other in wanted:
        if Evaluation.objects.filter(encoder=encoder, against=other, evaluation_set=chosen).exists():
            continue
        if encoder.kind == "metric" and encoder.missing_photos().exists():
            continue
        try:
            requested.append(evaluation_request(encoder=encoder, against=other, evaluation_set=chosen))
        except Refused:  # there is nothing to measure on
            return requested
    return requested


def _queue_again(evaluation: Evaluation) -> bool:
    fresh = {"reason": "", "attempts": 0, "report": {}, "samples": [], "finished_at": None, "stage": ""}
    ended = Evaluation.objects.filter(pk=evaluation.pk).exclude(state__in=UNDER_WAY)
    return bool(ended.update(state=EvaluationState.QUEUED, nudged_at=timezone.now(), **fresh))
