import math
from pathlib import Path

import pytest
from matplotlib.colors import to_hex
from PIL import Image

from ml.formats.atomic_files import UnwritableError
from ml.reporting.curves import PICTURES, draw_curves
from ml.reporting.run_folder import RunFolder
from tests.helpers.errors import raises_code

SHARES = ("train_accuracy", "val_accuracy", "recall_at_1", "recall_at_5", "recall_at_10", "map_at_r", "near10")
GARMENT = ("garment_at_1", "garment_at_5")
OTHERS = {"train_loss": 2.0, "val_loss": 3.0, "mined_triplets": 90_000, "active_triplets": 5000, "spread": 0.5}


def row_of_everything(epoch: int) -> dict[str, float]:
    shares = dict.fromkeys(SHARES + GARMENT, 1 - 0.5 / epoch)
    return {"epoch": epoch} | shares | {name: value / epoch for name, value in OTHERS.items()}


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def lines_of(axes) -> list[list[tuple[float, float]]]:
    return [list(zip(*line.get_data(), strict=True)) for line in axes.get_lines()]


@pytest.mark.parametrize("count", [1, 100])
def test_every_picture_is_drawn_for_any_number_of_epochs(tmp_path, count):
    written = draw_curves([row_of_everything(epoch) for epoch in range(1, count + 1)], tmp_path)
    assert names(written) == ["loss.png", "accuracy.png", "mined.png", "spread.png", "retrieval.png"]
    assert sorted(tmp_path.iterdir()) == sorted(written)
    for path in written:
        with Image.open(path) as picture:
            picture.load()
            assert picture.format == "PNG"
            assert picture.width >= 700


def test_every_column_of_a_run_has_a_curve():
    drawn = {curve.column for panels in PICTURES.values() for panel in panels for curve in panel.curves}
    assert drawn == {*SHARES, *GARMENT, *OTHERS}


def test_a_classifier_has_no_pictures_of_triplets_and_retrieval(tmp_path):
    rows = [{"epoch": 1, "train_loss": 1.0, "val_loss": 1.5, "train_accuracy": 0.5, "val_accuracy": 0.4, "lr": 0.1}]
    assert names(draw_curves(rows, tmp_path)) == ["loss.png", "accuracy.png"]


