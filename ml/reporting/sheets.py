"""Sheets of photos with an encoder's results: predictions, search results, and the confusion matrix."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageOps

from ml.reporting import style

Ints = npt.NDArray[np.int64]

TILE = 1.45
"""Side of the square that a photo is fitted into, in inches, like all lengths here."""

GAP = 0.2
LINE_HEIGHT = 0.16
CHARACTERS = 22
"""Characters of a caption that fit under a tile."""

FRAME_WIDTH = 3.0
BADGE_SIDE = 0.27

Verdict = bool | None
"""Right, wrong, or None for a photo without a verdict."""

MARGIN = 0.35
TITLE_HEIGHT = 0.6
MIN_WIDTH = 5.0
"""Leaves room for the title above one or two photos."""

MAX_COLUMNS = 8
ARROW_WIDTH = 0.3
"""Between a query and its results."""

NAME_CHARACTERS = 24
NAMES_SIDE, MIN_MATRIX = 2.4, 3.0
FEW_LABELS = 20
CELL_OF_FEW, CELL_OF_MANY = 0.68, 0.44
CELL_TEXT = 15.0
"""Points of text per inch of a cell: "1234" and "100%" fit into the smallest."""

CHARACTERS_PER_INCH = 12
DARK_SHARE = 0.3
"""A cell with more than this share of its row is so dark that its text is white."""


@dataclass(frozen=True)
class Strip:
    """A query and its results, nearest first. `scores`: cosines; `right`: whether each result counts as right."""

    query: Image.Image
    query_label: str
    results: Sequence[Image.Image]
    labels: Sequence[str]
    scores: Sequence[float]
    right: Sequence[bool]


def draw_predictions_sheet(
    pictures: Sequence[Image.Image],
    truths: Sequence[str],
    predictions: Sequence[str],
    scores: Sequence[float],
    path: Path,
) -> None:
    """Write the photos as a grid, each with the predicted label, its score (0..1) and, if wrong, the true label.

    Raises `UnwritableError`.
    """
    columns = max(1, min(MAX_COLUMNS, math.ceil(math.sqrt(1.6 * len(pictures)))))
    tile_height = TILE + 2 * LINE_HEIGHT + GAP
    figure, page = _new_page(columns, math.ceil(len(pictures) / columns) * tile_height)
    right = [truth == prediction for truth, prediction in zip(truths, predictions, strict=True)]
    _write_title(page, f"Predictions: {sum(right)} of {len(right)} right")
    tiles = zip(pictures, truths, predictions, scores, right, strict=True)
    for place, (picture, truth, prediction, score, is_right) in enumerate(tiles):
        row, column = divmod(place, columns)
        share = f" {score:.0%}"
        captions = [style.truncate(prediction, CHARACTERS - len(share)) + share]
        captions += [] if is_right else [f"truth: {truth}"]
        _draw_tile(page, MARGIN + column * (TILE + GAP), TITLE_HEIGHT + row * tile_height, picture, is_right, captions)
    style.save_figure(figure, path)


def draw_result_strips(strips: Sequence[Strip], title: str, path: Path) -> None:
    """Write one row per strip: the query, then its results with cosine and label. Raises `UnwritableError`."""
    columns = 1 + max((len(strip.results) for strip in strips), default=0)
    strip_height = TILE + 2 * LINE_HEIGHT + GAP
    figure, page = _new_page(columns, len(strips) * strip_height, extra=ARROW_WIDTH)
    _write_title(page, title)
    for row, strip in enumerate(strips):
        _draw_strip(page, TITLE_HEIGHT + row * strip_height, strip)
    style.save_figure(figure, path)


def _draw_strip(page: Axes, top: float, strip: Strip) -> None:
    _draw_tile(page, MARGIN, top, strip.query, None, ["query", strip.query_label])
    first = MARGIN + TILE + GAP + ARROW_WIDTH
    page.text(
        first - (GAP + ARROW_WIDTH) / 2, top + TILE / 2, "→", size=18, color=style.FAINT_INK, ha="center", va="center"
    )
    results = zip(strip.results, strip.labels, strip.scores, strip.right, strict=True)
    for rank, (picture, label, score, right) in enumerate(results):
        _draw_tile(page, first + rank * (TILE + GAP), top, picture, right, [f"{rank + 1}. cos {score:.2f}", label])


def draw_confusion_matrix(truths: Ints, predictions: Ints, labels: Sequence[str], path: Path) -> None:
    """Write the confusion matrix: how often each true label (row) was predicted as each label (column).

    A cell shows the count and the share of its row, its shade the share; it is empty where the count is 0.
    Raises `UnwritableError`.
    """
    counts = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(counts, (truths, predictions), 1)
    totals, right = counts.sum(axis=1), int(np.trace(counts))
    shares = counts / np.maximum(totals, 1)[:, None]
    cell = max(MIN_MATRIX / len(labels), CELL_OF_FEW if len(labels) <= FEW_LABELS else CELL_OF_MANY)
    side = NAMES_SIDE + cell * len(labels)
    figure = style.new_figure(side, side)
    axes = figure.subplots()
    _fill_cells(axes, counts, shares, min(style.TITLE_SIZE, CELL_TEXT * cell))
    names = [style.truncate(label, NAME_CHARACTERS) for label in labels]
    _label_axes(axes, [f"{name}  ({total})" for name, total in zip(names, totals, strict=True)], names, cell)
    style.put_title(axes, f"Confusion: {right} of {len(truths)} right ({right / max(1, len(truths)):.1%})")
    style.save_figure(figure, path)


def _fill_cells(axes: Axes, counts: Ints, shares: npt.NDArray[np.float64], size: float) -> None:
    # The square root makes confusions of a few per cent visible, which would be white on a linear scale.
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
    for truth, prediction in np.argwhere(counts):
        share = shares[truth, prediction]
        ink = "white" if share > DARK_SHARE else style.INK
        text = f"{counts[truth, prediction]}\n{share:.0%}"
        axes.text(prediction, truth, text, size=size, color=ink, ha="center", va="center")


def _label_axes(axes: Axes, rows: list[str], columns: list[str], cell: float) -> None:
    slanted = max(map(len, columns)) > CHARACTERS_PER_INCH * cell
    axes.set_xticks(range(len(columns)), columns, size=style.TEXT_SIZE)
    if slanted:
        for text in axes.get_xticklabels():
            text.set(rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows, size=style.TEXT_SIZE)
    axes.set_xlabel("predicted label", size=style.TEXT_SIZE, color=style.FAINT_INK)
    axes.set_ylabel("true label (photos)", size=style.TEXT_SIZE, color=style.FAINT_INK)
    edges = np.arange(len(rows) + 1) - 0.5
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.tick_params(which="both", length=0)
    axes.grid(which="minor", color=style.GRID, linewidth=0.8)
    axes.spines[:].set_color(style.GRID)


def _new_page(columns: int, height: float, extra: float = 0.0) -> tuple[Figure, Axes]:
    """Return a page for `columns` tiles, `extra` width, and a title above `height`."""
    width = 2 * MARGIN - GAP + columns * (TILE + GAP) + extra
    return style.new_page(max(MIN_WIDTH, width), TITLE_HEIGHT + height + 0.1)


def _write_title(page: Axes, title: str) -> None:
    page.text(MARGIN, TITLE_HEIGHT - 0.25, title, size=style.TITLE_SIZE, color=style.INK)


def _draw_tile(page: Axes, left: float, top: float, picture: Image.Image, right: Verdict, captions: list[str]) -> None:
    """Draw the whole `picture` with its upper left corner at (left, top), a frame for the verdict, and captions."""
    side = round(TILE * style.DPI)
    square = ImageOps.pad(picture.convert("RGB"), (side, side), color="white")
    page.imshow(np.asarray(square), extent=(left, left + TILE, top + TILE, top), aspect="auto")
    _draw_frame(page, left, top, right)
    for line, caption in enumerate(captions):
        text = style.truncate(caption, CHARACTERS)
        colour = style.FAINT_INK if line else style.INK
        page.text(left, top + TILE + 0.18 + line * LINE_HEIGHT, text, size=style.SMALL_SIZE, color=colour)


def _draw_frame(page: Axes, left: float, top: float, right: Verdict) -> None:
    if right is None:
        page.add_patch(Rectangle((left, top), TILE, TILE, fill=False, edgecolor=style.FAINT_INK, linewidth=1))
        return
    colour, mark = (style.RIGHT, style.RIGHT_MARK) if right else (style.WRONG, style.WRONG_MARK)
    page.add_patch(Rectangle((left, top), TILE, TILE, fill=False, edgecolor=colour, linewidth=FRAME_WIDTH))
    page.add_patch(Rectangle((left, top), BADGE_SIDE, BADGE_SIDE, facecolor=colour))
    centre = (left + BADGE_SIDE / 2, top + BADGE_SIDE / 2)
    page.text(*centre, mark, size=style.TITLE_SIZE, color="white", weight="bold", ha="center", va="center_baseline")
