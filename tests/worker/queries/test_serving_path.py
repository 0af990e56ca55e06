"""The serving path computes the same vector of a photo as the simplest possible code."""

import io
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import pytest
from django.conf import settings as django_settings
from PIL import Image, ImageOps

from catalog.models import UploadedPhoto
from catalog.photos.files import store_picture
from catalog.photos.validation import clean_photo
from demo.sample import draw_photo, sample_items
from ml.images.preprocess import Preprocess
from ml.inference.embedder import Embedder, load_embedder
from ml.vectors import Floats
from worker.encoders.embedding import decoded_side, open_photo

PHOTOS: Final = 200
GARMENTS: Final = 12
SHIPPED = django_settings.BASE_DIR / "ml" / "encoders" / django_settings.DEFAULT_ENCODER

# The longer side in pixels, and the shorter in shares of it; a few are as large as phones make them.
LONGER = (200, 320, 400, 400, 480, 512, 640, 768, 1100)
SHORTER = (1.0, 0.75, 0.6667, 0.5625, 0.4)
PHONES = ((3024, 4032), (3264, 2448), (4000, 3000))
UNDO = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that stores a picture as a turned camera does


@dataclass(frozen=True)
class Seen:
    """The pixels of one photo: as they are served, and read plainly from what is stored and from what was sent."""

    about: str
    served: Floats
    stored: Floats
    sent: Floats


def seen(number: int, embedder: Embedder) -> Seen:
    about, raw = sent(number)
    content = clean_photo(raw).content
    photo = UploadedPhoto(file=store_picture(name=f"served/{number}.jpg", content=content))
    preprocess = embedder.card.preprocessing
    plain = [plainly_read(data, preprocess) for data in (content, raw)]
    return Seen(about, preprocess(open_photo(photo, side=decoded_side(embedder))), *plain)


def sent(number: int) -> tuple[str, bytes]:
    """A garment in some size, proportions, position of the camera, mode and format; always the same for a number."""
    rng = random.Random(number)  # noqa: S311 - chooses how a picture is made
    longer, share = rng.choice(LONGER), rng.choice(SHORTER)
    sides = PHONES[number % len(PHONES)] if number % 99 == 5 else (longer, round(longer * share))
    picture = drawing(number % GARMENTS).resize(sides[:: rng.choice((1, -1))], Image.Resampling.BICUBIC)
    mode = rng.choice(("RGB", "RGB", "RGB", "L", "CMYK", "RGBA", "P"))
    orientation = rng.randint(1, 8) if mode in ("RGB", "L", "CMYK") else 1
    about = f"{number}: {picture.size}, {mode}, turned {orientation}"
    if orientation > 1:
        picture = picture.transpose(Image.Transpose(UNDO[orientation]))
    return about, encoded(picture, mode, orientation, rng)


@cache
def drawing(number: int) -> Image.Image:
    return draw_photo(sample_items(GARMENTS)[number])


def encoded(picture: Image.Image, mode: str, orientation: int, rng: random.Random) -> bytes:
    buffer = io.BytesIO()
    if mode == "RGBA":
        picture.putalpha(Image.radial_gradient("L").resize(picture.size).point(lambda value: 255 * (value < 180)))
        picture.save(buffer, "PNG", compress_level=1)
    elif mode == "P":
        picture.quantize(200).save(buffer, "PNG", compress_level=1)
    else:
        exif = Image.Exif()
        exif[0x0112] = orientation
        how = {"quality": rng.choice((80, 90, 95)), "progressive": rng.random() < 0.2}
        picture.convert(mode).save(buffer, "JPEG", exif=exif, **how)
    return buffer.getvalue()


def plainly_read(raw: bytes, preprocess: Preprocess) -> Floats:
    """Decoded in full, turned, and brought to its size in one step on floating-point numbers (3, height, width)."""
    with Image.open(io.BytesIO(raw)) as image:
        image.load()
        upright = ImageOps.exif_transpose(image)
    if upright.mode in ("RGBA", "P"):
        coat = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", coat.size, "white"), coat)
    size, resample = (preprocess.width, preprocess.height), Image.Resampling[preprocess.filter.upper()]
    channels = [channel.convert("F").resize(size, resample) for channel in upright.convert("RGB").split()]
    pixels = np.stack([np.asarray(channel).clip(0, 255) for channel in channels])
    mean, std = (np.array(values, dtype=np.float32)[:, None, None] for values in (preprocess.mean, preprocess.std))
    return (pixels - mean) / std


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return load_embedder(SHIPPED, "onnx")


def test_two_hundred_photos_of_all_kinds_give_the_vectors_of_the_plain_path(embedder: Embedder) -> None:
    assert embedder.card.preprocessing.resize == "squash"  # else `plainly_read` has more to do
    with ThreadPoolExecutor(2) as pool:
        photos = list(pool.map(lambda number: seen(number, embedder), range(PHOTOS)))
    served, stored = (
        embedder.embed_batches([np.stack([getattr(photo, name) for photo in photos])]) for name in ("served", "stored")
    )
    # Opening, a decode at a reduced scale, and the resize in whole numbers, which Pillow rounds twice. To some fine
    # patterns the network is so sensitive that this rounding alone shows: half a grey level, in one photo of a hundred.
    assert far_off(photos, (served * stored).sum(axis=1), 0.997) == []
    assert len(far_off(photos, (served * stored).sum(axis=1), 0.999)) <= PHOTOS // 100
    # Storing: of fine patterns even the best JPEG takes a little.
    some = photos[::4]
    whole = (served[::4] * embedder.embed_batches([np.stack([photo.sent for photo in some])])).sum(axis=1)
    assert far_off(some, whole, 0.998) == []
    assert len(far_off(some, whole, 0.999)) <= len(some) // 10
    assert np.median(whole) > 0.9995


def far_off(photos: list[Seen], cosines: Floats, least: float) -> list[str]:
    return [f"{photo.about}: {cosine:.4f}" for photo, cosine in zip(photos, cosines, strict=True) if cosine < least]