@pytest.mark.parametrize("rows", [[], [{"epoch": 1}], [{"epoch": 1, "train_loss": math.nan, "spread": math.inf}]])
def test_without_a_finite_value_there_is_no_picture(tmp_path, rows):
    assert draw_curves(rows, tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_line_runs_through_the_values_of_its_column(tmp_path, drawn):
    rows = [{"epoch": epoch, "train_loss": loss} for epoch, loss in ((1, 0.9), (2, 0.5), (3, 0.7))]
    draw_curves(rows, tmp_path)
    (axes,) = drawn[-1].axes
    assert lines_of(axes) == [[(1, 0.9), (2, 0.5), (3, 0.7)]]


def test_a_line_connects_the_epochs_around_a_missing_value(tmp_path, drawn):
    """Retrieval is measured every third epoch here; once it was infinite."""
    rows = [{"epoch": epoch, "recall_at_1": epoch / 10 if epoch % 3 == 0 else math.nan} for epoch in range(1, 10)]
    rows += [{"epoch": 10}, {"epoch": 11, "recall_at_1": math.inf}]
    draw_curves(rows, tmp_path)
    (axes,) = drawn[-1].axes
    assert lines_of(axes) == [[(3, 0.3), (6, 0.6), (9, 0.9)]]


def test_a_panel_without_values_is_left_out(tmp_path, drawn):
    draw_curves([{"epoch": 1, "garment_at_1": 0.5, "recall_at_1": math.nan}], tmp_path)
    (axes,) = drawn[-1].axes
    assert "garment" in axes.get_title(loc="left")
    draw_curves([{"epoch": 1, "garment_at_1": 0.5, "recall_at_1": 0.5}], tmp_path)
    assert len(drawn[-1].axes) == 2


def test_the_legend_names_the_best_epoch_or_the_last_value(tmp_path, written_words):
    losses = ((1, 0.9, 0.8), (2, 0.5, 0.55), (3, 0.3, 0.6))
    draw_curves([{"epoch": epoch, "train_loss": train, "val_loss": val} for epoch, train, val in losses], tmp_path)
    assert {"training, last 0.3", "validation, best 0.55 (epoch 2)"} <= set(written_words())
    shares = ((1, 0.25), (2, 0.8125), (3, 0.5))
    draw_curves([{"epoch": epoch, "val_accuracy": share} for epoch, share in shares], tmp_path)
    assert "validation, best 81.2% (epoch 2)" in written_words()
    draw_curves([{"epoch": 1, "mined_triplets": 123_456.4}], tmp_path)
    assert "mined, last 123,456" in written_words()


def test_lines_differ_in_more_than_colour_and_keep_both_when_a_neighbour_is_missing(tmp_path, drawn):
    draw_curves([row_of_everything(1)], tmp_path)
    alone = {"epoch": 1, "recall_at_5": 0.5}
    all_lines = drawn[-1].axes[0].get_lines()
    assert len({line.get_marker() for line in all_lines}) == len({to_hex(line.get_color()) for line in all_lines}) == 5
    draw_curves([alone], tmp_path)
    (line,) = drawn[-1].axes[0].get_lines()
    assert (line.get_marker(), line.get_color()) == (all_lines[1].get_marker(), all_lines[1].get_color())


def test_shares_are_drawn_from_0_to_100_per_cent_and_counts_from_0(tmp_path, drawn):
    draw_curves([row_of_everything(epoch) for epoch in (1, 2)], tmp_path)
    loss, accuracy, mined, spread, retrieval = drawn
    assert all(axes.get_ylim() == (-0.02, 1.02) for axes in accuracy.axes + retrieval.axes)
    assert mined.axes[0].get_ylim()[0] == spread.axes[0].get_ylim()[0] == 0
    assert loss.axes[0].get_yscale() == "linear"


@pytest.mark.parametrize(("last", "scale"), [(0.01, "log"), (0.5, "linear"), (0.0, "linear"), (-1.0, "linear")])
def test_a_loss_that_fell_far_is_drawn_on_a_logarithmic_scale(tmp_path, drawn, last, scale):
    draw_curves([{"epoch": 1, "train_loss": 4.0}, {"epoch": 2, "train_loss": last}], tmp_path)
    assert drawn[-1].axes[0].get_yscale() == scale


def test_a_spread_of_zero_is_drawn(tmp_path, drawn):
    draw_curves([{"epoch": 1, "spread": 0.0, "mined_triplets": 0}], tmp_path)
    assert [figure.axes[0].get_ylim()[0] for figure in drawn] == [0, 0]


@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_epochs_are_whole_numbers_on_the_axis(tmp_path, drawn, count):
    draw_curves([{"epoch": epoch, "train_loss": 1.0} for epoch in range(1, count + 1)], tmp_path)
    axis = drawn[-1].axes[0].xaxis
    low, high = drawn[-1].axes[0].get_xlim()
    ticks = [tick for tick in axis.get_ticklocs() if low <= tick <= high]
    assert ticks
    assert all(tick == round(tick) and 1 <= tick <= count for tick in ticks)


def test_the_rows_of_a_run_folder_are_drawn_as_they_are_read(tmp_path):
    run = RunFolder(tmp_path)
    for epoch in (1, 2):
        run.append({"epoch": epoch, "train_loss": 1 / epoch, "val_loss": math.nan, "note": "warm-up"})
    assert names(draw_curves(run.rows(), run.path)) == ["loss.png"]


def test_a_missing_folder_is_named(tmp_path):
    with raises_code(UnwritableError, "unwritable", "loss.png"):
        draw_curves([{"epoch": 1, "train_loss": 1.0}], tmp_path / "none")
