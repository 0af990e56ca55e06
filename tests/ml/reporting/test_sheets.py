import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from ml.formats.atomic_files import UnwritableError
from ml.reporting import style
from ml.reporting.sheets import (
    BADGE_SIDE,
    GAP,
    MARGIN,
    TILE,
    TITLE_HEIGHT,
    Strip,
    draw_confusion_matrix,
    draw_predictions_sheet,
    draw_result_strips,
)
from tests.helpers.drawn_pictures import drawn_picture
from tests.helpers.errors import raises_code

LONG = "A pair of trousers with a very long name, in several colours"


def pixel(path: Path, x: float, y: float) -> tuple[int, ...]:
    """The colour of a picture at that many inches from its upper left corner."""
    with Image.open(path) as picture:
        return picture.convert("RGB").getpixel((round(x * style.DPI), round(y * style.DPI)))


def near(colour: tuple[int, ...], wanted: str | tuple[int, ...]) -> bool:
    target = [round(255 * share) for share in to_rgb(wanted)] if isinstance(wanted, str) else wanted
    return all(abs(one - other) <= 3 for one, other in zip(colour, target, strict=True))


def tile_left(column: int) -> float:
    return MARGIN + column * (TILE + GAP)


def plain(colour: str, size: tuple[int, int] = (40, 40)) -> Image.Image:
    return Image.new("RGB", size, colour)


