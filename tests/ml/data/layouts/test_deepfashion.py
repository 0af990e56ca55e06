"""The three benchmarks of DeepFashion that come as text lists, each as a tiny copy written by hand."""

from pathlib import Path

import pytest

from ml.data.layouts import deepfashion_consumer2shop, deepfashion_inshop, deepfashion_landmark
from ml.data.layouts.deepfashion_lists import read_list
from ml.data.layouts.source_files import ConversionError
from ml.data.layouts.splits import val_by_hash
from ml.data.manifest import Manifest, validate_manifest
from tests.helpers.drawn_pictures import drawn_picture

LANDMARK_PLACES = " ".join(f"landmark_visibility_{n} landmark_location_x_{n} landmark_location_y_{n}" for n in range(9))


def text_list(path: Path, heading: str, *rows: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([str(len(rows)), heading, *rows]) + "\n")


def pictures(folder: Path, *names: str) -> None:
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        drawn_picture(seed).save(folder / name)


# --- landmark

LANDMARK_PICTURES = ("img/img_00000001.jpg", "img/img_00000002.jpg", "img/img_00000003.jpg")


def landmark_lists(anno: Path, evaluation: Path) -> None:
    one, two, three = LANDMARK_PICTURES
    boxes = (f"{one} 007 010 060 100", f"{two} 5 5 9 9", f"{three} 0 0 96 128")
    text_list(anno / "list_bbox.txt", "image_name  x_1  y_1  x_2  y_2", *boxes)
    text_list(
        anno / "list_landmarks.txt",
        f"image_name clothes_type variation_type {LANDMARK_PLACES}",
        f"{one}    1 1 0 010 020 0 030 040 1 000 000",
        f"{two}    2 5 0 010 020 0 030 040",
        f"{three}  3 2 0 010 020 0 030 040 1 000 000 2 000 000",
    )
    text_list(
        evaluation / "list_eval_partition.txt",
        "image_name evaluation_status",
        f"{one}    train",
        f"{two}    val",
        f"{three}  test",
    )


@pytest.fixture
def landmark(tmp_path) -> Path:
    pictures(tmp_path, *LANDMARK_PICTURES)
    landmark_lists(tmp_path / "Anno", tmp_path / "Eval")
    return tmp_path


def test_clothes_types_become_labels_and_boxes_are_kept(landmark):
    photos = deepfashion_landmark.convert(landmark, landmark, subset=True)
    assert [(photo.path, photo.label, photo.split) for photo in photos] == [
        ("img/img_00000001.jpg", "upper", "train"),
        ("img/img_00000002.jpg", "lower", "val"),
        ("img/img_00000003.jpg", "full", "test"),
    ]
    assert photos[0].extra == {"variation": "normal", "box": "7,10,60,100"}
    assert photos[1].extra["variation"] == "large zoom-in"
    manifest = Manifest(landmark, tuple(photos))
    validate_manifest(manifest)
    assert manifest.read(photos[0]).size == (53, 90)


def test_lists_in_the_root_and_pictures_below_img_are_found_too(tmp_path):
    pictures(tmp_path / "Img", *LANDMARK_PICTURES)
    landmark_lists(tmp_path, tmp_path)
    photos = deepfashion_landmark.convert(tmp_path, tmp_path, subset=True)
    assert photos[2].path == "Img/img/img_00000003.jpg"


def test_a_part_is_refused_unless_it_is_meant(landmark):
    with pytest.raises(ConversionError, match="There are 3 photos, published are 123,016"):
        deepfashion_landmark.convert(landmark, landmark)


@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        ("Eval/list_eval_partition.txt", " val", " dev", "unknown split 'dev'"),
        ("Eval/list_eval_partition.txt", "00000002", "00000001", "'img/img_00000001.jpg' is listed twice"),
        ("Eval/list_eval_partition.txt", "00000002", "00000009", "'img/img_00000009.jpg' has no landmarks"),
        ("Anno/list_bbox.txt", "00000002", "00000009", "'img/img_00000002.jpg' has no box"),
        ("Anno/list_bbox.txt", "5 5 9 9", "5 5 9 nine", "'img/img_00000002.jpg' has a box that is no four numbers"),
        ("Anno/list_landmarks.txt", "    2 5", "    4 5", "unknown clothes type '4'"),
        ("Anno/list_landmarks.txt", "clothes_type", "type", "no column clothes_type"),
        ("Anno/list_bbox.txt", "5 5 9 9", "5 5", "Line 4 .* too few fields"),
        ("Anno/list_bbox.txt", "3\n", "three\n", "does not begin with"),
    ],
)
def test_a_landmark_list_that_breaks_its_promise_is_refused(landmark, file, old, new, complaint):
    text = (landmark / file).read_text()
    assert old in text
    (landmark / file).write_text(text.replace(old, new, 1))
    with pytest.raises(ConversionError, match=complaint):
        deepfashion_landmark.convert(landmark, landmark, subset=True)


