"""Learning curves: metrics of a run over the epochs, one picture per topic, from the columns that exist."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter

from ml.reporting.run_folder import Row
from ml.reporting.style import FAINT_INK, TEXT_SIZE, colours_and_markers, new_figure, put_title, save_figure, style_axes

PANEL_WIDTH, PANEL_HEIGHT, LEGEND_LINE = 6.6, 3.9, 0.2
MAX_MARKED_EPOCHS = 30
"""With more epochs the markers of a line touch, so only a few of them are drawn."""

LOG_RATIO = 30.0
"""A loss that fell by more than this factor has a logarithmic scale; on a linear one its later course would be flat."""

Points = list[tuple[int, float]]


@dataclass(frozen=True)
class Curve:
    """A column of `metrics.jsonl`, its name in the legend, and which of its values is the best, if any."""

    column: str
    name: str
    best: Literal["lowest", "highest", "none"] = "none"


@dataclass(frozen=True)
class Panel:
    """Curves that share axes. `unit`: a "share" is drawn from 0 to 100 %, a "count" from 0, a "loss" over its range."""

    title: str
    unit: Literal["loss", "share", "count"]
    curves: tuple[Curve, ...]


PICTURES = {
    "loss.png": (Panel("Loss", "loss", (Curve("train_loss", "training"), Curve("val_loss", "validation", "lowest"))),),
    "accuracy.png": (
        Panel(
            "Accuracy", "share", (Curve("train_accuracy", "training"), Curve("val_accuracy", "validation", "highest"))
        ),
    ),
    "mined.png": (
        Panel(
            "Triplets per epoch",
            "count",
            (Curve("mined_triplets", "mined"), Curve("active_triplets", "active: the loss is not zero")),
        ),
    ),
    "spread.png": (Panel("Spread of the embedding (near 0: collapsed)", "count", (Curve("spread", "spread"),)),),
    "retrieval.png": (
        Panel(
            "Found: the right label",
            "share",
            (
                Curve("recall_at_1", "Recall@1", "highest"),
                Curve("recall_at_5", "Recall@5", "highest"),
                Curve("recall_at_10", "Recall@10", "highest"),
                Curve("near10", "share of the nearest 10", "highest"),
                Curve("map_at_r", "MAP@R", "highest"),
            ),
        ),
        Panel(
            "Found: the same garment, from a phone photo",
            "share",
            (Curve("garment_at_1", "first", "highest"), Curve("garment_at_5", "among the first 5", "highest")),
        ),
    ),
}


def draw_curves(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write the pictures for which `rows` (one per epoch, with a column `epoch`) hold a finite value; return them.

    A line connects the epochs before and after a missing or NaN value: not every epoch is evaluated.
    Raises `UnwritableError`.
    """
    written = []
    for name, panels in PICTURES.items():
        drawable = [(panel, lines) for panel in panels if (lines := _curve_points(panel, rows))]
        if drawable:
            legend = LEGEND_LINE * max(len(lines) for _, lines in drawable)
            figure = new_figure(PANEL_WIDTH * len(drawable), PANEL_HEIGHT + legend)
            for axes, (panel, lines) in zip(figure.subplots(1, len(drawable), squeeze=False)[0], drawable, strict=True):
                _draw(axes, panel, lines)
            save_figure(figure, folder / name)
            written.append(folder / name)
    return written


def _curve_points(panel: Panel, rows: Sequence[Row]) -> dict[Curve, Points]:
    lines = {curve: _points(curve.column, rows) for curve in panel.curves}
    return {curve: points for curve, points in lines.items() if points}


def _points(column: str, rows: Sequence[Row]) -> Points:
    values = [(int(row["epoch"]), float(row.get(column, math.nan))) for row in rows]
    return [(epoch, value) for epoch, value in values if math.isfinite(value)]


def _draw(axes: Axes, panel: Panel, lines: dict[Curve, Points]) -> None:
    style_axes(axes)
    put_title(axes, panel.title)
    styles = dict(zip(panel.curves, colours_and_markers(len(panel.curves)), strict=True))
    for curve, points in lines.items():
        colour, marker = styles[curve]
        axes.plot(
            [epoch for epoch, _ in points],
            [value for _, value in points],
            color=colour,
            marker=marker,
            markevery=max(1, len(points) // 10) if len(points) > MAX_MARKED_EPOCHS else 1,
            clip_on=False,
            zorder=3,
            label=_label(curve, points, panel),
        )
    _set_scale(axes, panel, [value for points in lines.values() for _, value in points])
    epochs = [epoch for points in lines.values() for epoch, _ in points]
    axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
    axes.set_xlabel("epoch", fontsize=TEXT_SIZE, color=FAINT_INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    axes.legend(frameon=False, fontsize=TEXT_SIZE, loc="upper left", bbox_to_anchor=(0, -0.15))


def _label(curve: Curve, points: Points, panel: Panel) -> str:
    """Return the name with the best value and its epoch, or with the last value if no value is best."""
    if curve.best == "none":
        return f"{curve.name}, last {_format_value(points[-1][1], panel)}"
    pick = min if curve.best == "lowest" else max
    epoch, value = pick(points, key=lambda point: point[1])
    return f"{curve.name}, best {_format_value(value, panel)} (epoch {epoch})"


def _format_value(value: float, panel: Panel) -> str:
    return f"{value:.1%}" if panel.unit == "share" else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _set_scale(axes: Axes, panel: Panel, values: list[float]) -> None:
    if panel.unit == "share":
        axes.set_ylim(-0.02, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    elif panel.unit == "count":
        axes.set_ylim(0, 1.08 * max(values) or 1)
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
    elif min(values) > 0 and max(values) > LOG_RATIO * min(values):
        axes.set_yscale("log")
