"""A data set of drawn garments with three easily distinguished labels, to train a tiny encoder on."""

import random
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageColor, ImageDraw

from ml.data.manifest import Photo, write_manifest

LABELS = ("Dress", "Top", "Trousers")
SIZE = (64, 80)

PHOTOS_OF_LABEL = {"train": 12, "val": 4, "test": 2}
CONTRIBUTORS = {"train": ("ann", "ben", "cleo"), "val": ("dora", "emil"), "test": ("finn", "gina")}


@dataclass(frozen=True)
class Garment:
    """A garment to draw: one of `LABELS`, and a seed for its colours, position and pattern."""

    label: str
    seed: int


def draw_garment(garment: Garment) -> Image.Image:
    """Return the photo of a garment, 64 x 80 pixels; deterministic."""
    rng = random.Random(f"{garment.label} {garment.seed}")  # noqa: S311 - draws pictures
    picture, cloth, worn = (
        Image.new("RGB", SIZE, _pale(rng)),
        Image.new("RGB", SIZE, _strong(rng)),
        Image.new("L", SIZE),
    )
    x, y = rng.randrange(-4, 5), rng.randrange(-4, 5)
    for outline in OUTLINES[garment.label]:
        ImageDraw.Draw(worn).polygon([(x + 64 * across, y + 80 * down) for across, down in outline], fill=255)
    pen, slant, gap = ImageDraw.Draw(cloth), rng.randrange(-60, 61), rng.randrange(8, 24)
    for start in range(-80, 160, gap):
        pen.line((start, 0, start + slant, 80), fill=_strong(rng), width=gap // 3)
    picture.paste(cloth, mask=worn)
    return picture


def _pale(rng: random.Random) -> tuple[int, int, int]:
    return ImageColor.getrgb(f"hsv({rng.randrange(360)}, 30%, 95%)")


def _strong(rng: random.Random) -> tuple[int, int, int]:
    return ImageColor.getrgb(f"hsv({rng.randrange(360)}, {rng.randrange(60, 101)}%, {rng.randrange(20, 90)}%)")


OUTLINES: dict[str, list[list[tuple[float, float]]]] = {
    "Dress": [[(0.4, 0.15), (0.6, 0.15), (0.85, 0.85), (0.15, 0.85)]],
    "Top": [[(0.1, 0.2), (0.9, 0.2), (0.9, 0.35), (0.7, 0.35), (0.7, 0.65), (0.3, 0.65), (0.3, 0.35), (0.1, 0.35)]],
    "Trousers": [
        [(0.3, 0.15), (0.7, 0.15), (0.7, 0.3), (0.3, 0.3)],
        [(0.3, 0.25), (0.45, 0.25), (0.4, 0.9), (0.25, 0.9)],
        [(0.55, 0.25), (0.7, 0.25), (0.75, 0.9), (0.6, 0.9)],
    ],
}
"""The corners of the filled polygons, as shares of width and height."""


def write_garments(folder: Path) -> Path:
    """Draw all photos into `folder` and return the manifest that lists them.

    Each photo is its own item; the columns `contributor` and `season` name its contributor and season.
    """
    folder.mkdir(parents=True, exist_ok=True)
    photos = []
    for split, count in PHOTOS_OF_LABEL.items():
        for label in LABELS:
            for number in range(count):
                name = f"{split}-{label}-{number:02}".lower()
                draw_garment(Garment(label, 100 * len(split) + number)).save(folder / f"{name}.png")
                givers = CONTRIBUTORS[split]
                extra = {"contributor": givers[number % len(givers)], "season": ("summer", "winter")[number % 2]}
                photos.append(Photo(f"{name}.png", label, name, split, extra))
    write_manifest(folder / "manifest.csv", photos)
    return folder / "manifest.csv"
