"""Tests of all layouts and of the helpers that they share."""

import pytest

from ml.cli import main
from ml.commands.convert import LAYOUTS
from ml.data.layouts.source_files import (
    ConversionError,
    format_box,
    relative_path,
    require_count,
    require_distinct,
    require_file,
)
from ml.data.layouts.splits import split_by_hash, val_by_hash
from ml.formats.errors import InputError
from tests.helpers.drawn_pictures import drawn_folder
from tests.helpers.errors import raises_code


@pytest.mark.parametrize("subset", [False, True])
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_missing_source_is_refused_and_nothing_is_written(name, subset, tmp_path):
    with pytest.raises(InputError):
        LAYOUTS[name].convert(tmp_path / "none", tmp_path, subset)
    assert list(tmp_path.iterdir()) == []


def test_the_command_requires_the_published_counts_without_subset(tmp_path, capsys):
    name = "img/WOMEN/Dresses/id_00000001/01_1_front.jpg"
    drawn_folder((tmp_path / name).parent, 1)[0].rename(tmp_path / name)
    text = f"1\nimage_name item_id evaluation_status\n{name} id_00000001 query\n"
    (tmp_path / "list_eval_partition.txt").write_text(text)
    words = ["convert", "deepfashion-inshop", str(tmp_path), "--out", str(tmp_path / "m.csv")]
    assert main(words) == 2
    assert "52,712" in capsys.readouterr().err
    assert not (tmp_path / "m.csv").exists()
    assert main([*words, "--subset"]) == 0
    assert "1 photos of 1 labels (0 train, 0 val, 1 test)" in capsys.readouterr().out


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_has_a_description(name):
    assert len(LAYOUTS[name].__doc__ or "") > 40
    assert LAYOUTS[name].convert.__doc__


def test_the_split_by_hash_is_deterministic_and_about_8_to_1_to_1():
    splits = [split_by_hash(str(number)) for number in range(2000)]
    assert [split_by_hash("15000"), split_by_hash("15001")] == [split_by_hash("15000"), split_by_hash("15001")]
    assert 1520 < splits.count("train") < 1680
    assert 150 < splits.count("val") < 250


def test_val_by_hash_is_a_tenth_and_the_rest_is_train():
    splits = [val_by_hash(str(number)) for number in range(2000)]
    assert set(splits) == {"train", "val"}
    assert 150 < splits.count("val") < 250
    assert val_by_hash("a") == val_by_hash("a")


def test_a_wrong_count_is_an_error_that_names_both_numbers_unless_subset():
    with raises_code(ConversionError, "count_mismatch", "2,000", "123,016", "--subset"):
        require_count("photos", 2000, 123_016, subset=False)
    require_count("photos", 2000, 123_016, subset=True)
    require_count("photos", 123_016, 123_016, subset=False)


def test_the_first_repeated_name_is_an_error():
    require_distinct(["a", "b"])
    with raises_code(ConversionError, "listed_twice", "'b'"):
        require_distinct(iter(["a", "b", "c", "b", "a"]))


def test_a_name_may_not_lead_out_of_the_folder(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "a.jpg").touch()
    (tmp_path / "b.jpg").touch()
    assert require_file(tmp_path / "in", "deep/a.jpg") == tmp_path / "in" / "deep" / "a.jpg"
    for name in ("../b.jpg", "deep/../../b.jpg", str(tmp_path / "b.jpg"), "deep", "none.jpg"):
        with raises_code(ConversionError, "file_missing", name):
            require_file(tmp_path / "in", name)


def test_paths_are_relative_to_the_manifest_folder(tmp_path):
    assert relative_path(tmp_path / "a" / "b.jpg", tmp_path) == "a/b.jpg"
    assert relative_path(tmp_path / "a" / "b.jpg", tmp_path / "c") == "../a/b.jpg"


def test_a_box_is_formatted_from_any_two_opposite_corners_and_is_empty_without_area():
    assert format_box(72, 79, 232, 273) == "72,79,232,273"
    assert format_box(232, 79, 72, 273) == "72,79,232,273"
    assert format_box(72, 273, 232, 79) == "72,79,232,273"
    assert format_box(72, 79, 72, 273) == ""
