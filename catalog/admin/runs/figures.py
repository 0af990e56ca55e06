"""The numbers of a training run: its curves, its best epoch, its tables."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.safestring import SafeString

from catalog.admin.base import table
from catalog.admin.charts import Chart, Line, points_of
from catalog.models import RunKind, TrainingRun

Row = Mapping[str, Any]

LATEST = 20  # rows of the table within the epochs
NAMES = {
    "epoch": "Epoch",
    "train_loss": "Loss in training",
    "val_loss": "Loss on held-out photos",
    "label_loss": "Loss of labels",
    "identity_loss": "Loss of items",
    "train_accuracy": "Accuracy in training",
    "val_accuracy": "Accuracy on held-out photos",
    "phone_accuracy": "Accuracy on phone photos",
    "mined_triplets": "Mined triplets",
    "active_triplets": "Active triplets",
    "spread": "Spread",
    "recall_at_1": "Recall@1",
    "recall_at_5": "Recall@5",
    "recall_at_10": "Recall@10",
    "near10": "Share of the nearest 10",
    "map_at_r": "MAP@R",
    "garment_at_1": "The garment first",
    "garment_at_5": "The garment among 5",
    "lr": "Learning rate",
    "photos_per_second": "Photos a second",
    "seconds": "Seconds",
}
SHARES = {"train_accuracy", "val_accuracy", "phone_accuracy", "recall_at_1", "recall_at_5", "recall_at_10"}
SHARES |= {"near10", "map_at_r", "garment_at_1", "garment_at_5"}
# What the best epoch is chosen by, as the training itself does (docs/training.md).
JUDGED_BY = {RunKind.METRIC: ("map_at_r", "garment_at_1"), RunKind.CLASSIFIER: ("val_accuracy", "phone_accuracy")}
SHORT = {"map_at_r": "MAP@R", "garment_at_1": "garment", "val_accuracy": "held-out", "phone_accuracy": "phone"}


def share(value: float) -> str:
    return f"{100 * value:.3g} %"


def count(value: float) -> str:
    """A large number in few letters."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def run_charts(run: TrainingRun) -> list[Chart]:
    """The curves: what was measured after each epoch, and what grows within it."""
    epochs, steps = run.metrics, run.progress.get("trace") or []
    loss = Chart(
        "loss",
        "Loss",
        (
            Line("each step", points_of(steps, "at", "loss"), fine=True),
            Line("training", points_of(epochs, "epoch", "train_loss")),
            Line("held-out photos", points_of(epochs, "epoch", "val_loss")),
        ),
    )
    if run.kind == RunKind.CLASSIFIER:
        figures = _by_epoch(
            *("accuracy", "Accuracy", epochs),
            {"train_accuracy": "training", "val_accuracy": "held-out photos", "phone_accuracy": "phone photos of them"},
        )
        return [loss, figures]
    figures = _by_epoch(
        *("retrieval", "Found among held-out photos", epochs),
        {"recall_at_1": "Recall@1", "map_at_r": "MAP@R", "garment_at_1": "the garment first"},
    )
    triplets = Chart(
        "triplets",
        "Triplets, growing within each epoch",
        (
            Line("mined", points_of(steps, "at", "mined_triplets"), fine=True),
            Line("active", points_of(steps, "at", "active_triplets"), fine=True),
        ),
        count,
        from_zero=True,
    )
    by_epoch = Chart(
        "triplets-by-epoch",
        "Triplets, by epoch",
        (
            Line("mined", points_of(epochs, "epoch", "mined_triplets")),
            Line("active", points_of(epochs, "epoch", "active_triplets")),
        ),
        count,
        from_zero=True,
    )
    return [loss, figures, triplets, by_epoch]


def best_figures(run: TrainingRun) -> list[tuple[str, str]]:
    """Of the best epoch so far; nothing before the first has ended."""
    best = best_row(run)
    if best is None:
        return []
    judged = [(NAMES[name], share(best[name])) for name in JUDGED_BY[RunKind(run.kind)] if name in best]
    return [("Best epoch", str(best.get("epoch", ""))), *judged]


def best_words(run: TrainingRun) -> str:
    """The same in a few letters, for the list."""
    best = best_row(run)
    if best is None:
        return ""
    return ", ".join(f"{SHORT[name]} {share(best[name])}" for name in JUDGED_BY[RunKind(run.kind)] if name in best)


def best_row(run: TrainingRun) -> Row | None:
    judged = JUDGED_BY[RunKind(run.kind)]
    rows = [row for row in run.metrics if any(isinstance(row.get(name), int | float) for name in judged)]
    return max(rows, key=lambda row: sum(row.get(name) or 0 for name in judged), default=None)


def epochs_table(run: TrainingRun) -> SafeString | str:
    """Every number of every epoch, newest first."""
    return _table(NAMES, reversed(run.metrics)) if run.metrics else ""


def trace_table(run: TrainingRun) -> SafeString | str:
    """The latest steps within the epochs, newest first."""
    steps = (run.progress.get("trace") or [])[-LATEST:]
    names = {"at": "Epochs", "loss": "Loss", "mined_triplets": "Mined triplets", "active_triplets": "Active triplets"}
    return _table(names, reversed(steps)) if steps else ""


def _by_epoch(key: str, title: str, rows: Iterable[Row], names: Mapping[str, str]) -> Chart:
    lines = [Line(words, points_of(rows, "epoch", name)) for name, words in names.items()]
    return Chart(key, title, lines, share)


def _table(names: Mapping[str, str], rows: Iterable[Row]) -> SafeString:
    listed = list(rows)
    present = [name for name in names if any(name in row for row in listed)]
    return table(
        [names[name] for name in present], ([_cell(name, row.get(name)) for name in present] for row in listed)
    )


def _cell(name: str, value: Any) -> str:
    if not isinstance(value, int | float):
        return ""
    if name in SHARES:
        return share(value)
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
