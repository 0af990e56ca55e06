"""What the pages of an encoder show."""

import json
from collections.abc import Mapping
from typing import Any

from django.db.models import Q

from catalog.admin.encoders import figures as figures
from catalog.models import Encoder, EncoderState, Evaluation, EvaluationState, Promotion
from catalog.services.encoders.gate import release_objections
from catalog.services.encoders.release import encoder_coverage, encoder_dependents

LABELS = {EncoderState.CANDIDATE: "info", EncoderState.LIVE: "success", EncoderState.RETIRED: "warning"}
EVALUATION_LABELS = {
    EvaluationState.QUEUED: "info",
    EvaluationState.RUNNING: "primary",
    EvaluationState.DONE: "success",
    EvaluationState.FAILED: "danger",
}
UNDER_WAY = (EvaluationState.QUEUED, EvaluationState.RUNNING)


def page_of(encoder: Encoder) -> dict[str, Any]:
    """Everything on an encoder's own page."""
    evaluation = latest_evaluation(encoder)
    found, source = measured(encoder, evaluation)
    return {
        **state_of(encoder),
        "evaluation": evaluation,
        "source": source,
        "key_figures": figures.key_figures(encoder.kind, found),
        "all_figures": figures.all_figures(found),
        "gap_rows": figures.gap_rows(found),
        "gap_sentence": figures.gap_sentence(encoder.kind, found),
        "gap_by_label": figures.gap_by_label(evaluation.report if evaluation else {}),
        "card_sections": card_sections(encoder.card),
        "notes": _texts(encoder.card.get("notes")),
        "command": str(encoder.card.get("command") or ""),
        "raw_card": json.dumps(encoder.card, indent=2, ensure_ascii=False),
        "audit": audit_of(encoder),
    }


def state_of(encoder: Encoder) -> dict[str, Any]:
    """What changes while one looks: coverage, comparison, gate, and so what may be done."""
    live, last = Encoder.objects.live(), Promotion.objects.select_related("previous", "by").first()
    is_live = encoder.state == EncoderState.LIVE
    metric = encoder.kind == "metric"
    objections = [] if is_live or not metric else release_objections(encoder)
    coverage = encoder_coverage(encoder) if metric else None
    comparison = comparison_of(encoder, live) if metric else None
    return {
        "encoder": encoder,
        "label": LABELS[EncoderState(encoder.state)],
        "is_live": is_live,
        "is_metric": metric,
        "is_retired": encoder.state == EncoderState.RETIRED,
        "live": live,
        "coverage": coverage,
        "share": percent_covered(coverage.embedded, coverage.photos) if coverage else 0,
        "coverage_words": coverage_words(coverage.embedded, coverage.photos, coverage.per_minute) if coverage else "",
        "objections": objections,
        "needs_reason": bool(objections),
        "can_promote": not any(objection.is_blocking for objection in objections),
        "way_back": last.previous if is_live and last else None,
        "comparison": comparison,
        "changes": bool(coverage and coverage.embedded < coverage.photos) or _is_under_way(comparison),
        "promotion": encoder.promotions.select_related("by").first(),
    }


def comparison_page(encoder: Encoder, other: Encoder | None) -> dict[str, Any]:
    """Both encoders side by side. `other` None: there is nothing to compare with yet."""
    evaluation = comparison_of(encoder, other)
    report = evaluation.report if evaluation and evaluation.state == EvaluationState.DONE else {}
    labels = figures.by_label(report)
    return {
        "encoder": encoder,
        "other": other,
        "others": Encoder.objects.filter(kind=encoder.kind).exclude(pk=encoder.pk).only("name", "state"),
        "evaluation": evaluation,
        "evaluation_label": EVALUATION_LABELS[EvaluationState(evaluation.state)] if evaluation else "",
        "changes": _is_under_way(evaluation),
        "report": report,
        "rows": figures.compared(report),
        "labels": labels,
        "label_headings": figures.label_headings(encoder.kind),
        "samples": samples_of(evaluation) if report else [],
    }


def latest_evaluation(encoder: Encoder) -> Evaluation | None:
    """The last that was finished, one on the current evaluation set before all others."""
    done = encoder.evaluations.filter(state=EvaluationState.DONE).select_related("evaluation_set", "against")
    return done.defer("samples").order_by("-evaluation_set__is_current", "-finished_at").first()


def comparison_of(encoder: Encoder, other: Encoder | None) -> Evaluation | None:
    """The evaluation of both on the current set, else the newest of both on another; None if there is none."""
    if other is None:
        return None
    both = encoder.evaluations.filter(against=other).select_related("evaluation_set")
    return both.order_by("-evaluation_set__is_current", "-created_at").first()


