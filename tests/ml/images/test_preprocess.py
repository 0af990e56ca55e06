import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ml.formats.errors import InputError
from ml.images.preprocess import Preprocess, upright_rgb
from tests.helpers.drawn_pictures import drawn_picture
from tests.helpers.errors import raises_code

PLAIN = Preprocess(8, 8, "squash", "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
LITE = Preprocess(224, 224, "crop", "bicubic", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0))


def as_jpeg(picture: Image.Image, **options) -> Image.Image:
    """The picture as an open JPEG file that is not decoded yet."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=95, **options)
    return Image.open(io.BytesIO(buffer.getvalue()))


def test_channels_come_first_in_the_order_red_green_blue():
    pixels = PLAIN(Image.new("RGB", (16, 16), (10, 20, 30)))
    assert (pixels.shape, pixels.dtype, pixels.flags.c_contiguous) == ((3, 8, 8), np.float32, True)
    assert pixels.mean(axis=(1, 2)).tolist() == [10, 20, 30]


def test_mean_and_deviation_are_applied_per_channel():
    preprocess = replace(PLAIN, mean=(10.0, 20.0, 30.0), std=(1.0, 2.0, 5.0))
    assert preprocess(Image.new("RGB", (9, 9), (11, 24, 40)))[:, 0, 0].tolist() == [1.0, 2.0, 2.0]


def test_height_comes_before_width():
    assert replace(PLAIN, height=4, width=6)(Image.new("RGB", (20, 20))).shape == (3, 4, 6)


def three_stripes() -> Image.Image:
    """24 x 8: red, green and blue squares beside each other."""
    picture = Image.new("RGB", (24, 8), (255, 0, 0))
    picture.paste((0, 255, 0), (8, 0, 16, 8))
    picture.paste((0, 0, 255), (16, 0, 24, 8))
    return picture


def test_crop_keeps_the_central_square():
    assert replace(PLAIN, resize="crop")(three_stripes()).mean(axis=(1, 2)).tolist() == [0, 255, 0]


def test_squash_keeps_the_whole_picture():
    assert PLAIN(three_stripes()).mean(axis=(1, 2)) == pytest.approx([85, 85, 85], abs=1.5)


def test_pad_keeps_the_whole_picture_between_bars_of_the_mean():
    pixels = replace(PLAIN, resize="pad", mean=(50.0, 60.0, 70.0))(three_stripes())
    assert np.abs(pixels[:, :2]).max() == 0  # the bars are the mean, so zero for the network
    assert np.abs(pixels[:, 4]).min(axis=0).max() > 0


def test_a_mirrored_picture_gives_mirrored_pixels():
    picture = drawn_picture(1, (100, 100))
    turned = LITE(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert np.abs(turned[:, :, ::-1] - LITE(picture)).max() < 2 / 128


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "F"])
def test_every_mode_becomes_three_finite_channels(mode):
    picture = drawn_picture(2).convert("L").convert(mode) if mode.startswith(("I", "F")) else drawn_picture(2)
    pixels = LITE(picture if picture.mode == mode else picture.convert(mode))
    assert pixels.shape == (3, 224, 224)
    assert np.isfinite(pixels).all()
    assert np.abs(pixels).max() <= 1.01


def test_sixteen_bit_grey_is_scaled_and_not_clipped():
    grey = Image.fromarray(np.full((4, 4), 128 * 257, dtype=np.uint16))
    assert upright_rgb(grey).getpixel((0, 0)) == (128, 128, 128)


def test_transparent_pixels_become_white():
    picture = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    picture.putpixel((0, 0), (255, 0, 0, 255))
    assert [upright_rgb(picture).getpixel(at) for at in ((0, 0), (1, 1))] == [(255, 0, 0), (255, 255, 255)]


def test_a_transparent_entry_of_a_palette_becomes_white():
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 255, 0])
    picture.putpixel((1, 0), 1)
    picture.info["transparency"] = 1
    assert [upright_rgb(picture).getpixel((x, 0)) for x in (0, 1)] == [(255, 0, 0), (255, 255, 255)]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied(orientation):
    upright = drawn_picture(3, (64, 96))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the inverse of each orientation
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    result = upright_rgb(as_jpeg(stored, exif=exif, subsampling=0))
    assert result.size == upright.size
    assert np.abs(np.asarray(result, dtype=int) - np.asarray(upright)).mean() < 4


@pytest.mark.parametrize("size", [(3000, 4000), (1200, 900), (460, 440), (100, 80), (1, 1), (3000, 2)])
@pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
def test_the_reduced_decode_makes_a_negligible_difference(size, resize):
    preprocess = replace(LITE, resize=resize)
    picture = drawn_picture(4, (60, 80)).resize(size, Image.Resampling.BICUBIC)
    decoded = as_jpeg(picture)
    decoded.load()
    reduced, full = preprocess(as_jpeg(picture)), preprocess(decoded)
    assert np.abs(reduced - full).mean() < 0.01
    assert full.std() < 0.01 or np.corrcoef(reduced.ravel(), full.ravel())[0, 1] > 0.999


def test_a_large_jpeg_is_decoded_at_a_reduced_scale():
    image = as_jpeg(Image.new("RGB", (3000, 4000)))
    LITE(image)
    assert image.size == (750, 1000)


@pytest.mark.parametrize(
    "change",
    [
        {"resize": "stretch"},
        {"filter": "magic"},
        {"height": 0},
        {"width": -224},
        {"height": 10**6},
        {"height": 224.0},
        {"std": (1.0, 0.0, 1.0)},
        {"mean": (1.0, 2.0)},
        {"mean": (1.0, 2.0, float("nan"))},
    ],
)
def test_invalid_settings_are_refused(change):
    with raises_code(InputError, "preprocessing_invalid"):
        replace(LITE, **change)
