"""Metrics of a training run: learning curves, best epoch, tables of epochs and steps."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.safestring import SafeString

from catalog.admin.base import html_table
from catalog.admin.charts import Chart, Curve, read_points
from catalog.models import RunKind, TrainingRun

Row = Mapping[str, Any]

LATEST_STEPS = 20  # rows in the table of steps
NAMES = {
    "epoch": "Epoch",
    "train_loss": "Training loss",
    "val_loss": "Validation loss",
    "label_loss": "Label loss",
    "identity_loss": "Item loss",
    "train_accuracy": "Training accuracy",
    "val_accuracy": "Validation accuracy",
    "phone_accuracy": "Accuracy on phone photos",
    "mined_triplets": "Mined triplets",
    "active_triplets": "Active triplets",
    "spread": "Spread",
    "recall_at_1": "Recall@1",
    "recall_at_5": "Recall@5",
    "recall_at_10": "Recall@10",
    "near10": "Right label among the nearest 10",
    "map_at_r": "MAP@R",
    "garment_at_1": "Same garment first",
    "garment_at_5": "Same garment in the first 5",
    "lr": "Learning rate",
    "photos_per_second": "Photos per second",
    "seconds": "Seconds",
}
PERCENT_METRICS = {"train_accuracy", "val_accuracy", "phone_accuracy", "recall_at_1", "recall_at_5", "recall_at_10"}
PERCENT_METRICS |= {"near10", "map_at_r", "garment_at_1", "garment_at_5"}
# The metrics whose sum selects the best epoch, as in the training itself (docs/training.md).
SELECTION_METRICS = {
    RunKind.METRIC: ("map_at_r", "garment_at_1"),
    RunKind.CLASSIFIER: ("val_accuracy", "phone_accuracy"),
}
SHORT_NAMES = {"map_at_r": "MAP@R", "garment_at_1": "garment", "val_accuracy": "validation", "phone_accuracy": "phone"}


def format_percent(value: float) -> str:
    """Format a share as a percentage with three digits: 0.8765 -> 87.6 %."""
    return f"{100 * value:.3g} %"


def format_count(value: float) -> str:
    """Abbreviate large numbers: 1200 -> 1.2k."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def run_charts(run: TrainingRun) -> list[Chart]:
    """The learning curves: values after each epoch, and the trace of steps within the epochs."""
    epochs, steps = run.metrics, run.progress.get("trace") or []
    loss = Chart(
        "loss",
        "Loss",
        (
            Curve("per step", read_points(steps, "at", "loss"), is_fine=True),
            Curve("training", read_points(epochs, "epoch", "train_loss")),
            Curve("validation", read_points(epochs, "epoch", "val_loss")),
        ),
    )
    if run.kind == RunKind.CLASSIFIER:
        accuracy = _epoch_chart(
            *("accuracy", "Accuracy", epochs),
            {"train_accuracy": "training", "val_accuracy": "validation", "phone_accuracy": "phone photos"},
        )
        return [loss, accuracy]
    retrieval = _epoch_chart(
        *("retrieval", "Retrieval on validation photos", epochs),
        {"recall_at_1": "Recall@1", "map_at_r": "MAP@R", "garment_at_1": "same garment first"},
    )
    triplets = Chart(
        "triplets",
        "Triplets within each epoch",
        (
            Curve("mined", read_points(steps, "at", "mined_triplets"), is_fine=True),
            Curve("active", read_points(steps, "at", "active_triplets"), is_fine=True),
        ),
        format_count,
        starts_at_zero=True,
    )
    triplets_per_epoch = Chart(
        "triplets-by-epoch",
        "Triplets per epoch",
        (
            Curve("mined", read_points(epochs, "epoch", "mined_triplets")),
            Curve("active", read_points(epochs, "epoch", "active_triplets")),
        ),
        format_count,
        starts_at_zero=True,
    )
    return [loss, retrieval, triplets, triplets_per_epoch]


def best_metrics(run: TrainingRun) -> list[tuple[str, str]]:
    """The best epoch so far as (name, value); empty before the first epoch has ended."""
    best = best_row(run)
    if best is None:
        return []
    metrics = [
        (NAMES[name], format_percent(best[name])) for name in SELECTION_METRICS[RunKind(run.kind)] if name in best
    ]
    return [("Best epoch", str(best.get("epoch", ""))), *metrics]


def best_summary(run: TrainingRun) -> str:
    """The metrics of the best epoch in a short text, for the list of runs."""
    best = best_row(run)
    if best is None:
        return ""
    return ", ".join(
        f"{SHORT_NAMES[name]} {format_percent(best[name])}"
        for name in SELECTION_METRICS[RunKind(run.kind)]
        if name in best
    )


def best_row(run: TrainingRun) -> Row | None:
    """The row of the epoch with the largest sum of selection metrics; None before the first evaluation."""
    names = SELECTION_METRICS[RunKind(run.kind)]
    rows = [row for row in run.metrics if any(isinstance(row.get(name), int | float) for name in names)]
    return max(rows, key=lambda row: sum(row.get(name) or 0 for name in names), default=None)


def epochs_table(run: TrainingRun) -> SafeString | str:
    """All metrics of all epochs, newest first; "" if there are none."""
    return _metrics_table(NAMES, reversed(run.metrics)) if run.metrics else ""


def trace_table(run: TrainingRun) -> SafeString | str:
    """The latest steps, newest first; "" if there are none."""
    steps = (run.progress.get("trace") or [])[-LATEST_STEPS:]
    names = {"at": "Epoch", "loss": "Loss", "mined_triplets": "Mined triplets", "active_triplets": "Active triplets"}
    return _metrics_table(names, reversed(steps)) if steps else ""


def _epoch_chart(key: str, title: str, rows: Iterable[Row], names: Mapping[str, str]) -> Chart:
    curves = [Curve(label, read_points(rows, "epoch", name)) for name, label in names.items()]
    return Chart(key, title, curves, format_percent)


def _metrics_table(names: Mapping[str, str], rows: Iterable[Row]) -> SafeString:
    all_rows = list(rows)
    present = [name for name in names if any(name in row for row in all_rows)]
    return html_table(
        [names[name] for name in present], ([_cell(name, row.get(name)) for name in present] for row in all_rows)
    )


def _cell(name: str, value: Any) -> str:
    if not isinstance(value, int | float):
        return ""
    if name in PERCENT_METRICS:
        return format_percent(value)
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
