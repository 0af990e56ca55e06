"""Tiny drawn pictures in place of a data set."""

import random
from pathlib import Path

from PIL import Image, ImageDraw


def drawn_picture(seed: int, size: tuple[int, int] = (96, 128)) -> Image.Image:
    """Draw a few coloured shapes on a coloured ground; deterministic for a seed."""
    rng = random.Random(seed)  # noqa: S311 - draws pictures
    width, height = size
    picture = Image.new("RGB", size, _colour(rng))
    pen = ImageDraw.Draw(picture)
    for _ in range(4):
        x, y = rng.randrange(width // 2), rng.randrange(height // 2)
        box = (x, y, x + rng.randrange(width // 4, width // 2), y + rng.randrange(height // 4, height // 2))
        draw = rng.choice((pen.rectangle, pen.ellipse))
        draw(box, fill=_colour(rng))
    return picture


def drawn_folder(folder: Path, count: int, size: tuple[int, int] = (96, 128)) -> list[Path]:
    """Write `count` JPEG files 000.jpg, 001.jpg … to `folder` and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{seed:03}.jpg" for seed in range(count)]
    for seed, path in enumerate(paths):
        drawn_picture(seed, size).save(path, quality=90)
    return paths


def _colour(rng: random.Random) -> tuple[int, int, int]:
    return (rng.randrange(256), rng.randrange(256), rng.randrange(256))