class TestPredictions:
    @pytest.mark.parametrize("count", [0, 1, 2, 7, 40])
    def test_any_number_of_photos_makes_a_page(self, tmp_path, count, written_words):
        pictures = [drawn_picture(seed) for seed in range(count)]
        labels = ["Shirt"] * count
        draw_predictions_sheet(pictures, labels, labels, [0.5] * count, tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as picture:
            picture.load()
            assert max(picture.size) < 2000
        assert written_words().count(style.RIGHT_MARK) == count

    def test_each_photo_is_at_its_place_in_a_frame_for_right_or_wrong(self, tmp_path):
        path = tmp_path / "a.png"
        draw_predictions_sheet([plain("blue"), plain("yellow")], ["Hat", "Hat"], ["Hat", "Polo"], [0.9, 0.6], path)
        for column, photo, frame in ((0, "blue", style.RIGHT), (1, "yellow", style.WRONG)):
            left = tile_left(column)
            assert near(pixel(path, left + TILE / 2, TITLE_HEIGHT + TILE / 2), photo)
            for x, y in ((0, TILE / 2), (TILE, TILE / 2), (TILE / 2, 0), (TILE / 2, TILE)):
                assert near(pixel(path, left + x, TITLE_HEIGHT + y), frame)
            assert near(pixel(path, left + 0.04, TITLE_HEIGHT + BADGE_SIDE - 0.03), frame)

    def test_the_mark_is_drawn_in_white_on_the_badge(self, tmp_path):
        path = tmp_path / "a.png"
        draw_predictions_sheet([plain("black")], ["Hat"], ["Polo"], [0.6], path)
        with Image.open(path) as picture:
            box = [
                round(style.DPI * side)
                for side in (MARGIN, TITLE_HEIGHT, MARGIN + BADGE_SIDE, TITLE_HEIGHT + BADGE_SIDE)
            ]
            badge = np.asarray(picture.convert("RGB").crop(box)).reshape(-1, 3)
        assert 0.03 < (badge.min(axis=1) > 200).mean() < 0.4

    def test_the_captions_give_guess_and_score_and_the_truth_of_the_wrong_ones(self, tmp_path, written_words):
        pictures = [plain("blue")] * 3
        draw_predictions_sheet(
            pictures, ["Hat", "Hat", "Hat"], ["Hat", "Polo", "Hat"], [0.987, 0.6, 0.4], tmp_path / "a.png"
        )
        assert Counter(written_words()) == Counter(
            ["Predictions: 2 of 3 right", "✓", "Hat 99%", "✗", "Polo 60%", "truth: Hat", "✓", "Hat 40%"]
        )

    def test_long_names_are_cut_but_never_their_score(self, tmp_path, written_words):
        draw_predictions_sheet([plain("blue")], ["Hat"], [LONG], [1.0], tmp_path / "a.png")
        assert "A pair of trouse… 100%" in written_words()

    def test_a_photo_is_shown_whole_and_not_stretched(self, tmp_path):
        path = tmp_path / "a.png"
        draw_predictions_sheet([plain("blue", (100, 25))], ["Hat"], ["Hat"], [1.0], path)
        middle, height = MARGIN + TILE / 2, TILE / 4
        inside, outside = TITLE_HEIGHT + TILE / 2 + height / 2 - 0.03, TITLE_HEIGHT + TILE / 2 + height / 2 + 0.03
        assert near(pixel(path, middle, inside), "blue")
        assert near(pixel(path, middle, outside), "white")

    @pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
    def test_pictures_of_any_mode_are_drawn(self, tmp_path, mode):
        draw_predictions_sheet([drawn_picture(1).convert(mode)], ["Hat"], ["Hat"], [1.0], tmp_path / "a.png")

    def test_lists_of_different_lengths_are_refused(self, tmp_path):
        with pytest.raises(ValueError):
            draw_predictions_sheet([plain("blue")], ["Hat", "Hat"], ["Hat", "Hat"], [1.0, 1.0], tmp_path / "a.png")
        assert list(tmp_path.iterdir()) == []


class TestStrips:
    @pytest.fixture
    def strip(self) -> Strip:
        return Strip(
            query=plain("blue"),
            query_label="Hat",
            results=[plain("yellow"), plain("gray")],
            labels=["Hat", "Polo"],
            scores=[0.876, -0.123],
            right=[True, False],
        )

    def test_the_query_is_before_its_results_with_rank_cosine_and_label(self, tmp_path, strip, written_words):
        path = tmp_path / "a.png"
        draw_result_strips([strip], "What was found", path)
        assert Counter(written_words()) == Counter(
            ["What was found", "query", "Hat", "→", "✓", "1. cos 0.88", "Hat", "✗", "2. cos -0.12", "Polo"]
        )
        middle = TITLE_HEIGHT + TILE / 2
        first = tile_left(1) + 0.3
        assert near(pixel(path, MARGIN + TILE / 2, middle), "blue")
        assert near(pixel(path, first + TILE / 2, middle), "yellow")
        assert near(pixel(path, first, middle), style.RIGHT)
        assert near(pixel(path, first + TILE + GAP, middle), style.WRONG)

    def test_right_follows_the_strip_and_not_the_labels(self, tmp_path, strip, written_words):
        """If the same garment is searched for, another one of its label is wrong."""
        draw_result_strips([replace(strip, right=[False, False])], "The same garment", tmp_path / "a.png")
        assert written_words().count(style.WRONG_MARK) == 2

    def test_strips_of_different_lengths_are_below_each_other(self, tmp_path, strip):
        path = tmp_path / "a.png"
        one = replace(strip, query=plain("lime"), results=strip.results[:1], labels=["x"], scores=[1.0], right=[True])
        draw_result_strips([strip, one], "Worst queries", path)
        with Image.open(path) as picture:
            two_rows = picture.height
        assert near(pixel(path, MARGIN + TILE / 2, TITLE_HEIGHT + TILE / 2), "blue")
        draw_result_strips([strip], "Worst queries", path)
        with Image.open(path) as picture:
            one_row = picture.height
        assert two_rows - one_row > TILE * style.DPI

    @pytest.mark.parametrize("count", [0, 1, 12])
    def test_any_number_of_strips_and_results_makes_a_page(self, tmp_path, count):
        rng = random.Random(count)  # noqa: S311 - draws pictures
        strips = []
        for row in range(count):
            answers = rng.randrange(4)
            pictures = [drawn_picture(seed, (rng.randrange(20, 200), 90)) for seed in range(answers)]
            judged = [rng.random() < 0.5 for _ in pictures]
            strips.append(Strip(drawn_picture(row), LONG, pictures, [LONG] * answers, [0.5] * answers, judged))
        draw_result_strips(strips, "Queries", tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as picture:
            picture.load()

    def test_an_unwritable_file_is_refused(self, tmp_path, strip):
        with raises_code(UnwritableError, "unwritable"):
            draw_result_strips([strip], "Queries", tmp_path / "none" / "a.png")


class TestConfusion:
    @pytest.mark.parametrize("count", [1, 3, 17])
    def test_the_cells_equal_counts_of_a_plain_loop(self, tmp_path, drawn, count):
        rng = np.random.default_rng(count)
        truths = rng.integers(0, count, 400)
        predictions = np.where(rng.random(400) < 0.7, truths, rng.integers(0, count, 400))
        draw_confusion_matrix(truths, predictions, [f"label {label}" for label in range(count)], tmp_path / "a.png")
        (axes,) = drawn[-1].axes
        cells = {text.get_position(): text.get_text() for text in axes.texts}
        expected = {}
        for truth in range(count):
            row = [int(guess) for one, guess in zip(truths, predictions, strict=True) if one == truth]
            for guess in set(row):
                expected[guess, truth] = f"{row.count(guess)}\n{row.count(guess) / len(row):.0%}"
        assert cells == expected

    def test_a_case_worked_by_hand(self, tmp_path, written_words):
        truths, predictions = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 1])
        draw_confusion_matrix(truths, predictions, ["upper", "lower", "full"], tmp_path / "a.png")
        words = written_words()
        assert {"3\n75%", "1\n25%", "2\n100%", "upper  (4)", "lower  (2)", "full  (0)"} <= set(words)
        assert "Confusion: 5 of 6 right (83.3%)" in words

    def test_the_row_is_the_true_label_and_the_column_the_predicted_one(self, tmp_path, drawn):
        draw_confusion_matrix(np.array([0]), np.array([2]), ["a", "b", "c"], tmp_path / "a.png")
        (axes,) = drawn[-1].axes
        (cell,) = axes.texts
        assert cell.get_position() == (2, 0)
        (shades,) = axes.get_images()
        assert shades.get_array().tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]
        assert axes.yaxis_inverted()

    @pytest.mark.parametrize("count", [3, 17, 50])
    def test_the_text_of_a_cell_fits_into_the_cell(self, tmp_path, drawn, count):
        """With counts of four digits, as of a large test split."""
        every = np.repeat(np.arange(count), 1234)
        draw_confusion_matrix(every, every, ["label"] * count, tmp_path / "a.png")
        (axes,) = drawn[-1].axes
        corners = axes.transData.transform([(0, 0), (1, 1)])
        width, height = np.abs(corners[1] - corners[0])
        for text in axes.texts:
            box = text.get_window_extent()
            assert box.width < width
            assert box.height < height

    def test_names_are_horizontal_where_there_is_room_and_slanted_elsewhere(self, tmp_path, drawn):
        one_each = np.arange(3)
        for labels, slant in ((["upper", "lower", "full"], 0), ([LONG, "b", "c"], 45)):
            draw_confusion_matrix(one_each, one_each, labels, tmp_path / "a.png")
            assert {text.get_rotation() for text in drawn[-1].axes[0].get_xticklabels()} == {slant}

    def test_long_names_are_cut_and_leave_room_for_the_matrix(self, tmp_path, drawn):
        one_each = np.arange(3)
        draw_confusion_matrix(one_each, one_each, [LONG, LONG + "!", "$x$"], tmp_path / "a.png")
        (axes,) = drawn[-1].axes
        assert axes.get_window_extent().width > 0.4 * drawn[-1].bbox.width
        assert axes.get_xticklabels()[0].get_text() == "A pair of trousers with…"

    def test_no_photos_make_an_empty_matrix(self, tmp_path, written_words):
        nothing = np.array([], dtype=np.int64)
        draw_confusion_matrix(nothing, nothing, ["upper", "lower"], tmp_path / "a.png")
        assert "Confusion: 0 of 0 right (0.0%)" in written_words()
