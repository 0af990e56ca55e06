"""Simulate a phone photo of a catalogue photo (data augmentation, evaluation queries). Pillow only, seeded.

A view is cropped to 60-95 % of the area, rotated by up to 15 degrees, in perspective; brightness, contrast, saturation
and white balance change by up to 40 %; half of the views are mirrored, half blurred, half have another, blurred photo
as background; all are saved as a JPEG of quality 35-75.
"""

import io
import math
import random
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageEnhance, ImageFilter, ImageOps, ImageStat

from ml.images.pictures import read_picture

CROP_AREA = (0.60, 0.95)
MAX_ROTATION_DEGREES = 15.0
MAX_PERSPECTIVE_SHIFT = 0.08  # how far a corner moves, as a share of the side
MAX_COLOUR_SHIFT = 0.40
BLUR_RADIUS = (0.002, 0.008)  # shares of the longer side
BACKGROUND_BLUR = 0.03
GARMENT_SCALE = (0.70, 0.95)  # side of the pasted garment as a share of the background's
JPEG_QUALITY = (35, 75)


def simulate_phone_photo(photo: Image.Image, background: Image.Image, rng: random.Random) -> Image.Image:
    """Return one simulated phone photo of `photo` (RGB, upright); half of the calls use `background`.

    The same pictures and the same state of `rng` give the same pixels.
    """
    garment, mask = _distort(photo, rng)
    picture = _paste_on_background(garment, mask, background, rng)
    picture = _change_colours(picture, rng)
    if rng.random() < 0.5:
        picture = ImageOps.mirror(picture)
    if rng.random() < 0.5:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(*BLUR_RADIUS) * max(picture.size)))
    return _compress(picture, rng.randint(*JPEG_QUALITY))


def simulate_from_file(path: Path, backgrounds: Sequence[Path], seed: str) -> Image.Image:
    """Return a simulated phone photo of a file before one of `backgrounds`, from `seed` and the file name alone.

    Raises `PictureError`.
    """
    rng = random.Random(f"{seed} {path.name}")  # noqa: S311 - a simulation, not a secret
    background = read_picture(backgrounds[rng.randrange(len(backgrounds))])
    return simulate_phone_photo(read_picture(path), background, rng)


def _distort(photo: Image.Image, rng: random.Random) -> tuple[Image.Image, Image.Image]:
    """Crop, rotate and distort in one resampling. Also return the mask (L) of the pixels inside the photo."""
    width, height = photo.size
    side = math.sqrt(rng.uniform(*CROP_AREA))
    crop_width, crop_height = width * side, height * side
    centre_x = rng.uniform(crop_width / 2, width - crop_width / 2)
    centre_y = rng.uniform(crop_height / 2, height - crop_height / 2)
    angle = math.radians(rng.uniform(-MAX_ROTATION_DEGREES, MAX_ROTATION_DEGREES))
    corners: list[float] = []
    for sign_x, sign_y in ((-1, -1), (-1, 1), (1, 1), (1, -1)):  # the order of Pillow's QUAD
        x = sign_x * crop_width / 2 + rng.uniform(-MAX_PERSPECTIVE_SHIFT, MAX_PERSPECTIVE_SHIFT) * crop_width
        y = sign_y * crop_height / 2 + rng.uniform(-MAX_PERSPECTIVE_SHIFT, MAX_PERSPECTIVE_SHIFT) * crop_height
        corners.append(centre_x + x * math.cos(angle) - y * math.sin(angle))
        corners.append(centre_y + x * math.sin(angle) + y * math.cos(angle))
    size = (max(1, round(crop_width)), max(1, round(crop_height)))
    matrix = _homography(size, corners)
    view = photo.transform(size, Image.Transform.PERSPECTIVE, matrix, Image.Resampling.BICUBIC)
    mask = Image.new("L", photo.size, 255)
    return view, mask.transform(size, Image.Transform.PERSPECTIVE, matrix, Image.Resampling.BILINEAR)


def _homography(size: tuple[int, int], corners: list[float]) -> list[float]:
    """Return the eight numbers of Pillow's PERSPECTIVE that map the corners of a picture of `size` to `corners`.

    `corners`: x, y of the upper left, lower left, lower right, upper right corner. Closed form of the map from the unit
    square to a quadrilateral: P. Heckbert, "Fundamentals of Texture Mapping and Image Warping", 1989, section 2.2.3.
    """
    width, height = size
    x0, y0, x3, y3, x2, y2, x1, y1 = corners
    sum_x, sum_y = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3
    dx1, dx2, dy1, dy2 = x1 - x2, x3 - x2, y1 - y2, y3 - y2
    det = dx1 * dy2 - dx2 * dy1
    g = (sum_x * dy2 - dx2 * sum_y) / det
    h = (dx1 * sum_y - sum_x * dy1) / det
    a, b, c = x1 - x0 + g * x1, x3 - x0 + h * x3, x0
    d, e, f = y1 - y0 + g * y1, y3 - y0 + h * y3, y0
    return [a / width, b / height, c, d / width, e / height, f, g / width, h / height]


def _paste_on_background(
    garment: Image.Image, mask: Image.Image, background: Image.Image, rng: random.Random
) -> Image.Image:
    """Paste the garment on a blurred photo with a margin (half of the calls), or on the mean colour of its border."""
    if rng.random() < 0.5:
        canvas = Image.new("RGB", garment.size, _border_colour(garment, mask))
        canvas.paste(garment, (0, 0), mask)
        return canvas
    scale = rng.uniform(*GARMENT_SCALE)
    size = (max(1, round(garment.width / scale)), max(1, round(garment.height / scale)))
    canvas = ImageOps.fit(background.convert("RGB"), size, Image.Resampling.BILINEAR)
    canvas = canvas.filter(ImageFilter.GaussianBlur(BACKGROUND_BLUR * max(size)))
    margin_x, margin_y = size[0] - garment.width, size[1] - garment.height
    canvas.paste(garment, (rng.randint(0, margin_x), rng.randint(0, margin_y)), mask)
    return canvas


def _border_colour(garment: Image.Image, mask: Image.Image) -> tuple[int, int, int]:
    """Return the mean colour of the outermost twentieth on each side, inside the mask."""
    border = mask.point(lambda value: 255 if value == 255 else 0)
    inset_x, inset_y = garment.width // 20 + 1, garment.height // 20 + 1
    border.paste(0, (inset_x, inset_y, max(garment.width - inset_x, inset_x), max(garment.height - inset_y, inset_y)))
    if border.getbbox() is None:
        return (127, 127, 127)
    red, green, blue = ImageStat.Stat(garment, border).mean
    return (round(red), round(green), round(blue))


def _change_colours(picture: Image.Image, rng: random.Random) -> Image.Image:
    """Change brightness, contrast, saturation, then the gains of red and blue against green (white balance)."""
    low, high = 1 - MAX_COLOUR_SHIFT, 1 + MAX_COLOUR_SHIFT
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        picture = enhance(picture).enhance(rng.uniform(low, high))
    warmth = rng.uniform(-MAX_COLOUR_SHIFT, MAX_COLOUR_SHIFT)  # towards red, or towards blue
    red, green, blue = picture.split()
    gains = (1 + warmth / 2, 1 - warmth / 2)
    red, blue = (
        band.point(lambda value, gain=gain: min(255, round(value * gain)))
        for band, gain in zip((red, blue), gains, strict=True)
    )
    return Image.merge("RGB", (red, green, blue))


def _compress(picture: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")
