"""Where an encoder puts photos: its many dimensions laid flat, neighbours beside neighbours."""

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

MOST_POINTS = 2000
"""More take minutes and hide each other; beyond, so many are drawn by lot."""

PCA_DIMENSIONS = 50
FEWEST_POINTS = 5
PERPLEXITY = 30.0
ROUNDS = 600
"""Of t-SNE. The groups stand after half of them; the usual thousand takes a slow machine a minute longer."""

SEED = 0

MOST_TOLD_APART = len(style.COLOURS) * len(style.MARKERS)
MOST_NAMED = 20
"""Labels up to which the names stand in the map too, each at one of its photos in the middle."""

LEGEND_ROWS = 30
NAME_CHARACTERS = 24
OTHER = "other labels"

Points = npt.NDArray[np.float64]


def embedding_map(embeddings: Floats, labels: Sequence[str], path: Path) -> None:
    """Write a map of the rows of `embeddings` (n, d), coloured and marked by their labels.

    PCA, then t-SNE: who is near whom means something, the distance between far groups does not. The same embeddings
    give the same map. Raises `NotFiniteError` or `UnwritableError`.
    """
    if not np.isfinite(embeddings).all():
        raise NotFiniteError("A map needs embeddings of finite numbers.")
    drawn = _drawn(len(embeddings))
    points = flat(embeddings[drawn])
    names = [labels[row] for row in drawn]
    kept = [label for label, _ in Counter(names).most_common(MOST_TOLD_APART)]
    columns = math.ceil(len(kept) / LEGEND_ROWS)
    figure = style.new_figure(8.0 + 2.4 * columns, 8.0)
    axes = figure.subplots()
    _draw(axes, points, names, kept)
    count = f"{len(drawn)} of {len(embeddings)}" if len(drawn) < len(embeddings) else f"{len(drawn)}"
    style.put_title(axes, f"Map of {count} photos: what the encoder finds alike lies together")
    style.save(figure, path)


def flat(rows: Floats) -> Points:
    """Return two coordinates (n, 2) for each row of (n, d); those of PCA alone where there are too few for t-SNE."""
    reduced = _principal(rows, PCA_DIMENSIONS)
    if len(rows) < FEWEST_POINTS:
        return reduced[:, :2]
    from sklearn.manifold import TSNE

    # The start that sklearn's own "pca" makes, but for rows that are all the same, where that divides by zero.
    spread = reduced[:, 0].std()
    start = reduced[:, :2] / spread * 1e-4 if spread > 0 else "random"
    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    method = TSNE(perplexity=perplexity, init=start, max_iter=ROUNDS, random_state=SEED)
    points: Points = method.fit_transform(reduced).astype(np.float64)
    return points


def _drawn(count: int) -> npt.NDArray[np.int64]:
    """Return which rows are drawn, in order."""
    if count <= MOST_POINTS:
        return np.arange(count)
    return np.sort(np.random.default_rng(SEED).choice(count, MOST_POINTS, replace=False))


def _principal(rows: Floats, most: int) -> Points:
    """Return the first coordinates of the centred rows along their main axes: `most` of them, at least two."""
    wide = np.asarray(rows, dtype=np.float64)
    centre = wide.sum(axis=0) / max(len(wide), 1)
    left, lengths, _ = np.linalg.svd(wide - centre, full_matrices=False)
    points: Points = (left * lengths)[:, :most]
    return np.pad(points, ((0, 0), (0, max(0, 2 - points.shape[1]))))


def _draw(axes: Axes, points: Points, names: list[str], kept: list[str]) -> None:
    """Draw the points of each name of `kept`, the most frequent first, and those of all others in grey under them."""
    looks = dict(zip(kept, style.colour_and_marker(len(kept)), strict=True))
    shown = np.array([name if name in looks else OTHER for name in names], dtype=object)
    if OTHER in shown:
        looks = {OTHER: (style.OTHER_COLOUR, ".")} | looks
    size = float(np.clip(20_000 / max(len(points), 1), 12, 60))
    handles = []
    for name, (colour, marker) in looks.items():
        own = points[shown == name]
        axes.scatter(own[:, 0], own[:, 1], s=size, c=colour, marker=marker, alpha=0.75, linewidths=0)
        if len(kept) <= MOST_NAMED and name != OTHER:
            _name(axes, own, name)
        label = f"{style.shortened(name, NAME_CHARACTERS)} ({len(own)})"
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


def _name(axes: Axes, points: Points, name: str) -> None:
    """Write the name above the point nearest to the middle, which may itself be far from every point."""
    middle = np.median(points, axis=0)
    place = points[np.argmin(np.linalg.norm(points - middle, axis=1))]
    text = axes.annotate(
        style.shortened(name, NAME_CHARACTERS),
        place,
        xytext=(0, 6),
        textcoords="offset points",
        size=style.TEXT_SIZE,
        color=style.INK,
        ha="center",
        path_effects=[withStroke(linewidth=3, foreground="white")],
    )
    text.set_in_layout(False)
