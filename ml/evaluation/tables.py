"""Format the evaluation report as tables for a terminal: shares in percent, 95 % intervals in brackets."""

import math
from collections.abc import Iterable, Mapping, Sequence

from ml.evaluation.comparison import Difference
from ml.evaluation.intervals import Estimate
from ml.evaluation.report import ComparisonReport, Report
from ml.formats.metric_names import GAP, PHONE, PHONE_ONLY

TITLES = {
    "accuracy": "accuracy",
    "macro_recall": "recall, mean of the labels",
    "macro_precision": "precision, mean of the labels",
    "expected_calibration_error": "expected calibration error",
    "recall_at_1": "label: Recall@1",
    "recall_at_5": "label: Recall@5",
    "recall_at_10": "label: Recall@10",
    "near10": "label: right among ten nearest",
    "map_at_r": "label: MAP@R",
    "r_precision": "label: R-precision",
    "item_at_1": "item: another photo first",
    "item_at_5": "item: another photo in five",
    "garment_at_1": "garment found first",
    "garment_at_5": "garment found in five",
}

VIEWS = {"clean photo": "", "phone photo": PHONE, "domain gap": GAP}

BY_LABEL = {
    "metric": {
        "Recall@1": "recall_at_1",
        "MAP@R": "map_at_r",
        "phone MAP@R": "phone_map_at_r",
        "garment first": "garment_at_1",
    },
    "classifier": {
        "recall": "recall",
        "precision": "precision",
        "phone recall": "phone_recall",
        "phone precision": "phone_precision",
    },
}

Row = Sequence[str]


def report_to_text(report: Report) -> str:
    """Return the tables: the metrics by view, the metrics by label, and the differences from the other encoder."""
    parts = [_format_heading(report), _align_columns(_view_rows(report)), _align_columns(_label_rows(report))]
    if report.left_out:
        counts = ", ".join(f"{count} {label}" for label, count in report.left_out.items())
        parts.append(f"Left out, because the classifier lacks the label: {counts}.")
    if report.against is not None:
        parts.append(f"Against {report.against.encoder}, on the same queries:")
        parts.append(_align_columns(_difference_rows(report, report.against)))
        parts.append(_align_columns(_difference_by_label_rows(report, report.against)))
    return "\n\n".join(parts)


def _format_heading(report: Report) -> str:
    scope = {"metric": f"against {report.gallery:,} photos", "classifier": f"for {len(report.classes)} labels"}
    queries = f"{report.queries:,} queries ({', '.join(report.splits)}) {scope[report.kind]}"
    resamples = f"{report.resamples:,} resamples of {report.owners:,} {report.owner}s"
    return f"{report.encoder}: {queries}.\nIn percent, with 95 % intervals from {resamples}."


def _view_rows(report: Report) -> Iterable[Row]:
    yield ["", *VIEWS]
    for name, title in TITLES.items():
        names = ["", name, ""] if name in PHONE_ONLY else [f"{prefix}{name}" for prefix in VIEWS.values()]
        if any(name in report.figures for name in names):
            yield [title, *(_format_estimate(report.figures, name) for name in names)]


def _label_rows(report: Report) -> Iterable[Row]:
    columns = BY_LABEL[report.kind]
    yield ["label", "queries", *columns]
    for label, figures in report.labels.items():
        yield [label, str(report.asked.get(label, 0)), *(_format_estimate(figures, name) for name in columns.values())]


def _difference_rows(report: Report, against: ComparisonReport) -> Iterable[Row]:
    yield ["", "this", "the other", "difference", "above zero"]
    for name, difference in against.differences.items():
        if not name.startswith(GAP):
            this, other = (_format_percent(figures[name].value) for figures in (report.figures, against.figures))
            yield [
                _metric_title(name),
                this,
                other,
                _format_difference(difference),
                _format_percent(difference.above_zero),
            ]


def _difference_by_label_rows(report: Report, against: ComparisonReport) -> Iterable[Row]:
    columns = BY_LABEL[report.kind]
    yield ["difference by label", *columns]
    for label, differences in against.labels.items():
        yield [
            label,
            *(_format_difference(differences[name]) if name in differences else "" for name in columns.values()),
        ]


def _metric_title(name: str) -> str:
    plain = name.removeprefix(PHONE)
    return TITLES[plain] if plain == name else f"{TITLES[plain]}, phone"


def _format_estimate(figures: Mapping[str, Estimate], name: str) -> str:
    return f"{_format_percent(figures[name].value)}{_format_interval(figures[name])}" if name in figures else ""


def _format_difference(difference: Difference) -> str:
    return f"{100 * difference.value:+.1f}{_format_interval(difference)}"


def _format_interval(estimate: Estimate | Difference) -> str:
    return "" if math.isnan(estimate.low) else f" [{_format_percent(estimate.low)}, {_format_percent(estimate.high)}]"


def _format_percent(share: float) -> str:
    return "" if math.isnan(share) else f"{100 * share:.1f}"


def _align_columns(rows: Iterable[Row]) -> str:
    """Return the rows as a text table: the first column aligned left, the other columns right."""
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for first, *others in table:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
