"""A report as text that fits a terminal. Shares in percent, 95 % intervals in brackets."""

import math
from collections.abc import Iterable, Mapping, Sequence

from ml.evaluation.comparing import Difference
from ml.evaluation.intervals import Estimate
from ml.evaluation.report import Against, Report

LINES = {
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

VIEWS = {"clean photo": "", "phone photo": "phone_", "domain gap": "gap_"}

FROM_A_PHONE = ("garment_at_1", "garment_at_5")
"""These are asked with a phone photo alone, and so are named without the prefix."""

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


def text_of(report: Report) -> str:
    """Return the tables: the figures by view, those of each label, and the differences from the other encoder."""
    parts = [_heading(report), _aligned(_by_view(report)), _aligned(_by_label(report))]
    if report.left_out:
        counts = ", ".join(f"{count} {label}" for label, count in report.left_out.items())
        parts.append(f"Left out, as the classifier does not know the label: {counts}.")
    if report.against is not None:
        parts.append(f"Against {report.against.encoder}, on the same queries:")
        parts += [_aligned(_compared(report, report.against)), _aligned(_compared_by_label(report, report.against))]
    return "\n\n".join(parts)


def _heading(report: Report) -> str:
    what = {"metric": f"against {report.gallery:,} photos", "classifier": f"for {len(report.classes)} labels"}
    asked = f"{report.queries:,} queries ({', '.join(report.splits)}) {what[report.kind]}"
    drawn = f"{report.resamples:,} resamples of {report.owners:,} {report.owner}s"
    return f"{report.encoder}: {asked}.\nIn percent, with 95 % intervals from {drawn}."


def _by_view(report: Report) -> Iterable[Row]:
    yield ["", *VIEWS]
    for name, title in LINES.items():
        keys = ["", name, ""] if name in FROM_A_PHONE else [f"{prefix}{name}" for prefix in VIEWS.values()]
        if any(key in report.figures for key in keys):
            yield [title, *(_cell(report.figures, key) for key in keys)]


def _by_label(report: Report) -> Iterable[Row]:
    columns = BY_LABEL[report.kind]
    yield ["label", "queries", *columns]
    for label, figures in report.labels.items():
        yield [label, str(report.asked.get(label, 0)), *(_cell(figures, key) for key in columns.values())]


def _compared(report: Report, against: Against) -> Iterable[Row]:
    yield ["", "this", "the other", "difference", "above zero"]
    for name, difference in against.differences.items():
        if not name.startswith("gap_"):
            ours, theirs = (_percent(figures[name].value) for figures in (report.figures, against.figures))
            yield [_title(name), ours, theirs, _signed(difference), _percent(difference.above_zero)]


def _compared_by_label(report: Report, against: Against) -> Iterable[Row]:
    columns = BY_LABEL[report.kind]
    yield ["difference by label", *columns]
    for label, found in against.labels.items():
        yield [label, *(_signed(found[key]) if key in found else "" for key in columns.values())]


def _title(name: str) -> str:
    plain = name.removeprefix("phone_")
    return LINES[plain] if plain == name else f"{LINES[plain]}, phone"


def _cell(figures: Mapping[str, Estimate], name: str) -> str:
    return f"{_percent(figures[name].value)}{_interval(figures[name])}" if name in figures else ""


def _signed(difference: Difference) -> str:
    return f"{100 * difference.value:+.1f}{_interval(difference)}"


def _interval(figure: Estimate | Difference) -> str:
    return "" if math.isnan(figure.low) else f" [{_percent(figure.low)}, {_percent(figure.high)}]"


def _percent(share: float) -> str:
    return "" if math.isnan(share) else f"{100 * share:.1f}"


def _aligned(rows: Iterable[Row]) -> str:
    """The first column to the left, the others to the right."""
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for first, *others in table:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
