"""What every layout owes, and what they share."""

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


@pytest.mark.parametrize("subset", [False, True])
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_missing_source_is_refused_and_nothing_is_written(name, subset, tmp_path):
    with pytest.raises(InputError):
        LAYOUTS[name].convert(tmp_path / "none", tmp_path, subset)
    assert list(tmp_path.iterdir()) == []


def test_the_command_asks_for_the_published_counts_unless_told_that_it_is_a_part(tmp_path, capsys):
    name = "img/WOMEN/Dresses/id_00000001/01_1_front.jpg"
    drawn_folder((tmp_path / name).parent, 1)[0].rename(tmp_path / name)
    text = f"1\nimage_name item_id evaluation_status\n{name} id_00000001 query\n"
    (tmp_path / "list_eval_partition.txt").write_text(text)
    words = ["convert", "deepfashion-inshop", str(tmp_path), "--out", str(tmp_path / "m.csv")]
    assert main(words) == 2
    assert "There are 1 photos, published are 52,712" in capsys.readouterr().err
    assert not (tmp_path / "m.csv").exists()
    assert main([*words, "--subset"]) == 0
    assert "1 photos of 1 labels (0 train, 0 val, 1 test)" in capsys.readouterr().out


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_says_what_it_is(name):
    assert len(LAYOUTS[name].__doc__ or "") > 40
    assert LAYOUTS[name].convert.__doc__


def test_the_drawn_split_is_lasting_and_about_eight_to_one_to_one():
    splits = [split_by_hash(str(number)) for number in range(2000)]
    assert [split_by_hash("15000"), split_by_hash("15001")] == [split_by_hash("15000"), split_by_hash("15001")]
    assert 1520 < splits.count("train") < 1680
    assert 150 < splits.count("val") < 250


def test_the_drawn_val_is_a_tenth_and_the_rest_is_train():
    splits = [val_by_hash(str(number)) for number in range(2000)]
    assert set(splits) == {"train", "val"}
    assert 150 < splits.count("val") < 250
    assert val_by_hash("a") == val_by_hash("a")


def test_a_wrong_count_is_told_with_both_numbers_unless_a_part_is_meant():
    with pytest.raises(ConversionError, match=r"2,000 photos, published are 123,016.*--subset"):
        require_count("photos", 2000, 123_016, subset=False)
    require_count("photos", 2000, 123_016, subset=True)
    require_count("photos", 123_016, 123_016, subset=False)


def test_the_first_name_that_comes_twice_is_told():
    require_distinct(["a", "b"])
    with pytest.raises(ConversionError, match="'b' is listed twice"):
        require_distinct(iter(["a", "b", "c", "b", "a"]))


def test_a_name_may_lead_into_folders_but_not_out(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "a.jpg").touch()
    (tmp_path / "b.jpg").touch()
    assert require_file(tmp_path / "in", "deep/a.jpg") == tmp_path / "in" / "deep" / "a.jpg"
    for name in ("../b.jpg", "deep/../../b.jpg", str(tmp_path / "b.jpg"), "deep", "none.jpg"):
        with pytest.raises(ConversionError, match="no such file"):
            require_file(tmp_path / "in", name)


def test_paths_are_written_as_the_manifest_folder_sees_them(tmp_path):
    assert relative_path(tmp_path / "a" / "b.jpg", tmp_path) == "a/b.jpg"
    assert relative_path(tmp_path / "a" / "b.jpg", tmp_path / "c") == "../a/b.jpg"


def test_two_corners_make_a_box_in_whatever_order_and_none_without_area():
    assert format_box(72, 79, 232, 273) == "72,79,232,273"
    assert format_box(232, 79, 72, 273) == "72,79,232,273"
    assert format_box(72, 273, 232, 79) == "72,79,232,273"
    assert format_box(72, 79, 72, 273) == ""
