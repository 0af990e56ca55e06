from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml.cli import main
from ml.data.checks import (
    NEAR_LEVELS,
    Hashes,
    Thumbnails,
    check_data,
    find_near_duplicates,
)
from ml.data.manifest import Photo, write_manifest
from ml.formats.image_hash import NEAR_BITS
from ml.formats.manifest_csv import ManifestError
from tests.helpers.drawn_pictures import drawn_folder, drawn_picture
from tests.helpers.errors import raises_code

HEADING = "path,label,item,split,contributor,box\n"


@pytest.fixture
def folder(tmp_path) -> Path:
    """Eight pictures and a valid manifest of them: two labels, each in every split."""
    drawn_folder(tmp_path, 8)
    write_lines(
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


def write_lines(folder: Path, *rows: str) -> Path:
    (folder / "m.csv").write_text(HEADING + "\n".join(rows) + "\n")
    return folder / "m.csv"


def append_lines(folder: Path, *rows: str) -> Path:
    with (folder / "m.csv").open("a") as file:
        file.write("\n".join(rows) + "\n")
    return folder / "m.csv"


def save_again(source: Path, target: Path) -> None:
    """The same picture as another site would serve it: smaller and more compressed."""
    with Image.open(source) as image:
        image.resize((image.width * 3 // 4, image.height * 3 // 4)).save(target, quality=60)


def test_a_valid_manifest_has_an_empty_report(folder):
    report = check_data(folder / "m.csv")
    assert (report.photos, report.errors, report.warnings) == (7, {}, {})


def test_all_errors_are_reported(folder):
    (folder / "004.jpg").write_bytes(b"no picture")
    (folder / "005.jpg").write_bytes((folder / "005.jpg").read_bytes()[:700])
    append_lines(
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
    report = check_data(append_lines(folder, "copy.jpg,Hat,h,test,3,"))
    assert report.errors == {"duplicates across splits": ["'000.jpg' (train) and 'copy.jpg' (test) are the same file."]}
    assert report.warnings == {}


def test_the_same_file_twice_in_one_split_is_no_error(folder):
    (folder / "copy.jpg").write_bytes((folder / "000.jpg").read_bytes())
    assert check_data(append_lines(folder, "copy.jpg,Hat,h,train,3,")).errors == {}


@pytest.mark.parametrize(("source", "split", "earlier"), [("000", "test", "train"), ("001", "test", "val")])
def test_a_picture_saved_again_is_a_warning(folder, source, split, earlier):
    save_again(folder / f"{source}.jpg", folder / "again.jpg")
    report = check_data(append_lines(folder, f"again.jpg,Hat,h,{split},3,"))
    assert report.errors == {}
    assert report.warnings == {
        "near duplicates across splits": [f"'again.jpg' ({split}) and '{source}.jpg' ({earlier}) look the same."]
    }


def test_one_picture_in_two_splits_is_an_error_even_with_two_boxes(folder):
    report = check_data(append_lines(folder, '003.jpg,Skirt,h,test,3,"60,60,90,90"'))
    assert report.errors == {"pictures in two splits": ["The picture '003.jpg' is in two splits, train and test."]}


def test_boxes_are_compared_with_the_upright_picture(folder):
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held upright: 96 x 128 on the disk, 128 x 96 to look at
    drawn_picture(20).save(folder / "turned.jpg", exif=turned)
    report = check_data(
        append_lines(
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


def test_labels_that_cannot_be_learned_or_evaluated_are_reported(folder):
    more = ["006.jpg,Coat,h,test,3,", '007.jpg,Tie,i,train,1,"0,0,9,9"', '007.jpg,Tie,j,train,1,"9,9,20,20"']
    drawn_picture(30).save(folder / "030.jpg")
    report = check_data(append_lines(folder, *more, "030.jpg,Sock,k,train,1,"))
    assert report.errors == {"labels without a train photo": ["'Coat' has 1 in test."]}
    assert report.warnings == {
        "labels without a val or test photo": ["'Tie' has 2 in train."],
        "labels of one photo": ["'Sock' has 1 in train."],
    }


def test_a_manifest_to_evaluate_on_needs_no_train_photos(folder):
    report = check_data(write_lines(folder, "000.jpg,Hat,a,test,1,", "001.jpg,Hat,b,test,2,"))
    assert (report.errors, report.warnings) == ({}, {})


def test_a_contributor_in_two_splits_is_one_warning(folder):
    report = check_data(append_lines(folder, "006.jpg,Hat,h,test,1,", "007.jpg,Hat,i,test,1,"))
    assert report.warnings == {"contributors in two splits": ["Contributor '1' is in test and train."]}


def test_an_empty_manifest_is_an_error_in_the_report_and_a_missing_one_is_refused(folder):
    assert check_data(write_lines(folder)).errors == {"empty manifest": ["The manifest lists no photos."]}
    for path, code in ((folder / "none.csv", "manifest_unreadable"), (folder / "000.jpg", "manifest_not_csv")):
        with raises_code(ManifestError, code, path.name):
            check_data(path)


# --- near duplicates


def random_fingerprints(rng: np.random.Generator, count: int) -> tuple[Hashes, Thumbnails]:
    """Hashes and thumbnails that differ in a few bits and levels: many pairs lie on either side of both limits."""
    bits = np.array([sum(1 << int(at) for at in rng.choice(24, 5, replace=False)) for _ in range(count)], np.uint64)
    return bits, rng.integers(100, 105, (count, 12)).astype(np.int16)


def test_near_duplicates_are_those_of_a_naive_search():
    rng = np.random.default_rng(5)
    queries, others = random_fingerprints(rng, 150), random_fingerprints(rng, 90)
    expected = {}
    for query in range(150):
        apart = {
            other: np.abs(queries[1][query] - others[1][other]).mean()
            for other in range(90)
            if int(queries[0][query] ^ others[0][other]).bit_count() <= NEAR_BITS
        }
        if apart and min(apart.values()) <= NEAR_LEVELS:
            expected[query] = min(apart.values())
    found = dict(find_near_duplicates(queries, others))
    assert found.keys() == expected.keys()
    assert 10 < len(found) < 150
    for query, other in found.items():
        assert int(queries[0][query] ^ others[0][other]).bit_count() <= NEAR_BITS
        assert np.abs(queries[1][query] - others[1][other]).mean() == expected[query]


def test_there_are_no_near_duplicates_among_no_pictures():
    some, none = random_fingerprints(np.random.default_rng(1), 3), (np.zeros(0, np.uint64), np.zeros((0, 12), np.int16))
    assert list(find_near_duplicates(some, none)) == []
    assert list(find_near_duplicates(none, some)) == []


# --- the command


def test_the_command_exits_with_0_if_there_are_only_warnings(folder, capsys):
    append_lines(folder, "006.jpg,Hat,h,test,1,")
    assert main(["check-data", "--data", str(folder / "m.csv")]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out == [
        "warning: contributors in two splits: 1",
        "    Contributor '1' is in test and train.",
        f"{folder / 'm.csv'}: 8 photos, 0 errors, 1 warnings.",
    ]


def test_the_command_lists_the_first_of_each_kind_and_exits_with_2(folder, capsys):
    append_lines(folder, *(f"none{number}.jpg,Hat,h{number},train,1," for number in range(8)))
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
    assert "none.csv" in capsys.readouterr().err
    assert main(["check-data", "--data", str(folder / "m.csv"), "--show", "-1"]) == 2
    assert "--show" in capsys.readouterr().err


def test_a_manifest_written_by_convert_passes(tmp_path, capsys):
    drawn_folder(tmp_path / "pictures" / "Hat", 30)
    assert main(["convert", "folder", str(tmp_path / "pictures"), "--out", str(tmp_path / "m.csv")]) == 0
    assert main(["check-data", "--data", str(tmp_path / "m.csv")]) == 0
    assert "30 photos, 0 errors" in capsys.readouterr().out


def test_a_picture_of_several_garments_is_read_once(folder):
    counted = []

    def count(things, what):
        counted.append((what, len(things)))
        return things

    photos = [Photo("000.jpg", "Hat", str(n), "train", {"box": f"{n},0,{n + 5},9"}) for n in range(4)]
    write_manifest(folder / "m.csv", photos)
    check_data(folder / "m.csv", count)
    assert counted == [("checking", 1)]
