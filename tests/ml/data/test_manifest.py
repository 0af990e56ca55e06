from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml.data.manifest import (
    Manifest,
    ManifestProblem,
    Photo,
    clip_box,
    data_hash,
    find_problems,
    read_manifest,
    read_valid_lines,
    write_manifest,
)
from ml.formats.atomic_files import UnwritableError
from ml.formats.manifest_csv import ManifestError
from ml.images.pictures import PictureError, read_picture
from tests.helpers.drawn_pictures import drawn_folder, drawn_picture
from tests.helpers.errors import raises_code

PHOTOS = (
    Photo("images/000.jpg", "Skirt", "a", "train", {"contributor": "7"}),
    Photo("images/001.jpg", "Skirt", "a", "train", {"contributor": "7"}),
    Photo("images/002.jpg", "Hat, felt", "b", "test", {"contributor": "8"}),
)


@pytest.fixture
def folder(tmp_path) -> Path:
    drawn_folder(tmp_path / "images", 3)
    return tmp_path


def write_text(folder: Path, text: str) -> Path:
    path = folder / "m.csv"
    path.write_text(text)
    return path


def test_a_written_manifest_is_read_back(folder):
    write_manifest(folder / "m.csv", PHOTOS)
    manifest = read_manifest(folder / "m.csv")
    assert manifest == Manifest(folder, PHOTOS)
    assert manifest.file(PHOTOS[0]) == folder / "images" / "000.jpg"


@pytest.mark.parametrize(
    ("lines", "code", "value"),
    [
        ("", "manifest_empty", ""),
        ("images/000.jpg,Hat,a,\n", "line_malformed", "Line 2"),
        ("images/000.jpg,Hat,a,training,\n", "split_unknown", "'training'"),
        ("images/009.jpg,Hat,a,train,\n", "file_missing", "images/009.jpg"),
        ("images/000.jpg,Hat,a,train,\nimages/000.jpg,Hat,a,train,\n", "photo_listed_twice", "images/000.jpg"),
        ("images/000.jpg,Hat,a,train,\nimages/001.jpg,Hat,a,val,\n", "splits_overlap", "item 'a'"),
        ("images/000.jpg,Hat,a,train,\nimages/000.jpg,Hat,b,val,\n", "splits_overlap", "picture 'images/000.jpg'"),
        ('images/000.jpg,Hat,a,train,"1,2,3"\n', "box_malformed", "'1,2,3'"),
        ('images/000.jpg,Hat,a,train,"1,2,3,4.5"\n', "box_malformed", "'1,2,3,4.5'"),
        ('images/000.jpg,Hat,a,train,"9,2,3,4"\n', "box_empty", "'9,2,3,4'"),
        ('images/000.jpg,Hat,a,train,"1,4,3,4"\n', "box_empty", "'1,4,3,4'"),
    ],
)
def test_a_manifest_that_would_spoil_the_work_is_refused(folder, lines, code, value):
    with raises_code(ManifestError, code, value):
        read_manifest(write_text(folder, "path,label,item,split,box\n" + lines))


def test_nothing_is_left_where_a_manifest_cannot_be_written(folder):
    with pytest.raises(UnwritableError):
        write_manifest(folder / "images", PHOTOS)
    with pytest.raises(UnwritableError):
        write_manifest(folder / "none" / "m.csv", PHOTOS)
    with pytest.raises(KeyError):
        write_manifest(folder / "m.csv", [PHOTOS[0], replace(PHOTOS[1], extra={})])
    assert {path.name for path in folder.iterdir()} == {"images"}


