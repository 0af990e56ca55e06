"""Embedding map: photos in two dimensions by PCA and t-SNE, coloured by label."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from ml.reporting import style
from ml.vectors import Floats, NotFiniteError

MAX_POINTS = 2000
"""Of more photos a random sample of this size is drawn: t-SNE would take minutes and points would overlap."""

PCA_DIMENSIONS = 50
MIN_TSNE_POINTS = 5
PERPLEXITY = 30.0
ITERATIONS = 600
"""Of t-SNE. The clusters are stable after half of them; the usual thousand takes a slow machine a minute longer."""

SEED = 0

MAX_STYLES = len(style.COLOURS) * len(style.MARKERS)
MAX_NAMED_LABELS = 20
"""Up to this many labels, each name is also written in the map, at the photo nearest to the label's median."""

LEGEND_ROWS = 30
NAME_CHARACTERS = 24
OTHER = "other labels"

Points = npt.NDArray[np.float64]


def draw_embedding_map(embeddings: Floats, labels: Sequence[str], path: Path) -> None:
    """Write a map of the rows of `embeddings` (n, d), coloured and marked by their labels.

    PCA, then t-SNE: neighbourhoods are meaningful, distances between far clusters are not. Deterministic.
    Raises `NotFiniteError` or `UnwritableError`.
    """
    if not np.isfinite(embeddings).all():
        raise NotFiniteError("The embeddings of a map must be finite numbers.")
    rows = _sample_rows(len(embeddings))
    points = project_to_plane(embeddings[rows])
    names = [labels[row] for row in rows]
    styled = [label for label, _ in Counter(names).most_common(MAX_STYLES)]
    columns = math.ceil(len(styled) / LEGEND_ROWS)
    figure = style.new_figure(8.0 + 2.4 * columns, 8.0)
    axes = figure.subplots()
    _draw(axes, points, names, styled)
    count = f"{len(rows)} of {len(embeddings)}" if len(rows) < len(embeddings) else f"{len(rows)}"
    style.put_title(axes, f"Map of {count} photos: what the encoder finds alike lies together")
    style.save_figure(figure, path)


def project_to_plane(rows: Floats) -> Points:
    """Return two coordinates (n, 2) for each row of (n, d): t-SNE, or PCA alone where there are too few rows."""
    reduced = _principal_components(rows, PCA_DIMENSIONS)
    if len(rows) < MIN_TSNE_POINTS:
        return reduced[:, :2]
    from sklearn.manifold import TSNE

    # Like sklearn's init="pca", which divides by zero where all rows are equal.
    spread = reduced[:, 0].std()
    start = reduced[:, :2] / spread * 1e-4 if spread > 0 else "random"
    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    method = TSNE(perplexity=perplexity, init=start, max_iter=ITERATIONS, random_state=SEED)
    points: Points = method.fit_transform(reduced).astype(np.float64)
    return points


def _sample_rows(count: int) -> npt.NDArray[np.int64]:
    """Return the sorted numbers of the rows to draw."""
    if count <= MAX_POINTS:
        return np.arange(count)
    return np.sort(np.random.default_rng(SEED).choice(count, MAX_POINTS, replace=False))


def _principal_components(rows: Floats, count: int) -> Points:
    """Return the first `count` principal components of the rows, padded to at least two."""
    centred = np.asarray(rows, dtype=np.float64)
    centre = centred.sum(axis=0) / max(len(centred), 1)
    left, lengths, _ = np.linalg.svd(centred - centre, full_matrices=False)
    points: Points = (left * lengths)[:, :count]
    return np.pad(points, ((0, 0), (0, max(0, 2 - points.shape[1]))))


def _draw(axes: Axes, points: Points, names: list[str], styled: list[str]) -> None:
    """Draw the points of each name in `styled`, and under them those of all other names in grey."""
    styles = dict(zip(styled, style.colours_and_markers(len(styled)), strict=True))
    shown = np.array([name if name in styles else OTHER for name in names], dtype=object)
    if OTHER in shown:
        styles = {OTHER: (style.OTHER_COLOUR, ".")} | styles
    size = float(np.clip(20_000 / max(len(points), 1), 12, 60))
    handles = []
    for name, (colour, marker) in styles.items():
        named = points[shown == name]
        axes.scatter(named[:, 0], named[:, 1], s=size, c=colour, marker=marker, alpha=0.75, linewidths=0)
        if len(styled) <= MAX_NAMED_LABELS and name != OTHER:
            _write_name(axes, named, name)
        label = f"{style.truncate(name, NAME_CHARACTERS)} ({len(named)})"
        handles.append(Line2D([], [], linestyle="", marker=marker, color=colour, label=label))
    axes.margins(0.08)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color(style.GRID)
    axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(1, 1),
        ncols=math.ceil(len(handles) / LEGEND_ROWS),
        frameon=False,
        fontsize=style.TEXT_SIZE,
    )


def _write_name(axes: Axes, points: Points, name: str) -> None:
    """Write the name above the point nearest to the median, which may itself be far from every point."""
    middle = np.median(points, axis=0)
    place = points[np.argmin(np.linalg.norm(points - middle, axis=1))]
    text = axes.annotate(
        style.truncate(name, NAME_CHARACTERS),
        place,
        xytext=(0, 6),
        textcoords="offset points",
        size=style.TEXT_SIZE,
        color=style.INK,
        ha="center",
        path_effects=[withStroke(linewidth=3, foreground="white")],
    )
    text.set_in_layout(False)
