"""Evaluation metrics of encoders as table rows: values with 95 % intervals, differences, and the domain gap."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ml.formats.metric_names import GAP, PHONE

ReportJson = Mapping[str, Any]  # a report as `ml evaluate --out` writes it, or a part of one

NAMES = {
    "garment_at_1": "Same garment first, from a phone photo",
    "garment_at_5": "Same garment in the first five, from a phone photo",
    "near10": "Right label among the ten nearest",
    "map_at_r": "MAP@R by label",
    "r_precision": "R-precision by label",
    "recall_at_1": "Right label first",
    "recall_at_5": "Right label in the first five",
    "recall_at_10": "Right label in the first ten",
    "item_at_1": "Another photo of the item first",
    "item_at_5": "Another photo of the item in the first five",
    "accuracy": "Accuracy",
    "macro_recall": "Macro recall",
    "macro_precision": "Macro precision",
    "expected_calibration_error": "Expected calibration error",
    "recall": "Recall",
    "precision": "Precision",
}
KEY_METRICS = {"metric": ("garment_at_1", "near10", "phone_near10"), "classifier": ("accuracy", "phone_accuracy")}
LABEL_METRICS = {
    "metric": ("near10", "phone_near10", "garment_at_1"),
    "classifier": ("recall", "precision", "phone_recall"),
}
SHORT_NAMES = {
    "garment_at_1": "Same garment first",
    "near10": "Label in ten",
    "phone_near10": "Label in ten, phone",
    "accuracy": "Accuracy",
    "phone_accuracy": "Accuracy, phone",
}
LOWER_IS_BETTER = ("expected_calibration_error", "phone_expected_calibration_error")


@dataclass(frozen=True)
class MetricEstimate:
    """A share 0..1 with its 95 % interval. Both ends are None when there are too few queries for an interval."""

    value: float
    low: float | None = None
    high: float | None = None
    queries: int | None = None

    @property
    def text(self) -> str:
        """The value in percent."""
        return f"{_percent(self.value)} %"

    @property
    def interval(self) -> str:
        """The ends of the interval in percent; "" without an interval."""
        return "" if self.low is None or self.high is None else f"{_percent(self.low)} to {_percent(self.high)}"


@dataclass(frozen=True)
class MetricDifference(MetricEstimate):
    """One encoder minus another on the same photos (paired bootstrap). `sign` is -1 where lower is better."""

    sign: int = 1

    @property
    def text(self) -> str:
        """The difference in percentage points."""
        return f"{_signed(self.value)} points"

    @property
    def interval(self) -> str:
        """The ends of the interval in percentage points; "" without an interval."""
        return "" if self.low is None or self.high is None else f"{_signed(self.low)} to {_signed(self.high)}"

    @property
    def verdict(self) -> str:
        """`better` or `worse`; `unsure` if the interval contains 0 or is missing."""
        ends = None if self.low is None or self.high is None else sorted((self.sign * self.low, self.sign * self.high))
        if ends is None or ends[0] <= 0 <= ends[1]:
            return "unsure"
        return "better" if ends[0] > 0 else "worse"


@dataclass(frozen=True)
class MetricRow:
    """One metric of an encoder, next to that of another encoder (or of another kind of photo) where there is one."""

    name: str
    value: MetricEstimate | None
    other: MetricEstimate | None = None
    difference: MetricDifference | None = None
    short_name: str = ""


@dataclass(frozen=True)
class LabelRow:
    """The metrics of one label. `queries`: how many photos of the label were searched with."""

    label: str
    queries: int
    cells: tuple[MetricRow, ...]


def metric_name(key: str) -> str:
    """The name of a metric for people; the key itself if the metric is unknown."""
    for prefix, suffix in ((PHONE, ", from a phone photo"), (GAP, ", clean minus phone")):
        if key.startswith(prefix):
            return NAMES.get(key.removeprefix(prefix), key) + suffix
    return NAMES.get(key, key)


def parse_estimate(metrics: ReportJson, key: str) -> MetricEstimate | None:
    """Read a metric from the `figures` of a report; None if it is missing or no number."""
    entry = metrics.get(key)
    if not isinstance(entry, Mapping) or _as_number(entry.get("value")) is None:
        return None
    return MetricEstimate(
        entry["value"], _as_number(entry.get("low")), _as_number(entry.get("high")), entry.get("queries")
    )


def parse_difference(differences: ReportJson, key: str) -> MetricDifference | None:
    """Read a difference from the `differences` of a report; None if it is missing or no number."""
    estimate = parse_estimate(differences, key)
    sign = -1 if key in LOWER_IS_BETTER else 1
    return None if estimate is None else MetricDifference(estimate.value, estimate.low, estimate.high, sign=sign)


def card_metrics(card: ReportJson) -> dict[str, dict[str, Any]]:
    """Convert the metrics of a card, where `x_low` and `x_high` are entries of their own, to the form of a report."""
    metrics = card.get("metrics") or {}
    keys = [key for key in metrics if not key.endswith(("_low", "_high"))]
    return {
        key: {"value": metrics[key], "low": metrics.get(f"{key}_low"), "high": metrics.get(f"{key}_high")}
        for key in keys
        if metric_name(key) != key
    }


def key_metrics(kind: str, metrics: ReportJson) -> list[MetricRow]:
    """The few metrics that summarise an encoder of a kind, without metrics that were not measured."""
    keys = KEY_METRICS.get(kind, ())
    rows = (MetricRow(metric_name(key), parse_estimate(metrics, key), short_name=SHORT_NAMES[key]) for key in keys)
    return [row for row in rows if row.value]


def all_metrics(metrics: ReportJson) -> list[MetricRow]:
    """Every metric except the gaps, in the order of `NAMES`; each is followed by its phone-photo variant."""
    return [MetricRow(metric_name(key), parse_estimate(metrics, key)) for key in _in_order(metrics)]


def compare_metrics(report: ReportJson) -> list[MetricRow]:
    """The metrics of both encoders and their differences. Without a second encoder those cells are None."""
    metrics, against = report.get("figures") or {}, report.get("against") or {}
    others, differences = against.get("figures") or {}, against.get("differences") or {}
    return [
        MetricRow(
            metric_name(key),
            parse_estimate(metrics, key),
            parse_estimate(others, key),
            parse_difference(differences, key),
        )
        for key in _in_order(metrics)
    ]


def label_headings(kind: str) -> list[str]:
    """The column headings of `label_metrics` for an encoder kind."""
    return [metric_name(key) for key in LABEL_METRICS.get(kind, ())]


def label_metrics(report: ReportJson) -> list[LabelRow]:
    """The metrics of each label, sorted by the largest loss against the other encoder."""
    keys = LABEL_METRICS.get(str(report.get("kind")), ())
    differences = (report.get("against") or {}).get("labels") or {}
    counts = report.get("asked") or {}
    rows = [
        LabelRow(label, counts.get(label, 0), _cells(metrics, differences.get(label) or {}, keys))
        for label, metrics in (report.get("labels") or {}).items()
    ]
    return sorted(rows, key=_largest_loss)


def gap_rows(metrics: ReportJson) -> list[MetricRow]:
    """The domain gap: each metric with clean photos, with phone photos, and the difference.

    A gap that is only computed from the two values of a card has no interval.
    """
    rows = []
    for key in NAMES:
        clean, phone = (parse_estimate(metrics, prefix + key) for prefix in ("", PHONE))
        if clean and phone:
            gap = parse_difference(metrics, GAP + key)
            rows.append(MetricRow(NAMES[key], clean, phone, gap or MetricDifference(clean.value - phone.value)))
    return rows


def gap_summary(kind: str, metrics: ReportJson) -> str:
    """The domain gap of the main metric in one sentence; "" if it was not measured."""
    key = {"metric": "near10", "classifier": "accuracy"}.get(kind, "")
    row = next((row for row in gap_rows(metrics) if row.name == NAMES.get(key)), None)
    if row is None or row.difference is None:
        return ""
    name = "the right label among the ten nearest" if kind == "metric" else "accuracy"
    gap, points = row.difference, f"{abs(100 * row.difference.value):.1f} points"
    change = "no change" if points == "0.0 points" else f"{points} {'less' if gap.value > 0 else 'more'}"
    doubt = ", which may be chance" if gap.interval and gap.verdict == "unsure" else ""
    return f"Simulated phone photos instead of clean ones: {change} for {name}{doubt}."


def label_gaps(report: ReportJson) -> list[LabelRow]:
    """The domain gap of each label, largest first."""
    key = {"metric": "near10", "classifier": "recall"}.get(str(report.get("kind")), "")
    counts = report.get("asked") or {}
    rows = [
        LabelRow(label, counts.get(label, 0), tuple(row for row in gap_rows(metrics) if row.name == NAMES.get(key)))
        for label, metrics in (report.get("labels") or {}).items()
    ]
    return sorted((row for row in rows if row.cells), key=lambda row: -row.cells[0].difference.value)  # type: ignore[union-attr]  # gap_rows sets it


def _cells(metrics: ReportJson, differences: ReportJson, keys: Iterable[str]) -> tuple[MetricRow, ...]:
    return tuple(
        MetricRow(metric_name(key), parse_estimate(metrics, key), None, parse_difference(differences, key))
        for key in keys
    )


def _largest_loss(row: LabelRow) -> tuple[float, str]:
    return min((cell.difference.value for cell in row.cells if cell.difference), default=0.0), row.label


def _in_order(metrics: ReportJson) -> Iterator[str]:
    for key in NAMES:
        yield from (variant for variant in (key, PHONE + key) if parse_estimate(metrics, variant))


def _as_number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _signed(value: float) -> str:
    text = f"{100 * value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"
