"""Style of all pictures: sizes, colours, markers, and saving a figure as a file.

Figures use matplotlib's objects without pyplot and its global state, so that any thread may draw. Sizes
are in inches, text in points.
"""

from itertools import cycle, islice
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text

from ml.formats.atomic_files import atomic_write

DPI = 120
MARGIN = 0.15
TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 13.0, 9.5, 8.0

INK, FAINT_INK, GRID = "#1f2328", "#656d76", "#e6e8eb"
RIGHT, WRONG = "#00795a", "#c8381b"
RIGHT_MARK, WRONG_MARK = "✓", "✗"
"""The colours differ in lightness for colour-blind people, and are always drawn with their marks."""

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#b8860b", "#6a3d9a", "#4d4d4d")
"""The palette of Okabe and Ito, its yellow darkened and its black softened, with one violet."""

OTHER_COLOUR = "#9aa1a9"

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""Seven shapes for eight colours: as the numbers have no common divisor, 56 pairs differ."""


def colours_and_markers(count: int) -> list[tuple[str, str]]:
    """Return `count` pairs; neighbours differ in both, and no two of the first 56 are the same."""
    return list(islice(zip(cycle(COLOURS), cycle(MARKERS), strict=False), count))


def new_figure(width: float, height: float) -> Figure:
    """Return an empty white figure, in inches, for saving only."""
    layout = ConstrainedLayoutEngine(w_pad=MARGIN, h_pad=MARGIN)
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    return figure


def new_page(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure and axes over all of it, in inches from the upper left corner."""
    figure = new_figure(width, height)
    figure.set_layout_engine("none")
    page = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    page.set_axis_off()
    return figure, page


def put_title(axes: Axes, title: str) -> None:
    """Write the title above the left edge."""
    axes.set_title(title, loc="left", fontsize=TITLE_SIZE, color=INK, pad=10)


def style_axes(axes: Axes) -> None:
    """Reduce the frame to two faint lines, small numbers and a grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GRID)
    axes.tick_params(labelsize=TEXT_SIZE, labelcolor=FAINT_INK, color=GRID)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def truncate(text: str, characters: int) -> str:
    """Return `text` on one line, cut with an ellipsis where it is longer than `characters`."""
    line = " ".join(text.split())
    return line if len(line) <= characters else line[: characters - 1].rstrip() + "…"


def save_figure(figure: Figure, path: Path) -> None:
    """Write the figure as PNG, with the same bytes for the same picture. Raises `UnwritableError`."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # a label such as "$5-$10" is not a formula
    with atomic_write(path) as file:
        figure.savefig(file, format="png", metadata={"Software": None})