def test_a_listed_picture_that_is_not_there_is_named(landmark):
    (landmark / LANDMARK_PICTURES[1]).unlink()
    with pytest.raises(ConversionError, match=r"'img/img_00000002.jpg' is listed, but there is no such file"):
        deepfashion_landmark.convert(landmark, landmark, subset=True)


# --- in-shop

INSHOP = {
    "img/WOMEN/Dresses/id_00000001/01_1_front.jpg": ("id_00000001", "train"),
    "img/WOMEN/Dresses/id_00000001/01_2_side.jpg": ("id_00000001", "train"),
    "img/MEN/Denim/id_00000002/02_1_front.jpg": ("id_00000002", "query"),
    "img/MEN/Denim/id_00000002/02_3_back.jpg": ("id_00000002", "gallery"),
}


@pytest.fixture
def inshop(tmp_path) -> Path:
    pictures(tmp_path, *INSHOP)
    rows = [f"{name:<60} {item} {status}" for name, (item, status) in INSHOP.items()]
    text_list(tmp_path / "Eval" / "list_eval_partition.txt", "image_name item_id evaluation_status", *rows)
    return tmp_path


def test_query_and_gallery_are_the_test_split_with_their_roles(inshop):
    photos = deepfashion_inshop.convert(inshop, inshop, subset=True)
    drawn = val_by_hash("id_00000001")
    assert [(photo.label, photo.item, photo.split, photo.extra["role"]) for photo in photos] == [
        ("Dresses", "id_00000001", drawn, ""),
        ("Dresses", "id_00000001", drawn, ""),
        ("Denim", "id_00000002", "test", "query"),
        ("Denim", "id_00000002", "test", "gallery"),
    ]
    assert photos[2].extra == {"gender": "MEN", "role": "query", "group": "", "box": ""}
    validate_manifest(Manifest(inshop, tuple(photos)))


def test_the_list_of_boxes_is_used_where_it_is_there(inshop):
    rows = [f"{name} {number % 3 + 1} 1 {number} 0 50 60" for number, name in enumerate(INSHOP)]
    heading = "image_name clothes_type pose_type x_1 y_1 x_2 y_2"
    text_list(inshop / "Anno" / "list_bbox_inshop.txt", heading, *rows)
    photos = deepfashion_inshop.convert(inshop, inshop, subset=True)
    assert [(photo.extra["group"], photo.extra["box"]) for photo in photos[:3]] == [
        ("upper", "0,0,50,60"),
        ("lower", "1,0,50,60"),
        ("full", "2,0,50,60"),
    ]
    text_list(inshop / "Anno" / "list_bbox_inshop.txt", heading, *rows[:3])
    with pytest.raises(ConversionError, match=r"'img/MEN/Denim/id_00000002/02_3_back.jpg' has no box"):
        deepfashion_inshop.convert(inshop, inshop, subset=True)


def test_an_item_on_both_sides_is_named(inshop):
    file = inshop / "Eval" / "list_eval_partition.txt"
    file.write_text(file.read_text().replace("id_00000002 query", "id_00000001 query"))
    with pytest.raises(ConversionError, match=r"The item 'id_00000001' is in two splits, (train|val) and test"):
        deepfashion_inshop.convert(inshop, inshop, subset=True)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("query", "probe", "unknown status 'probe'"),
        ("img/MEN/Denim/id_00000002/02_1_front.jpg", "img/02_1_front.jpg", "no folder of a gender"),
        ("02_3_back", "02_1_front", "is listed twice"),
    ],
)
def test_an_inshop_list_that_breaks_its_promise_is_refused(inshop, old, new, complaint):
    file = inshop / "Eval" / "list_eval_partition.txt"
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(ConversionError, match=complaint):
        deepfashion_inshop.convert(inshop, inshop, subset=True)


def test_the_published_counts_of_inshop_are_asked_for(inshop, monkeypatch):
    with pytest.raises(ConversionError, match="4 photos, published are 52,712"):
        deepfashion_inshop.convert(inshop, inshop)
    monkeypatch.setattr(deepfashion_inshop, "PHOTOS", 4)
    with pytest.raises(ConversionError, match="2 items, published are 7,982"):
        deepfashion_inshop.convert(inshop, inshop)
    monkeypatch.setattr(deepfashion_inshop, "ITEMS", 2)
    assert len(deepfashion_inshop.convert(inshop, inshop)) == 4


