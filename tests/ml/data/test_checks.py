import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml.cli import main
from ml.data.checks import (
    NEAR_BITS,
    NEAR_LEVELS,
    Hashes,
    Thumbnails,
    check_data,
    difference_hash,
    near_duplicates,
)
from ml.data.manifest import Photo, write_manifest
from ml.formats.manifest_csv import ManifestError
from tests.helpers.drawn_pictures import drawn_folder, drawn_picture

HEADING = "path,label,item,split,contributor,box\n"


@pytest.fixture
def folder(tmp_path) -> Path:
    """Eight pictures, and a manifest of them that has no fault: two labels, each in every split."""
    drawn_folder(tmp_path, 8)
    lines(
        tmp_path,
        "000.jpg,Hat,a,train,1,",
        "001.jpg,Hat,b,val,2,",
        "002.jpg,Hat,c,test,3,",
        '003.jpg,Skirt,d,train,1,"10,10,60,60"',
        '003.jpg,Skirt,e,train,1,"0,0,96,128"',
        "004.jpg,Skirt,f,val,2,",
        "005.jpg,Skirt,g,test,3,",
    )
    return tmp_path


def lines(folder: Path, *rows: str) -> Path:
    (folder / "m.csv").write_text(HEADING + "\n".join(rows) + "\n")
    return folder / "m.csv"


def more_lines(folder: Path, *rows: str) -> Path:
    with (folder / "m.csv").open("a") as file:
        file.write("\n".join(rows) + "\n")
    return folder / "m.csv"