def test_the_data_hash_depends_on_bytes_and_labels_but_not_on_order_or_place(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    drawn_folder(elsewhere, 3)
    moved = [replace(photo, path=Path(photo.path).name) for photo in PHOTOS]
    first = data_hash(Manifest(folder, PHOTOS), PHOTOS)
    assert data_hash(Manifest(elsewhere, tuple(moved)), moved[::-1]) == first
    assert data_hash(Manifest(folder, PHOTOS), PHOTOS[:2]) != first
    assert data_hash(Manifest(folder, PHOTOS), [*PHOTOS[:2], replace(PHOTOS[2], label="Hat")]) != first
    (folder / "images" / "002.jpg").write_bytes(b"x")
    assert data_hash(Manifest(folder, PHOTOS), PHOTOS) != first


# --- boxes


def test_a_picture_may_be_listed_once_for_each_of_its_boxes(folder):
    rows = (
        'images/000.jpg,Hat,a,train,"0,0,9,9"',
        'images/000.jpg,Coat,b,train,"0,0,9,20"',
        "images/001.jpg,Hat,c,val,",
    )
    heading = "path,label,item,split,box"
    photos = read_manifest(write_text(folder, "\n".join([heading, *rows]))).photos
    assert [photo.box for photo in photos] == [(0, 0, 9, 9), (0, 0, 9, 20), None]
    with raises_code(ManifestError, "photo_listed_twice", "images/000.jpg", "one box"):
        read_manifest(write_text(folder, "\n".join([heading, *rows, rows[0]])))


def test_reading_crops_to_the_box_of_the_upright_picture(folder):
    turned = Image.Exif()
    turned[0x0112] = 6
    drawn_picture(9, (60, 40)).save(folder / "turned.jpg", exif=turned)
    manifest = Manifest(folder, ())
    whole = manifest.read(Photo("turned.jpg", "Hat", "a", "train"))
    assert (whole.mode, whole.size) == ("RGB", (40, 60))
    part = manifest.read(Photo("turned.jpg", "Hat", "a", "train", {"box": "5,10,35,60"}))
    assert np.array_equal(np.asarray(part), np.asarray(read_picture(folder / "turned.jpg"))[10:60, 5:35])


def test_a_box_over_the_edge_ends_at_the_edge(folder):
    photo = Photo("images/000.jpg", "Hat", "a", "train", {"box": "-10,-10,20,999"})
    assert Manifest(folder, (photo,)).read(photo).size == (20, 128)


@pytest.mark.parametrize("box", ["96,0,120,20", "0,128,20,140", "-9,-9,0,20"])
def test_a_box_outside_its_picture_cannot_be_read(folder, box):
    with raises_code(PictureError, "box_outside", "images/000.jpg"):
        Manifest(folder, ()).read(Photo("images/000.jpg", "Hat", "a", "train", {"box": box}))


def test_a_broken_picture_cannot_be_read(folder):
    (folder / "images" / "000.jpg").write_bytes(b"x")
    with raises_code(PictureError, "picture_unreadable", "000.jpg"):
        Manifest(folder, PHOTOS).read(PHOTOS[0])


def test_a_box_is_clipped_to_the_picture():
    """Against a naive implementation: mark the box in a large array and cut the picture out of it."""
    rng = np.random.default_rng(3)
    for _ in range(300):
        left, top = rng.integers(-6, 12, 2).tolist()
        box = (left, top, left + int(rng.integers(1, 9)), top + int(rng.integers(1, 9)))
        canvas = np.zeros((40, 40), dtype=bool)
        canvas[box[1] + 10 : box[3] + 10, box[0] + 10 : box[2] + 10] = True
        rows, columns = np.nonzero(canvas[10:17, 10:15])  # a picture 5 wide and 7 high
        expected = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if len(rows) else None
        assert clip_box(box, (5, 7)) == expected


# --- all problems, not only the first


def test_malformed_lines_are_reported_and_the_others_are_read(folder):
    text = "path,label,item,split\nimages/000.jpg,Hat\nimages/001.jpg,Hat,b,dev\nimages/002.jpg,,c,test\n"
    manifest, problems = read_valid_lines(write_text(folder, text))
    assert [photo.path for photo in manifest.photos] == ["images/001.jpg"]
    assert [(problem.kind, problem.code) for problem in problems] == [
        ("malformed lines", "line_malformed"),
        ("malformed lines", "value_empty"),
    ]
    assert ["Line 2" in problems[0].text, "Line 4" in problems[1].text] == [True, True]


def test_an_item_in_two_splits_is_reported_once_for_all_its_photos(folder):
    photos = [replace(photo, path=f"images/00{n % 3}.jpg", item="a") for n, photo in enumerate(PHOTOS)]
    photos += [replace(PHOTOS[2], path="images/009.jpg", item="a")]
    assert list(find_problems(Manifest(folder, tuple(photos)))) == [
        ManifestProblem("items in two splits", "The item 'a' is in two splits, train and test.", "splits_overlap"),
        ManifestProblem("missing files", "'images/009.jpg' is listed, but there is no such file.", "file_missing"),
    ]


def test_the_data_hash_covers_boxes_and_pictures_of_one_name(folder, tmp_path_factory):
    boxed = [replace(PHOTOS[0], extra={"box": "0,0,9,9"}), replace(PHOTOS[0], extra={"box": "0,0,9,8"})]
    manifest = Manifest(folder, ())
    assert data_hash(manifest, boxed) == data_hash(manifest, boxed[::-1])
    assert data_hash(manifest, boxed[:1]) not in (data_hash(manifest, boxed[1:]), data_hash(manifest, PHOTOS[:1]))
    assert data_hash(manifest, [replace(PHOTOS[0], extra={"box": ""})]) == data_hash(manifest, PHOTOS[:1])
    (folder / "more").mkdir()
    drawn_picture(50).save(folder / "more" / "000.jpg")
    namesakes = [PHOTOS[0], replace(PHOTOS[0], path="more/000.jpg")]
    assert data_hash(manifest, namesakes) == data_hash(manifest, namesakes[::-1])
