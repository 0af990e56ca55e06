from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml.data.manifest import (
    Manifest,
    ManifestError,
    Photo,
    Problem,
    data_hash,
    problems_of,
    read_leniently,
    read_manifest,
    within,
    write_manifest,
)
from ml.formats.atomic_files import UnwritableError
from ml.images.pictures import PictureError, read_picture
from tests.helpers.drawn_pictures import drawn_folder, drawn_picture

PHOTOS = (
    Photo("images/000.jpg", "Skirt", "a", "train", {"contributor": "7"}),
    Photo("images/001.jpg", "Skirt", "a", "train", {"contributor": "7"}),
    Photo("images/002.jpg", "Hat, felt", "b", "test", {"contributor": "8"}),
)


@pytest.fixture
def folder(tmp_path) -> Path:
    drawn_folder(tmp_path / "images", 3)
    return tmp_path


def written(folder: Path, text: str) -> Path:
    path = folder / "m.csv"
    path.write_text(text)
    return path


def test_what_was_written_is_read_back(folder):
    write_manifest(folder / "m.csv", PHOTOS)
    manifest = read_manifest(folder / "m.csv")
    assert manifest == Manifest(folder, PHOTOS)
    assert manifest.file(PHOTOS[0]) == folder / "images" / "000.jpg"


def test_columns_may_come_in_any_order_and_with_a_byte_order_mark(folder):
    path = written(folder, "\ufeffsplit,item,label,path\ntest,b,Hat,images/002.jpg\n")
    assert read_manifest(path).photos == (Photo("images/002.jpg", "Hat", "b", "test"),)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no column path"),
        ("path,label,split\n", "no column item"),
        ("path,label,item,split\n", "lists no photos"),
        ("path,label,item,split\nimages/000.jpg,Hat,a\n", "Line 2"),
        ("path,label,item,split\nimages/000.jpg,Hat,a,train,more\n", "Line 2"),
        ("path,label,item,split\nimages/000.jpg,,a,train\n", "Line 2"),
        ("path,label,item,split\nimages/000.jpg,Hat,a,training\n", "'training'"),
        ("path,label,item,split\nimages/009.jpg,Hat,a,train\n", "no such file"),
        ("path,label,item,split\nimages/000.jpg,Hat,a,train\nimages/000.jpg,Hat,a,train\n", "listed twice"),
        ("path,label,item,split\nimages/000.jpg,Hat,a,train\nimages/001.jpg,Hat,a,val\n", "two splits"),
        ("path,label,item,split\nimages/000.jpg,Hat,a,train\nimages/000.jpg,Hat,b,val\n", "two splits"),
        ('path,label,item,split,box\nimages/000.jpg,Hat,a,train,"1,2,3"\n', "not left,top,right,bottom"),
        ('path,label,item,split,box\nimages/000.jpg,Hat,a,train,"1,2,3,4.5"\n', "not left,top,right,bottom"),
        ('path,label,item,split,box\nimages/000.jpg,Hat,a,train,"9,2,3,4"\n', "holds nothing"),
        ('path,label,item,split,box\nimages/000.jpg,Hat,a,train,"1,4,3,4"\n', "holds nothing"),
        ('path,label,item,split\n"images/000.jpg,Hat,a,train\n', "not a CSV"),
    ],
)
def test_a_manifest_that_would_spoil_the_work_is_refused(folder, text, complaint):
    with pytest.raises(ManifestError, match=complaint):
        read_manifest(written(folder, text))


def test_a_missing_manifest_and_one_that_is_no_text_are_refused(folder):
    with pytest.raises(ManifestError, match="No such file"):
        read_manifest(folder / "none.csv")
    with pytest.raises(ManifestError, match="not a CSV"):
        read_manifest(folder / "images" / "000.jpg")