def saved_again(source: Path, target: Path) -> None:
    """The same picture as another site would serve it: smaller and squeezed."""
    with Image.open(source) as image:
        image.resize((image.width * 3 // 4, image.height * 3 // 4)).save(target, quality=60)


def test_a_manifest_without_a_fault_has_an_empty_report(folder):
    report = check_data(folder / "m.csv")
    assert (report.photos, report.errors, report.warnings) == (7, {}, {})


def test_every_error_is_told_not_only_the_first(folder):
    (folder / "004.jpg").write_bytes(b"no picture")
    (folder / "005.jpg").write_bytes((folder / "005.jpg").read_bytes()[:700])
    more_lines(
        folder,
        "006.jpg,Hat,a,test,3,",
        "009.jpg,Hat,h,train,1,",
        "000.jpg,Hat,a,train,1,",
        "007.jpg,Hat,i,dev,1,",
        "001.jpg,Hat",
        '007.jpg,Hat,i,dev,1,"5,5,5,9"',
    )
    errors = check_data(folder / "m.csv").errors
    assert errors == {
        "malformed lines": ["Line 13 of the manifest has more or fewer fields than the heading."],
        "items in two splits": ["The item 'a' is in two splits, train and test."],
        "missing files": ["'009.jpg' is listed, but there is no such file."],
        "photos listed twice": ["'000.jpg' is listed twice."],
        "unknown splits": ["'007.jpg' is in the split 'dev'; known are train, val, test."] * 2,
        "malformed boxes": ["'007.jpg' has the box '5,5,5,9', which is empty."],
        "unreadable pictures": ["'004.jpg' is not a readable picture.", "'005.jpg' is not a readable picture."],
    }


def test_the_same_file_in_two_splits_is_an_error_whatever_its_name(folder):
    (folder / "copy.jpg").write_bytes((folder / "000.jpg").read_bytes())
    report = check_data(more_lines(folder, "copy.jpg,Hat,h,test,3,"))
    assert report.errors == {"duplicates across splits": ["'000.jpg' (train) and 'copy.jpg' (test) are the same file."]}
    assert report.warnings == {}


def test_the_same_file_twice_in_one_split_is_none(folder):
    (folder / "copy.jpg").write_bytes((folder / "000.jpg").read_bytes())
    assert check_data(more_lines(folder, "copy.jpg,Hat,h,train,3,")).errors == {}


@pytest.mark.parametrize(("source", "split", "told"), [("000", "test", "train"), ("001", "test", "val")])
def test_a_picture_saved_again_is_a_warning(folder, source, split, told):
    saved_again(folder / f"{source}.jpg", folder / "again.jpg")
    report = check_data(more_lines(folder, f"again.jpg,Hat,h,{split},3,"))
    assert report.errors == {}
    assert report.warnings == {
        "near duplicates across splits": [f"'again.jpg' ({split}) and '{source}.jpg' ({told}) look the same."]
    }


def test_one_picture_in_two_splits_is_an_error_even_with_two_boxes(folder):
    report = check_data(more_lines(folder, '003.jpg,Skirt,h,test,3,"60,60,90,90"'))
    assert report.errors == {"pictures in two splits": ["The picture '003.jpg' is in two splits, train and test."]}


def test_boxes_are_held_against_the_upright_picture(folder):
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held upright: 96 x 128 on the disk, 128 x 96 to look at
    drawn_picture(20).save(folder / "turned.jpg", exif=turned)
    report = check_data(
        more_lines(
            folder,
            'turned.jpg,Hat,h,train,1,"0,0,128,96"',
            'turned.jpg,Hat,i,train,1,"0,0,96,128"',
            'turned.jpg,Hat,j,train,1,"0,96,20,110"',
        )
    )
    assert report.warnings == {
        "boxes over the edge of their picture": ["The box 0,0,96,128 of 'turned.jpg' leaves its 128 x 96 pixels."]
    }
    assert report.errors == {
        "boxes outside of their picture": ["The box 0,96,20,110 of 'turned.jpg' leaves its 128 x 96 pixels."]
    }


def test_labels_that_cannot_be_learnt_or_judged_are_told(folder):
    more = ["006.jpg,Coat,h,test,3,", '007.jpg,Tie,i,train,1,"0,0,9,9"', '007.jpg,Tie,j,train,1,"9,9,20,20"']
    drawn_picture(30).save(folder / "030.jpg")
    report = check_data(more_lines(folder, *more, "030.jpg,Sock,k,train,1,"))
    assert report.errors == {"labels without a train photo": ["'Coat' has 1 in test."]}
    assert report.warnings == {
        "labels without a val or test photo": ["'Tie' has 2 in train."],
        "labels of one photo": ["'Sock' has 1 in train."],
    }


def test_a_manifest_to_evaluate_on_needs_no_train_photos(folder):
    report = check_data(lines(folder, "000.jpg,Hat,a,test,1,", "001.jpg,Hat,b,test,2,"))
    assert (report.errors, report.warnings) == ({}, {})


def test_a_contributor_on_both_sides_is_a_warning_once(folder):
    report = check_data(more_lines(folder, "006.jpg,Hat,h,test,1,", "007.jpg,Hat,i,test,1,"))
    assert report.warnings == {"contributors on both sides": ["Contributor '1' is in test and train."]}


def test_an_empty_manifest_is_an_error_and_a_missing_one_is_no_table(folder):
    assert check_data(lines(folder)).errors == {"empty manifest": ["The manifest lists no photos."]}
    for path in (folder / "none.csv", folder / "000.jpg"):
        with pytest.raises(ManifestError):
            check_data(path)


# --- how alike pictures are


def test_each_bit_of_the_hash_says_whether_it_gets_brighter_to_the_right():
    grey = np.arange(72, dtype=np.uint8).reshape(8, 9) * 3
    assert difference_hash(Image.fromarray(grey)) == 2**64 - 1
    assert difference_hash(Image.fromarray(np.ascontiguousarray(grey[:, ::-1]))) == 0
    assert difference_hash(Image.new("RGB", (50, 70), "red")) == 0
    one = np.zeros((8, 9), dtype=np.uint8)
    one[0, 1] = 200  # brighter than its left neighbour: the second place of the first row, the highest bit
    assert difference_hash(Image.fromarray(one)) == 1 << 63


def test_the_hash_hardly_changes_when_a_picture_is_saved_again():
    for seed in range(20):
        whole, buffer = drawn_picture(seed, (192, 256)), io.BytesIO()
        whole.resize((120, 160)).save(buffer, "JPEG", quality=60)
        with Image.open(buffer) as again:
            assert (difference_hash(whole) ^ difference_hash(again)).bit_count() <= NEAR_BITS


def random_looks(rng: np.random.Generator, count: int) -> tuple[Hashes, Thumbnails]:
    """Looks that differ in a few bits and levels, so that many pairs lie on either side of both limits."""
    bits = np.array([sum(1 << int(at) for at in rng.choice(24, 5, replace=False)) for _ in range(count)], np.uint64)
    return bits, rng.integers(100, 105, (count, 12)).astype(np.int16)


def test_near_duplicates_are_those_of_the_dumbest_search():
    rng = np.random.default_rng(5)
    queries, others = random_looks(rng, 150), random_looks(rng, 90)
    expected = {}
    for query in range(150):
        apart = {
            other: np.abs(queries[1][query] - others[1][other]).mean()
            for other in range(90)
            if int(queries[0][query] ^ others[0][other]).bit_count() <= NEAR_BITS
        }
        if apart and min(apart.values()) <= NEAR_LEVELS:
            expected[query] = min(apart.values())
    found = dict(near_duplicates(queries, others))
    assert found.keys() == expected.keys()
    assert 10 < len(found) < 150
    for query, other in found.items():
        assert int(queries[0][query] ^ others[0][other]).bit_count() <= NEAR_BITS
        assert np.abs(queries[1][query] - others[1][other]).mean() == expected[query]


def test_nobody_has_a_near_duplicate_among_none():
    some, none = random_looks(np.random.default_rng(1), 3), (np.zeros(0, np.uint64), np.zeros((0, 12), np.int16))
    assert list(near_duplicates(some, none)) == []
    assert list(near_duplicates(none, some)) == []


# --- the command


def test_the_command_ends_with_zero_where_there_are_only_warnings(folder, capsys):
    more_lines(folder, "006.jpg,Hat,h,test,1,")
    assert main(["check-data", "--data", str(folder / "m.csv")]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out == [
        "warning: contributors on both sides: 1",
        "    Contributor '1' is in test and train.",
        f"{folder / 'm.csv'}: 8 photos, 0 errors, 1 warnings.",
    ]


def test_the_command_lists_the_first_of_each_kind_and_ends_with_two(folder, capsys):
    more_lines(folder, *(f"none{number}.jpg,Hat,h{number},train,1," for number in range(8)))
    assert main(["check-data", "--data", str(folder / "m.csv"), "--show", "3"]) == 2
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        "error: missing files: 8",
        *(f"    'none{number}.jpg' is listed, but there is no such file." for number in range(3)),
        "    … and 5 more",
    ]
    assert captured.err.splitlines()[-1] == f"python -m ml: {folder / 'm.csv'}: 15 photos, 8 errors, 0 warnings."


def test_a_manifest_that_cannot_be_read_is_one_line(folder, capsys):
    assert main(["check-data", "--data", str(folder / "none.csv")]) == 2
    assert "No such file" in capsys.readouterr().err
    assert main(["check-data", "--data", str(folder / "m.csv"), "--show", "-1"]) == 2
    assert "--show" in capsys.readouterr().err


def test_what_convert_writes_passes(tmp_path, capsys):
    drawn_folder(tmp_path / "pictures" / "Hat", 30)
    assert main(["convert", "folder", str(tmp_path / "pictures"), "--out", str(tmp_path / "m.csv")]) == 0
    assert main(["check-data", "--data", str(tmp_path / "m.csv")]) == 0
    assert "30 photos, 0 errors" in capsys.readouterr().out


def test_pictures_are_counted_once_whatever_their_garments(folder):
    counted = []

    def count(things, what):
        counted.append((what, len(things)))
        return things

    photos = [Photo("000.jpg", "Hat", str(n), "train", {"box": f"{n},0,{n + 5},9"}) for n in range(4)]
    write_manifest(folder / "m.csv", photos)
    check_data(folder / "m.csv", count)
    assert counted == [("checking", 1)]
