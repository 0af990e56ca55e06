"""The three DeepFashion benchmarks with text lists, each as a tiny copy."""

from pathlib import Path

import pytest

from ml.data.layouts import deepfashion_consumer2shop, deepfashion_inshop, deepfashion_landmark
from ml.data.layouts.deepfashion_lists import read_list
from ml.data.layouts.source_files import ConversionError
from ml.data.layouts.splits import val_by_hash
from ml.data.manifest import Manifest, validate_manifest
from tests.helpers.drawn_pictures import drawn_picture
from tests.helpers.errors import raises_code

LANDMARK_PLACES = " ".join(f"landmark_visibility_{n} landmark_location_x_{n} landmark_location_y_{n}" for n in range(9))


def write_list(path: Path, heading: str, *rows: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([str(len(rows)), heading, *rows]) + "\n")


def write_pictures(folder: Path, *names: str) -> None:
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        drawn_picture(seed).save(folder / name)


# --- landmark

LANDMARK_PICTURES = ("img/img_00000001.jpg", "img/img_00000002.jpg", "img/img_00000003.jpg")


def write_landmark_lists(anno: Path, evaluation: Path) -> None:
    one, two, three = LANDMARK_PICTURES
    boxes = (f"{one} 007 010 060 100", f"{two} 5 5 9 9", f"{three} 0 0 96 128")
    write_list(anno / "list_bbox.txt", "image_name  x_1  y_1  x_2  y_2", *boxes)
    write_list(
        anno / "list_landmarks.txt",
        f"image_name clothes_type variation_type {LANDMARK_PLACES}",
        f"{one}    1 1 0 010 020 0 030 040 1 000 000",
        f"{two}    2 5 0 010 020 0 030 040",
        f"{three}  3 2 0 010 020 0 030 040 1 000 000 2 000 000",
    )
    write_list(
        evaluation / "list_eval_partition.txt",
        "image_name evaluation_status",
        f"{one}    train",
        f"{two}    val",
        f"{three}  test",
    )


@pytest.fixture
def landmark(tmp_path) -> Path:
    write_pictures(tmp_path, *LANDMARK_PICTURES)
    write_landmark_lists(tmp_path / "Anno", tmp_path / "Eval")
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


def test_lists_in_the_source_folder_and_pictures_below_img_are_found(tmp_path):
    write_pictures(tmp_path / "Img", *LANDMARK_PICTURES)
    write_landmark_lists(tmp_path, tmp_path)
    photos = deepfashion_landmark.convert(tmp_path, tmp_path, subset=True)
    assert photos[2].path == "Img/img/img_00000003.jpg"


def test_a_part_of_the_photos_is_refused_without_subset(landmark):
    with raises_code(ConversionError, "count_mismatch", "3 photos", "123,016"):
        deepfashion_landmark.convert(landmark, landmark)


@pytest.mark.parametrize(
    ("file", "old", "new", "code", "value"),
    [
        ("Eval/list_eval_partition.txt", " val", " dev", "split_unknown", "'dev'"),
        ("Eval/list_eval_partition.txt", "00000002", "00000001", "listed_twice", "img/img_00000001.jpg"),
        (
            "Eval/list_eval_partition.txt",
            "00000002",
            "00000009",
            "row_missing",
            "'img/img_00000009.jpg' has no landmarks",
        ),
        ("Anno/list_bbox.txt", "00000002", "00000009", "row_missing", "'img/img_00000002.jpg' has no box"),
        ("Anno/list_bbox.txt", "5 5 9 9", "5 5 9 nine", "box_malformed", "img/img_00000002.jpg"),
        ("Anno/list_landmarks.txt", "    2 5", "    4 5", "clothes_type_unknown", "'4'"),
        ("Anno/list_landmarks.txt", "clothes_type", "type", "column_missing", "clothes_type"),
        ("Anno/list_bbox.txt", "5 5 9 9", "5 5", "list_malformed", "Line 4"),
        ("Anno/list_bbox.txt", "3\n", "three\n", "list_malformed", "list_bbox.txt"),
    ],
)
def test_an_inconsistent_landmark_list_is_refused(landmark, file, old, new, code, value):
    text = (landmark / file).read_text()
    assert old in text
    (landmark / file).write_text(text.replace(old, new, 1))
    with raises_code(ConversionError, code, value):
        deepfashion_landmark.convert(landmark, landmark, subset=True)


def test_a_missing_picture_is_refused(landmark):
    (landmark / LANDMARK_PICTURES[1]).unlink()
    with raises_code(ConversionError, "file_missing", "img/img_00000002.jpg"):
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
    write_pictures(tmp_path, *INSHOP)
    rows = [f"{name:<60} {item} {status}" for name, (item, status) in INSHOP.items()]
    write_list(tmp_path / "Eval" / "list_eval_partition.txt", "image_name item_id evaluation_status", *rows)
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


