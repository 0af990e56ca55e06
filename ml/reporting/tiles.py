"""One photo on a page, in a frame that says whether it is right, with a mark for those who do not tell the colours."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from PIL import Image, ImageOps

from ml.reporting import style

TILE = 1.45
"""Side of the square that a photo is fitted into, in inches, as all lengths here."""

GAP = 0.2
LINE = 0.16
CHARACTERS = 22
"""How many characters of a caption fit under a tile."""

FRAME = 3.0
BADGE = 0.27

Judged = bool | None
"""Right, wrong, or, as None, a photo that is not judged."""


def draw_tile(page: Axes, left: float, top: float, picture: Image.Image, right: Judged, captions: list[str]) -> None:
    """Draw `picture`, whole and with its upper left corner at that place, and its captions under it."""
    side = round(TILE * style.DPI)
    square = ImageOps.pad(picture.convert("RGB"), (side, side), color="white")
    page.imshow(np.asarray(square), extent=(left, left + TILE, top + TILE, top), aspect="auto")
    _frame(page, left, top, right)
    for line, caption in enumerate(captions):
        text = style.shortened(caption, CHARACTERS)
        colour = style.FAINT_INK if line else style.INK
        page.text(left, top + TILE + 0.18 + line * LINE, text, size=style.SMALL_SIZE, color=colour)


def _frame(page: Axes, left: float, top: float, right: Judged) -> None:
    if right is None:
        page.add_patch(Rectangle((left, top), TILE, TILE, fill=False, edgecolor=style.FAINT_INK, linewidth=1))
        return
    colour, mark = (style.RIGHT, style.RIGHT_MARK) if right else (style.WRONG, style.WRONG_MARK)
    page.add_patch(Rectangle((left, top), TILE, TILE, fill=False, edgecolor=colour, linewidth=FRAME))
    page.add_patch(Rectangle((left, top), BADGE, BADGE, facecolor=colour))
    centre = (left + BADGE / 2, top + BADGE / 2)
    page.text(*centre, mark, size=style.TITLE_SIZE, color="white", weight="bold", ha="center", va="center_baseline")
