import io
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from matplotlib import image
from PIL import Image

from ml.formats.atomic_files import UnwritableError
from ml.reporting import style
from tests.helpers.errors import raises_code

ROOT = Path(__file__).resolve().parents[3]


def luminance(colour: str) -> float:
    """The relative luminance of WCAG 2.2, worked out as its definition says."""
    total = 0.0
    for weight, start in ((0.2126, 1), (0.7152, 3), (0.0722, 5)):
        share = int(colour[start : start + 2], 16) / 255
        total += weight * (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4)
    return total


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("colour", [style.INK, style.FAINT_INK, style.RIGHT, style.WRONG])
def test_words_and_marks_are_legible_on_white_and_white_on_them(colour):
    assert contrast(colour, "#ffffff") >= 4.5


@pytest.mark.parametrize("colour", style.COLOURS)
def test_each_colour_of_the_palette_contrasts_with_white(colour):
    assert contrast(colour, "#ffffff") >= 2.3


def test_right_and_wrong_have_marks_of_their_own():
    assert style.RIGHT_MARK != style.WRONG_MARK
    assert style.RIGHT != style.WRONG


def test_each_pair_of_colour_and_marker_is_used_once():
    pairs = style.colours_and_markers(57)
    assert len(set(pairs[:56])) == 56
    assert pairs[56] == pairs[0]
    assert all(one[0] != next_one[0] and one[1] != next_one[1] for one, next_one in pairwise(pairs))
    assert style.colours_and_markers(0) == []


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("Shirt", "Shirt"),
        ("12345678", "12345678"),
        ("123456789", "1234567…"),
        ("a b  c\nd", "a b c d"),
        ("Long sleeve", "Long sl…"),
    ],
)
def test_long_text_is_cut_with_an_ellipsis(text, short):
    assert style.truncate(text, 8) == short


def test_a_picture_is_a_png_of_the_given_size(tmp_path):
    path = tmp_path / "a.png"
    style.save_figure(style.new_figure(3, 2), path)
    with Image.open(path) as picture:
        picture.load()
        assert (picture.format, picture.size) == ("PNG", (3 * style.DPI, 2 * style.DPI))
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_figure_is_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        figure, page = style.new_page(2, 1)
        page.text(0.5, 0.5, "twice")
        style.save_figure(figure, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("words", ["$5-$10", r"$\frac{1}$", "_hidden", "größer ✓"])
def test_words_are_not_drawn_as_formulas(tmp_path, words):
    figure, page = style.new_page(2, 1)
    page.text(0.1, 0.5, words)
    style.save_figure(figure, tmp_path / "a.png")
    assert image.imread(tmp_path / "a.png").min() < 0.2


def test_a_page_is_measured_in_inches_from_its_upper_left_corner(tmp_path):
    figure, page = style.new_page(4, 2)
    page.fill([0, 1, 1, 0], [0, 0, 0.5, 0.5], color="black", linewidth=0)
    style.save_figure(figure, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        grey = picture.convert("L")
        middle = style.DPI // 2
        assert grey.getpixel((middle, middle // 2)) == 0
        assert grey.getpixel((middle, middle + 9)) == 255
        assert grey.getpixel((style.DPI + 9, middle // 2)) == 255


def test_an_unwritable_file_is_refused(tmp_path):
    with raises_code(UnwritableError, "unwritable"):
        style.save_figure(style.new_figure(1, 1), tmp_path / "none" / "a.png")


def test_pictures_are_drawn_without_pyplot_and_without_a_screen():
    program = (
        "import sys, ml.reporting.curves, ml.reporting.sheets, ml.reporting.maps\n"
        "sys.exit(', '.join({'matplotlib.pyplot', 'tkinter', 'torch', 'sklearn'} & sys.modules.keys()) or None)"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_figure_can_be_saved_to_memory_too():
    memory = io.BytesIO()
    style.new_figure(1, 1).savefig(memory)
    assert memory.getvalue().startswith(b"\x89PNG")