# --- consumer-to-shop

SHIRT, DRESS = "img/TOPS/T_Shirt/id_00000218", "img/DRESSES/Dress/id_00000300"
PAIRS = (
    f"{SHIRT}/comsumer_01.jpg {SHIRT}/shop_01.jpg   id_00000218 train",
    f"{SHIRT}/comsumer_02.jpg {SHIRT}/shop_01.jpg   id_00000218 train",
    f"{DRESS}/comsumer_01.jpg {DRESS}/shop_02.jpg   id_00000300 test",
)
PAIR_HEADING = "image_pair_name_1 image_pair_name_2 item_id evaluation_status"


@pytest.fixture
def shop(tmp_path) -> Path:
    pictures(tmp_path, *dict.fromkeys(name for pair in PAIRS for name in pair.split()[:2]))
    text_list(tmp_path / "Eval" / "list_eval_partition.txt", PAIR_HEADING, *PAIRS)
    return tmp_path


def test_each_photo_of_the_pairs_is_one_row_grouped_by_item(shop):
    photos = deepfashion_consumer2shop.convert(shop, shop, subset=True)
    assert [(photo.path.rsplit("/")[-1], photo.label, photo.item, photo.split) for photo in photos] == [
        ("comsumer_01.jpg", "T_Shirt", "id_00000218", "train"),
        ("shop_01.jpg", "T_Shirt", "id_00000218", "train"),
        ("comsumer_02.jpg", "T_Shirt", "id_00000218", "train"),
        ("comsumer_01.jpg", "Dress", "id_00000300", "test"),
        ("shop_02.jpg", "Dress", "id_00000300", "test"),
    ]
    assert [photo.extra["source"] for photo in photos[:3]] == ["consumer", "shop", "consumer"]
    validate_manifest(Manifest(shop, tuple(photos)))


@pytest.mark.parametrize(
    ("pair", "complaint"),
    [
        (f"{DRESS}/comsumer_01.jpg {DRESS}/shop_02.jpg id_00000300 dev", "unknown split 'dev'"),
        (
            f"{DRESS}/comsumer_01.jpg {DRESS}/shop_02.jpg id_00000300 val",
            "'id_00000300' is in two splits, test and val",
        ),
        (f"{SHIRT}/shop_01.jpg {DRESS}/shop_02.jpg id_00000300 test", "shop_01.jpg' is listed as id_00000218"),
        ("img/a.jpg img/b.jpg id_00000301 test", "'img/a.jpg' lies in no folder"),
        (f"{DRESS}/comsumer_07.jpg {DRESS}/shop_02.jpg id_00000300 test", "no such file"),
    ],
)
def test_pairs_that_contradict_each_other_are_refused(shop, pair, complaint):
    text_list(shop / "Eval" / "list_eval_partition.txt", PAIR_HEADING, *PAIRS, pair)
    with pytest.raises(ConversionError, match=complaint):
        deepfashion_consumer2shop.convert(shop, shop, subset=True)


def test_the_published_counts_of_consumer_to_shop_are_asked_for(shop, monkeypatch):
    with pytest.raises(ConversionError, match="5 photos, published are 239,557"):
        deepfashion_consumer2shop.convert(shop, shop)
    monkeypatch.setattr(deepfashion_consumer2shop, "PHOTOS", 5)
    with pytest.raises(ConversionError, match="2 items, published are 33,881"):
        deepfashion_consumer2shop.convert(shop, shop)
    monkeypatch.setattr(deepfashion_consumer2shop, "ITEMS", 2)
    assert len(deepfashion_consumer2shop.convert(shop, shop)) == 5


# --- the lists


def test_a_list_that_was_cut_off_is_told_by_its_first_line(tmp_path):
    text_list(tmp_path / "list.txt", "image_name x", "a 1", "b 2", "c 3")
    lines = (tmp_path / "list.txt").read_text().splitlines()
    (tmp_path / "list.txt").write_text("\n".join(lines[:-1]))
    with pytest.raises(ConversionError, match="announces 3 rows and has 2"):
        read_list(tmp_path / "list.txt", ("image_name",))
    assert read_list(tmp_path / "list.txt", ("x",), subset=True) == [{"x": "1"}, {"x": "2"}]


def test_a_list_that_is_no_text_is_refused(tmp_path):
    drawn_picture(1).save(tmp_path / "list.txt", "PNG")
    with pytest.raises(ConversionError, match="not a text"):
        read_list(tmp_path / "list.txt", ("image_name",))