def test_the_optional_list_of_boxes_is_used(inshop):
    rows = [f"{name} {number % 3 + 1} 1 {number} 0 50 60" for number, name in enumerate(INSHOP)]
    heading = "image_name clothes_type pose_type x_1 y_1 x_2 y_2"
    write_list(inshop / "Anno" / "list_bbox_inshop.txt", heading, *rows)
    photos = deepfashion_inshop.convert(inshop, inshop, subset=True)
    assert [(photo.extra["group"], photo.extra["box"]) for photo in photos[:3]] == [
        ("upper", "0,0,50,60"),
        ("lower", "1,0,50,60"),
        ("full", "2,0,50,60"),
    ]
    write_list(inshop / "Anno" / "list_bbox_inshop.txt", heading, *rows[:3])
    with raises_code(ConversionError, "row_missing", "img/MEN/Denim/id_00000002/02_3_back.jpg"):
        deepfashion_inshop.convert(inshop, inshop, subset=True)


def test_an_item_in_two_splits_is_refused(inshop):
    file = inshop / "Eval" / "list_eval_partition.txt"
    file.write_text(file.read_text().replace("id_00000002 query", "id_00000001 query"))
    with raises_code(ConversionError, "splits_overlap", "'id_00000001'", "and test"):
        deepfashion_inshop.convert(inshop, inshop, subset=True)


@pytest.mark.parametrize(
    ("old", "new", "code", "value"),
    [
        ("query", "probe", "status_unknown", "'probe'"),
        ("img/MEN/Denim/id_00000002/02_1_front.jpg", "img/02_1_front.jpg", "folder_missing", "img/02_1_front.jpg"),
        ("02_3_back", "02_1_front", "listed_twice", "02_1_front"),
    ],
)
def test_an_inconsistent_inshop_list_is_refused(inshop, old, new, code, value):
    file = inshop / "Eval" / "list_eval_partition.txt"
    file.write_text(file.read_text().replace(old, new, 1))
    with raises_code(ConversionError, code, value):
        deepfashion_inshop.convert(inshop, inshop, subset=True)


def test_the_published_counts_of_inshop_are_required(inshop, monkeypatch):
    with raises_code(ConversionError, "count_mismatch", "4 photos", "52,712"):
        deepfashion_inshop.convert(inshop, inshop)
    monkeypatch.setattr(deepfashion_inshop, "PHOTOS", 4)
    with raises_code(ConversionError, "count_mismatch", "2 items", "7,982"):
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
    write_pictures(tmp_path, *dict.fromkeys(name for pair in PAIRS for name in pair.split()[:2]))
    write_list(tmp_path / "Eval" / "list_eval_partition.txt", PAIR_HEADING, *PAIRS)
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
    ("pair", "code", "value"),
    [
        (f"{DRESS}/comsumer_01.jpg {DRESS}/shop_02.jpg id_00000300 dev", "split_unknown", "'dev'"),
        (
            f"{DRESS}/comsumer_01.jpg {DRESS}/shop_02.jpg id_00000300 val",
            "splits_overlap",
            "'id_00000300' is in two splits, test and val",
        ),
        (
            f"{SHIRT}/shop_01.jpg {DRESS}/shop_02.jpg id_00000300 test",
            "rows_contradict",
            "shop_01.jpg' is listed as id_00000218",
        ),
        ("img/a.jpg img/b.jpg id_00000301 test", "folder_missing", "'img/a.jpg'"),
        (f"{DRESS}/comsumer_07.jpg {DRESS}/shop_02.jpg id_00000300 test", "file_missing", "comsumer_07.jpg"),
    ],
)
def test_inconsistent_pairs_are_refused(shop, pair, code, value):
    write_list(shop / "Eval" / "list_eval_partition.txt", PAIR_HEADING, *PAIRS, pair)
    with raises_code(ConversionError, code, value):
        deepfashion_consumer2shop.convert(shop, shop, subset=True)


def test_the_published_counts_of_consumer_to_shop_are_required(shop, monkeypatch):
    with raises_code(ConversionError, "count_mismatch", "5 photos", "239,557"):
        deepfashion_consumer2shop.convert(shop, shop)
    monkeypatch.setattr(deepfashion_consumer2shop, "PHOTOS", 5)
    with raises_code(ConversionError, "count_mismatch", "2 items", "33,881"):
        deepfashion_consumer2shop.convert(shop, shop)
    monkeypatch.setattr(deepfashion_consumer2shop, "ITEMS", 2)
    assert len(deepfashion_consumer2shop.convert(shop, shop)) == 5


# --- the lists


def test_a_truncated_list_is_detected_by_its_first_line(tmp_path):
    write_list(tmp_path / "list.txt", "image_name x", "a 1", "b 2", "c 3")
    lines = (tmp_path / "list.txt").read_text().splitlines()
    (tmp_path / "list.txt").write_text("\n".join(lines[:-1]))
    with raises_code(ConversionError, "count_mismatch", "3 rows", "2"):
        read_list(tmp_path / "list.txt", ("image_name",))
    assert read_list(tmp_path / "list.txt", ("x",), subset=True) == [{"x": "1"}, {"x": "2"}]


def test_a_binary_file_is_refused_as_a_list(tmp_path):
    drawn_picture(1).save(tmp_path / "list.txt", "PNG")
    with raises_code(ConversionError, "file_unreadable", "list.txt"):
        read_list(tmp_path / "list.txt", ("image_name",))