def measured(encoder: Encoder, evaluation: Evaluation | None) -> tuple[Mapping[str, Any], str]:
    """The figures of an encoder and, in words, what they were measured on."""
    if evaluation:
        queries = evaluation.report.get("queries")
        return evaluation.report.get(
            "figures"
        ) or {}, f"Measured on {evaluation.evaluation_set}: {queries} photos asked."
    queries = (encoder.card.get("metrics") or {}).get("queries")
    told = f", over {queries:,} photos" if isinstance(queries, int) else ""
    return figures.figures_on_card(encoder.card), f"As its card tells{told}; not measured here yet."


def samples_of(evaluation: Evaluation | None) -> list[dict[str, Any]]:
    """The same photos answered by both. Only pictures of the catalogue are in them."""
    samples = evaluation.samples if evaluation else []
    return [{**sample, "right": {who: _right(sample.get(who)) for who in ("ours", "theirs")}} for sample in samples]


def card_sections(card: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """The card in readable sections: what it is, what it learned from, what made it, how it is calibrated."""
    what = {
        "Backbone": card.get("backbone"),
        "Numbers in a vector" if card.get("kind") == "metric" else "Outputs": card.get("dim"),
        "Head": card.get("head"),
        "Pooling": card.get("pooling"),
        "Input": _input(card.get("preprocessing") or {}),
        "Labels": ", ".join(_texts(card.get("labels"))),
        "Format of the card": card.get("format"),
    }
    sections: list[tuple[str, dict[str, Any]]] = [
        ("What it is", what),
        ("What it learned from", {"Photos": card.get("data"), "Hash of the photos": card.get("data_sha256")}),
        ("Calibration", _calibration(card)),
        ("Software", dict(card.get("software") or {})),
        ("SHA-256 of its files", dict(card.get("files") or {})),
    ]
    filled = [(title, [(name, str(value)) for name, value in rows.items() if value]) for title, rows in sections]
    return [(title, rows) for title, rows in filled if rows]


def audit_of(encoder: Encoder) -> list[Promotion]:
    """Every change of the live encoder that it was part of, newest first."""
    mine = Q(encoder=encoder) | Q(previous=encoder)
    return list(Promotion.objects.filter(mine).select_related("by", "encoder", "previous")[:50])


def percent_covered(embedded: int, photos: int) -> int:
    """Rounded down: 100 only where nothing is missing. No photos at all are all of them."""
    return 100 * embedded // photos if photos else 100


def coverage_words(embedded: int, photos: int, per_minute: float) -> str:
    """Such as "3,000 of 4,000 photos, 350 a minute, 3 min left"."""
    words = f"{embedded:,} of {photos:,} photos"
    if embedded >= photos or not per_minute:
        return words
    return f"{words}, {per_minute:,.0f} a minute, {duration_words(60 * (photos - embedded) / per_minute)} left"


def dependents_words(encoder: Encoder) -> list[tuple[str, int]]:
    """What is there because of the encoder, and how much of it."""
    return [(name.replace("_", " ").capitalize(), count) for name, count in encoder_dependents(encoder).items()]


def duration_words(seconds: float | None) -> str:
    """ "" for a time that nobody knows."""
    if seconds is None:
        return ""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} hours"


def _input(prepared: Mapping[str, Any]) -> str:
    sides = f"{prepared.get('width')} by {prepared.get('height')} pixels"
    return f"{sides}, {prepared.get('resize')}" if prepared else ""


def _calibration(card: Mapping[str, Any]) -> dict[str, str]:
    found, strange = card.get("calibration") or {}, card.get("strangeness") or {}
    error, pairs, accepted = (
        found.get("expected_calibration_error"),
        found.get("pairs"),
        strange.get("accepted_share"),
    )
    return {
        "From a cosine to a probability": f"fitted on {pairs:,} pairs" if isinstance(pairs, int) else "",
        "Mean error of the probability": f"{100 * error:.1f} points" if isinstance(error, float) else "",
        "Photos of no clothes": f"recognised; {100 * accepted:.0f} % of clothes pass"
        if isinstance(accepted, int | float)
        else "",
    }


def _right(answers: Any) -> int:
    return sum(bool(answer.get("right")) for answer in answers or [])


def _texts(values: Any) -> list[str]:
    return [str(value) for value in values or []]


def _is_under_way(evaluation: Evaluation | None) -> bool:
    return evaluation is not None and evaluation.state in UNDER_WAY
