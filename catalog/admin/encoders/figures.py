"""What was measured of encoders, as rows for the pages: figures with intervals, differences, the domain gap."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Report = Mapping[str, Any]  # as `ml evaluate --out` writes it, or parts of it

WORDS = {
    "garment_at_1": "The very garment first, from a phone photo",
    "garment_at_5": "The very garment in the first five, from a phone photo",
    "near10": "The ten nearest with the right label",
    "map_at_r": "MAP@R by label",
    "r_precision": "R-precision by label",
    "recall_at_1": "The right label first",
    "recall_at_5": "The right label in the first five",
    "recall_at_10": "The right label in the first ten",
    "item_at_1": "Another photo of the item first",
    "item_at_5": "Another photo of the item in the first five",
    "accuracy": "Labels told right",
    "macro_recall": "Recall, mean of the labels",
    "macro_precision": "Precision, mean of the labels",
    "expected_calibration_error": "Expected calibration error",
    "recall": "Recall",
    "precision": "Precision",
}
PHONE, GAP = "phone_", "gap_"
KEY = {"metric": ("garment_at_1", "near10", "phone_near10"), "classifier": ("accuracy", "phone_accuracy")}
BY_LABEL = {
    "metric": ("near10", "phone_near10", "garment_at_1"),
    "classifier": ("recall", "precision", "phone_recall"),
}
SHORT = {
    "garment_at_1": "Garment first",
    "near10": "Label in ten",
    "phone_near10": "Label in ten, phone",
    "accuracy": "Labels told",
    "phone_accuracy": "Labels told, phone",
}
LOWER_IS_BETTER = ("expected_calibration_error", "phone_expected_calibration_error")


@dataclass(frozen=True)
class Estimate:
    """A share 0..1 with its 95 % interval, both ends None where it stands on too little."""

    value: float
    low: float | None = None
    high: float | None = None
    queries: int | None = None

    @property
    def text(self) -> str:
        return f"{_percent(self.value)} %"

    @property
    def interval(self) -> str:
        return "" if self.low is None or self.high is None else f"{_percent(self.low)} to {_percent(self.high)}"


@dataclass(frozen=True)
class Difference(Estimate):
    """One encoder minus another on the same photos, drawn in pairs. `sign`: -1 for a figure that should be low."""

    sign: int = 1

    @property
    def text(self) -> str:
        return f"{_signed(self.value)} points"

    @property
    def interval(self) -> str:
        return "" if self.low is None or self.high is None else f"{_signed(self.low)} to {_signed(self.high)}"

    @property
    def verdict(self) -> str:
        """Whether the interval leaves a doubt about which of the two is better."""
        ends = None if self.low is None or self.high is None else sorted((self.sign * self.low, self.sign * self.high))
        if ends is None or ends[0] <= 0 <= ends[1]:
            return "unsure"
        return "better" if ends[0] > 0 else "worse"


@dataclass(frozen=True)
class Row:
    """One figure of one encoder, and of the other where there is one."""

    words: str
    ours: Estimate | None
    theirs: Estimate | None = None
    difference: Difference | None = None
    short: str = ""  # where there is little room


@dataclass(frozen=True)
class LabelRow:
    label: str
    asked: int
    cells: tuple[Row, ...]


def words_of(name: str) -> str:
    for prefix, after in ((PHONE, ", from a phone photo"), (GAP, ", clean minus phone")):
        if name.startswith(prefix):
            return WORDS.get(name.removeprefix(prefix), name) + after
    return WORDS.get(name, name)


def estimate_of(figures: Report, name: str) -> Estimate | None:
    """From a report's figures; None where it is not told."""
    found = figures.get(name)
    if not isinstance(found, Mapping) or _number(found.get("value")) is None:
        return None
    return Estimate(found["value"], _number(found.get("low")), _number(found.get("high")), found.get("queries"))


def difference_of(differences: Report, name: str) -> Difference | None:
    found = estimate_of(differences, name)
    sign = -1 if name in LOWER_IS_BETTER else 1
    return None if found is None else Difference(found.value, found.low, found.high, sign=sign)


