"""CIEDE2000 against published values; the dominant colour of pictures with a known answer."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from catalog.photos.colour import colour_distance, garment_colour, rgb_to_lab

# The supplementary test data of the paper by Sharma, Wu and Dalal, one line a pair.
PUBLISHED = """
50 2.6772 -79.7751 50 0 -82.7485 2.0425
50 3.1571 -77.2803 50 0 -82.7485 2.8615
50 2.8361 -74.0200 50 0 -82.7485 3.4412
50 -1.3802 -84.2814 50 0 -82.7485 1.0000
50 -1.1848 -84.8006 50 0 -82.7485 1.0000
50 -0.9009 -85.5211 50 0 -82.7485 1.0000
50 0 0 50 -1 2 2.3669
50 -1 2 50 0 0 2.3669
50 2.4900 -0.0010 50 -2.4900 0.0009 7.1792
50 2.4900 -0.0010 50 -2.4900 0.0010 7.1792
50 2.4900 -0.0010 50 -2.4900 0.0011 7.2195
50 2.4900 -0.0010 50 -2.4900 0.0012 7.2195
50 -0.0010 2.4900 50 0.0009 -2.4900 4.8045
50 -0.0010 2.4900 50 0.0010 -2.4900 4.8045
50 -0.0010 2.4900 50 0.0011 -2.4900 4.7461
50 2.5 0 50 0 -2.5 4.3065
50 2.5 0 73 25 -18 27.1492
50 2.5 0 61 -5 29 22.8977
50 2.5 0 56 -27 -3 31.9030
50 2.5 0 58 24 15 19.4535
50 2.5 0 50 3.1736 0.5854 1.0000
50 2.5 0 50 3.2972 0 1.0000
50 2.5 0 50 1.8634 0.5757 1.0000
50 2.5 0 50 3.2592 0.3350 1.0000
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731
35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441
90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
"""

PAIRS = [[float(number) for number in line.split()] for line in PUBLISHED.strip().splitlines()]


@pytest.mark.parametrize("pair", PAIRS)
def test_the_difference_is_the_published_one_and_symmetric(pair: list[float]) -> None:
    one, other, expected = pair[:3], pair[3:6], pair[6]
    assert colour_distance(one, other) == pytest.approx(expected, abs=1e-4)
    assert colour_distance(other, one) == pytest.approx(expected, abs=1e-4)


def test_a_colour_has_no_difference_from_itself() -> None:
    assert colour_distance((41.2, -7.5, 33.0), (41.2, -7.5, 33.0)) == 0
    assert colour_distance((41.2, 0, 0), (41.2, 0, 0)) == 0


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((128, 128, 128), (53.585, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
    ],
)
def test_corners_of_the_rgb_cube_have_the_published_lab_values(
    rgb: tuple[int, int, int], lab: tuple[float, float, float]
) -> None:
    assert rgb_to_lab(rgb) == pytest.approx(lab, abs=0.02)


def on_a(background: str, garment: str | None, size: tuple[int, int] = (300, 400)) -> Image.Image:
    picture = Image.new("RGB", size, background)
    if garment is not None:
        width, height = size
        ImageDraw.Draw(picture).rectangle((width // 3, height // 4, 2 * width // 3, 3 * height // 4), fill=garment)
    return picture


def colour_named(name: str) -> list[float]:
    return [float(value) for value in rgb_to_lab(Image.new("RGB", (1, 1), name).getpixel((0, 0)))]


@pytest.mark.parametrize("background", ["white", "black", "tan"])
@pytest.mark.parametrize("garment", ["navy", "crimson", "olive"])
def test_a_single_coloured_background_is_ignored(background: str, garment: str) -> None:
    assert colour_distance(garment_colour(on_a(background, garment)), colour_named(garment)) < 1


@pytest.mark.parametrize("garment", ["white", "navy"])
def test_a_garment_that_fills_the_picture_has_its_own_colour(garment: str) -> None:
    assert colour_distance(garment_colour(on_a(garment, None)), colour_named(garment)) < 0.1


def test_a_white_garment_on_white_with_a_small_print_is_white() -> None:
    picture = on_a("white", None)
    ImageDraw.Draw(picture).rectangle((140, 190, 160, 210), fill="red")
    assert colour_distance(garment_colour(picture), colour_named("white")) < 0.1


def test_a_print_and_noise_do_not_change_the_dominant_colour() -> None:
    picture = on_a("white", "navy")
    ImageDraw.Draw(picture).rectangle((140, 150, 165, 180), fill="yellow")
    noise = np.random.default_rng(1).normal(0, 6, (400, 300, 3))
    noisy = Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))
    assert colour_distance(garment_colour(noisy), colour_named("navy")) < 4


def test_a_multicoloured_border_is_no_background() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    pixels[10:54, 10:54] = (0, 128, 0)
    assert colour_distance(garment_colour(Image.fromarray(pixels)), colour_named("green")) < 1


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "P"])
@pytest.mark.parametrize("size", [(1, 1), (16, 700), (700, 16)])
def test_every_picture_has_a_colour(mode: str, size: tuple[int, int]) -> None:
    colour = garment_colour(Image.new(mode, size))
    assert len(colour) == 3
    assert all(np.isfinite(colour))
