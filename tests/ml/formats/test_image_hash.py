import io

import numpy as np
import pytest
from PIL import Image

from ml.formats.image_hash import NEAR_BITS, difference_hash, hash_to_text
from tests.helpers.drawn_pictures import drawn_picture


def pattern(width: int, height: int) -> Image.Image:
    """A picture of small integers, so that its pixels are the same on every machine."""
    y, x = np.mgrid[:height, :width]
    channels = [x * x + 3 * y, x * y + 7 * x, 5 * x + y * y]
    return Image.fromarray((np.stack(channels, axis=-1) % 256).astype(np.uint8))


@pytest.mark.parametrize(
    ("picture", "stored"),
    [
        (pattern(120, 90), "8caba9526c9454ac"),
        (pattern(120, 90).convert("L"), "8caba9526c9454ac"),
        (pattern(33, 200).rotate(180), "28935468a8d66ea8"),
        (pattern(1024, 768), "0181012aa0224a00"),
        (Image.new("RGB", (50, 70), "red"), "0000000000000000"),
    ],
)
def test_the_bits_are_those_in_the_databases(picture, stored):
    assert hash_to_text(difference_hash(picture)) == stored


def test_a_bit_is_set_where_brightness_rises_to_the_right():
    grey = np.arange(72, dtype=np.uint8).reshape(8, 9) * 3
    assert difference_hash(Image.fromarray(grey)) == 2**64 - 1
    assert difference_hash(Image.fromarray(np.ascontiguousarray(grey[:, ::-1]))) == 0
    one = np.zeros((8, 9), dtype=np.uint8)
    one[0, 1] = 200  # brighter than its left neighbour: the second place of the first row, the highest bit
    assert difference_hash(Image.fromarray(one)) == 1 << 63


def test_the_hash_hardly_changes_when_a_picture_is_saved_again():
    for seed in range(20):
        whole, buffer = drawn_picture(seed, (192, 256)), io.BytesIO()
        whole.resize((120, 160)).save(buffer, "JPEG", quality=60)
        with Image.open(buffer) as again:
            assert (difference_hash(whole) ^ difference_hash(again)).bit_count() <= NEAR_BITS