def figures_on_card(card: Report) -> dict[str, dict[str, Any]]:
    """The metrics of a card in the form of a report: there an interval is two figures more."""
    metrics = card.get("metrics") or {}
    names = [name for name in metrics if not name.endswith(("_low", "_high"))]
    return {
        name: {"value": metrics[name], "low": metrics.get(f"{name}_low"), "high": metrics.get(f"{name}_high")}
        for name in names
        if words_of(name) != name
    }


def key_figures(kind: str, figures: Report) -> list[Row]:
    rows = (Row(words_of(name), estimate_of(figures, name), short=SHORT[name]) for name in KEY.get(kind, ()))
    return [row for row in rows if row.ours]


def all_figures(figures: Report) -> list[Row]:
    """Every figure but the gaps, in the order of `WORDS`, what was asked with phone photos beside its like."""
    return [Row(words_of(name), estimate_of(figures, name)) for name in _in_order(figures)]


def compared(report: Report) -> list[Row]:
    """Both encoders' figures and what lies between them; none where the report is about one alone."""
    figures, against = report.get("figures") or {}, report.get("against") or {}
    theirs, differences = against.get("figures") or {}, against.get("differences") or {}
    return [
        Row(words_of(name), estimate_of(figures, name), estimate_of(theirs, name), difference_of(differences, name))
        for name in _in_order(figures)
    ]


def label_headings(kind: str) -> list[str]:
    return [words_of(name) for name in BY_LABEL.get(kind, ())]


def by_label(report: Report) -> list[LabelRow]:
    """Each label with its figures; those that lost most against the other encoder come first."""
    names = BY_LABEL.get(str(report.get("kind")), ())
    differences = (report.get("against") or {}).get("labels") or {}
    rows = [
        LabelRow(label, (report.get("asked") or {}).get(label, 0), _cells(figures, differences.get(label) or {}, names))
        for label, figures in (report.get("labels") or {}).items()
    ]
    return sorted(rows, key=_worst)


def gap_rows(figures: Report) -> list[Row]:
    """Clean photo, phone photo, and the gap between, of each figure that was asked both ways.

    The gap has no interval where only a card tells of it, unless the card does.
    """
    rows = []
    for name in WORDS:
        clean, phone = (estimate_of(figures, prefix + name) for prefix in ("", PHONE))
        if clean and phone:
            told = difference_of(figures, GAP + name)
            rows.append(Row(WORDS[name], clean, phone, told or Difference(clean.value - phone.value)))
    return rows


def gap_sentence(kind: str, figures: Report) -> str:
    """What the gap comes to, in one sentence; "" where it was not measured."""
    name = {"metric": "near10", "classifier": "accuracy"}.get(kind, "")
    row = next((row for row in gap_rows(figures) if row.words == WORDS.get(name)), None)
    if row is None or row.difference is None:
        return ""
    what = "the right label among the ten nearest" if kind == "metric" else "labels told right"
    gap, points = row.difference, f"{abs(100 * row.difference.value):.1f} points"
    change = "no other figure" if points == "0.0 points" else f"{points} {'less' if gap.value > 0 else 'more'}"
    surely = ", which may be chance" if gap.interval and gap.verdict == "unsure" else ""
    return f"Asked with a simulated phone photo instead of a clean one: {change} for {what}{surely}."


def gap_by_label(report: Report) -> list[LabelRow]:
    """The gap of each label, widest first."""
    name = {"metric": "near10", "classifier": "recall"}.get(str(report.get("kind")), "")
    asked = report.get("asked") or {}
    rows = [
        LabelRow(label, asked.get(label, 0), tuple(row for row in gap_rows(figures) if row.words == WORDS.get(name)))
        for label, figures in (report.get("labels") or {}).items()
    ]
    return sorted((row for row in rows if row.cells), key=lambda row: -row.cells[0].difference.value)  # type: ignore[union-attr]  # gap_rows sets it


def _cells(figures: Report, differences: Report, names: Iterable[str]) -> tuple[Row, ...]:
    return tuple(
        Row(words_of(name), estimate_of(figures, name), None, difference_of(differences, name)) for name in names
    )


def _worst(row: LabelRow) -> tuple[float, str]:
    return min((cell.difference.value for cell in row.cells if cell.difference), default=0.0), row.label


def _in_order(figures: Report) -> Iterator[str]:
    for name in WORDS:
        yield from (whole for whole in (name, PHONE + name) if estimate_of(figures, whole))


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _signed(value: float) -> str:
    text = f"{100 * value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"
