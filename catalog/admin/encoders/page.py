"""Template contexts of an encoder's pages: release status, metrics, card, promotions, comparison."""

import json
from collections.abc import Mapping
from typing import Any

from django.db.models import Q

from catalog.admin.encoders import metrics
from catalog.models import Encoder, EncoderState, Evaluation, EvaluationState, Promotion
from catalog.services.encoders.evaluations import UNFINISHED, evaluation_against, latest_evaluation
from catalog.services.encoders.release import encoder_dependents
from catalog.services.encoders.release_status import coverage_percent, coverage_text, release_status

STATE_COLOURS = {EncoderState.CANDIDATE: "info", EncoderState.LIVE: "success", EncoderState.RETIRED: "warning"}
EVALUATION_COLOURS = {
    EvaluationState.QUEUED: "info",
    EvaluationState.RUNNING: "primary",
    EvaluationState.DONE: "success",
    EvaluationState.FAILED: "danger",
}


def encoder_context(encoder: Encoder) -> dict[str, Any]:
    """The context of an encoder's own page."""
    evaluation = latest_evaluation(encoder)
    measured, source = _measured_metrics(encoder, evaluation)
    return {
        **_status_context(encoder),
        "evaluation": evaluation,
        "source": source,
        "key_metrics": metrics.key_metrics(encoder.kind, measured),
        "all_metrics": metrics.all_metrics(measured),
        "gap_rows": metrics.gap_rows(measured),
        "gap_summary": metrics.gap_summary(encoder.kind, measured),
        "label_gaps": metrics.label_gaps(evaluation.report if evaluation else {}),
        "card_sections": card_sections(encoder.card),
        "notes": _texts(encoder.card.get("notes")),
        "command": str(encoder.card.get("command") or ""),
        "raw_card": json.dumps(encoder.card, indent=2, ensure_ascii=False),
        "promotions": _promotions(encoder),
    }


def _status_context(encoder: Encoder) -> dict[str, Any]:
    """The part of the page that is reloaded while it changes: coverage, release checks, and so the buttons."""
    status = release_status(encoder)
    coverage = status.coverage
    return {
        "encoder": encoder,
        "colour": STATE_COLOURS[EncoderState(encoder.state)],
        "is_live": encoder.state == EncoderState.LIVE,
        "is_metric": encoder.kind == "metric",
        "is_retired": encoder.state == EncoderState.RETIRED,
        "live": status.live,
        "coverage": coverage,
        "coverage_percent": coverage_percent(coverage.embedded, coverage.photos) if coverage else 0,
        "coverage_text": coverage_text(coverage.embedded, coverage.photos, coverage.per_minute) if coverage else "",
        "objections": status.objections,
        "needs_reason": status.needs_reason,
        "can_promote": status.can_promote,
        "rollback_target": status.rollback_target,
        "comparison": status.comparison,
        "is_changing": status.is_changing,
        "promotion": encoder.promotions.select_related("by").first(),
    }


def comparison_context(encoder: Encoder, other: Encoder | None) -> dict[str, Any]:
    """The context of the page that compares two encoders. `other` is None when there is no second encoder."""
    evaluation = evaluation_against(encoder, other)
    report = evaluation.report if evaluation and evaluation.state == EvaluationState.DONE else {}
    return {
        "encoder": encoder,
        "other": other,
        "others": Encoder.objects.filter(kind=encoder.kind).exclude(pk=encoder.pk).only("name", "state"),
        "evaluation": evaluation,
        "evaluation_colour": EVALUATION_COLOURS[EvaluationState(evaluation.state)] if evaluation else "",
        "is_changing": evaluation is not None and evaluation.state in UNFINISHED,
        "report": report,
        "rows": metrics.compare_metrics(report),
        "labels": metrics.label_metrics(report),
        "label_headings": metrics.label_headings(encoder.kind),
        "samples": _samples(evaluation) if evaluation and report else [],
    }


def card_sections(card: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """The card as titled sections of (name, value) rows; empty values and sections are left out."""
    network = {
        "Backbone": card.get("backbone"),
        "Vector size" if card.get("kind") == "metric" else "Outputs": card.get("dim"),
        "Head": card.get("head"),
        "Pooling": card.get("pooling"),
        "Input": _input(card.get("preprocessing") or {}),
        "Labels": ", ".join(_texts(card.get("labels"))),
        "Card format": card.get("format"),
    }
    sections: list[tuple[str, dict[str, Any]]] = [
        ("Network", network),
        ("Training data", {"Photos": card.get("data"), "SHA-256 of the data": card.get("data_sha256")}),
        ("Calibration", _calibration(card)),
        ("Software", dict(card.get("software") or {})),
        ("SHA-256 of the files", dict(card.get("files") or {})),
    ]
    filled = [(title, [(name, str(value)) for name, value in rows.items() if value]) for title, rows in sections]
    return [(title, rows) for title, rows in filled if rows]


def dependent_counts(encoder: Encoder) -> list[tuple[str, int]]:
    """What would be affected by deleting the encoder: (name, count)."""
    return [(name.replace("_", " ").capitalize(), count) for name, count in encoder_dependents(encoder).items()]


def _measured_metrics(encoder: Encoder, evaluation: Evaluation | None) -> tuple[Mapping[str, Any], str]:
    """The metrics of the latest evaluation, else those of the card, and a sentence that names their source."""
    if evaluation:
        source = f"Measured on {evaluation.evaluation_set} with {evaluation.report.get('queries')} query photos."
        return evaluation.report.get("figures") or {}, source
    queries = (encoder.card.get("metrics") or {}).get("queries")
    count = f", over {queries:,} photos" if isinstance(queries, int) else ""
    return metrics.card_metrics(encoder.card), f"From the encoder's card{count}; not measured on this site yet."


def _samples(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Query photos with the answers of both encoders and the number of right ones. All are catalogue photos."""
    sides = ("ours", "theirs")
    return [
        {**sample, "right": {side: _count_right(sample.get(side)) for side in sides}} for sample in evaluation.samples
    ]


def _promotions(encoder: Encoder) -> list[Promotion]:
    """The promotions and rollbacks that involved the encoder, newest first."""
    involved = Q(encoder=encoder) | Q(previous=encoder)
    return list(Promotion.objects.filter(involved).select_related("by", "encoder", "previous")[:50])


def _input(preprocessing: Mapping[str, Any]) -> str:
    sides = f"{preprocessing.get('width')} by {preprocessing.get('height')} pixels"
    return f"{sides}, {preprocessing.get('resize')}" if preprocessing else ""


def _calibration(card: Mapping[str, Any]) -> dict[str, str]:
    calibration, ood = card.get("calibration") or {}, card.get("strangeness") or {}
    error, pairs = calibration.get("expected_calibration_error"), calibration.get("pairs")
    accepted = ood.get("accepted_share")
    passing = f"detected; {100 * accepted:.0f} % of clothes photos pass" if isinstance(accepted, int | float) else ""
    return {
        "Probability of a match": f"fitted on {pairs:,} pairs" if isinstance(pairs, int) else "",
        "Expected calibration error": f"{100 * error:.1f} points" if isinstance(error, float) else "",
        "Photos without clothes": passing,
    }


def _count_right(answers: Any) -> int:
    return sum(bool(answer.get("right")) for answer in answers or [])


def _texts(values: Any) -> list[str]:
    return [str(value) for value in values or []]