def test_nothing_is_left_where_a_manifest_cannot_be_written(folder):
    with pytest.raises(UnwritableError):
        write_manifest(folder / "images", PHOTOS)
    with pytest.raises(UnwritableError):
        write_manifest(folder / "none" / "m.csv", PHOTOS)
    with pytest.raises(KeyError):
        write_manifest(folder / "m.csv", [PHOTOS[0], replace(PHOTOS[1], more={})])
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
    photos = read_manifest(written(folder, "\n".join([heading, *rows]))).photos
    assert [photo.box for photo in photos] == [(0, 0, 9, 9), (0, 0, 9, 20), None]
    with pytest.raises(ManifestError, match="listed twice with one box"):
        read_manifest(written(folder, "\n".join([heading, *rows, rows[0]])))


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
def test_a_box_outside_of_its_picture_cannot_be_read(folder, box):
    with pytest.raises(PictureError, match=r"The box of 'images/000.jpg' lies outside"):
        Manifest(folder, ()).read(Photo("images/000.jpg", "Hat", "a", "train", {"box": box}))


def test_a_broken_picture_cannot_be_read(folder):
    (folder / "images" / "000.jpg").write_bytes(b"x")
    with pytest.raises(PictureError, match=r"000\.jpg"):
        Manifest(folder, PHOTOS).read(PHOTOS[0])


def test_a_box_is_cut_to_a_picture_pixel_by_pixel():
    """Against the dumbest possible way: mark the box on a large sheet and look what lies in the picture."""
    rng = np.random.default_rng(3)
    for _ in range(300):
        left, top = rng.integers(-6, 12, 2).tolist()
        box = (left, top, left + int(rng.integers(1, 9)), top + int(rng.integers(1, 9)))
        sheet = np.zeros((40, 40), dtype=bool)
        sheet[box[1] + 10 : box[3] + 10, box[0] + 10 : box[2] + 10] = True
        rows, columns = np.nonzero(sheet[10:17, 10:15])  # a picture 5 wide and 7 high
        expected = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if len(rows) else None
        assert within(box, (5, 7)) == expected


# --- everything that is wrong, not only the first


def test_lines_that_cannot_be_understood_are_told_and_the_others_are_kept(folder):
    text = "path,label,item,split\nimages/000.jpg,Hat\nimages/001.jpg,Hat,b,dev\nimages/002.jpg,,c,test\n"
    manifest, broken = read_leniently(written(folder, text))
    assert [photo.path for photo in manifest.photos] == ["images/001.jpg"]
    assert [problem.kind for problem in broken] == ["broken lines"] * 2
    assert ["Line 2" in broken[0].text, "Line 4" in broken[1].text] == [True, True]


def test_an_item_on_both_sides_is_told_once_however_many_photos_it_has(folder):
    photos = [replace(photo, path=f"images/00{n % 3}.jpg", item="a") for n, photo in enumerate(PHOTOS)]
    photos += [replace(PHOTOS[2], path="images/009.jpg", item="a")]
    assert list(problems_of(Manifest(folder, tuple(photos)))) == [
        Problem("items on both sides", "The item 'a' is in two splits, train and test."),
        Problem("missing files", "'images/009.jpg' is listed, but there is no such file."),
    ]


def test_the_data_hash_knows_boxes_and_pictures_of_one_name(folder, tmp_path_factory):
    boxed = [replace(PHOTOS[0], more={"box": "0,0,9,9"}), replace(PHOTOS[0], more={"box": "0,0,9,8"})]
    manifest = Manifest(folder, ())
    assert data_hash(manifest, boxed) == data_hash(manifest, boxed[::-1])
    assert data_hash(manifest, boxed[:1]) not in (data_hash(manifest, boxed[1:]), data_hash(manifest, PHOTOS[:1]))
    assert data_hash(manifest, [replace(PHOTOS[0], more={"box": ""})]) == data_hash(manifest, PHOTOS[:1])
    (folder / "more").mkdir()
    drawn_picture(50).save(folder / "more" / "000.jpg")
    namesakes = [PHOTOS[0], replace(PHOTOS[0], path="more/000.jpg")]
    assert data_hash(manifest, namesakes) == data_hash(manifest, namesakes[::-1])
