"""The command `classify`; test_cli.py covers what it shares with `embed`."""

import csv
from pathlib import Path

import pytest
from PIL import Image

from ml.cli import main
from ml.inference.classifier import load_classifier
from tests.helpers.drawn_pictures import drawn_folder
from tests.helpers.error_line import error_line
from tests.helpers.small_encoder import small_encoder

LABELS = ("Hat, blue", 'Dress "long"', "Jupe plissée")
"""A comma, quotation marks and a letter beyond ASCII, which a table must quote."""


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("encoder") / "small"
    small_encoder(folder, LABELS)
    return folder


@pytest.fixture
def images(tmp_path) -> Path:
    drawn_folder(tmp_path / "images", 3)
    drawn_folder(tmp_path / "images" / "below", 1)
    return tmp_path / "images"


def classify(encoder: Path, images: Path, out: Path) -> int:
    words = ["--encoder", str(encoder), "--images", str(images), "--out", str(out)]
    return main(["classify", *words, "--runtime", "onnx", "--threads", "1"])


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_picture_gets_its_most_probable_label(encoder, images, tmp_path, capsys):
    assert classify(encoder, images, tmp_path / "out.csv") == 0
    rows = read_rows(tmp_path / "out.csv")
    assert [list(row) for row in rows] == [["name", "label", "score"]] * 4
    assert [row["name"] for row in rows] == ["000.jpg", "001.jpg", "002.jpg", "below/000.jpg"]
    expected = load_classifier(encoder, "onnx", 1).probabilities([Image.open(images / row["name"]) for row in rows])
    for row, probabilities in zip(rows, expected, strict=True):
        assert row["label"] == LABELS[probabilities.argmax()]
        assert float(row["score"]) == pytest.approx(probabilities.max(), abs=1e-5)
    assert "4 pictures labelled, 0 skipped" in capsys.readouterr().out


def test_broken_pictures_are_named_and_skipped(encoder, images, tmp_path, capsys):
    (images / "001.jpg").write_text("no picture")
    assert classify(encoder, images, tmp_path / "out.csv") == 0
    assert [row["name"] for row in read_rows(tmp_path / "out.csv")] == ["000.jpg", "002.jpg", "below/000.jpg"]
    captured = capsys.readouterr()
    assert "3 pictures labelled, 1 skipped" in captured.out
    assert "'001.jpg'" in captured.err


def test_a_folder_of_broken_pictures_is_refused_and_leaves_no_file(encoder, tmp_path, capsys):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_text("no picture")
    assert classify(encoder, tmp_path / "images", tmp_path / "out.csv") == 2
    assert repr(str(tmp_path / "images")) in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_file_names_that_are_not_utf_8_keep_their_bytes(encoder, images, tmp_path):
    picture = (images / "000.jpg").read_bytes()
    (images / "\udcff,x.jpg").write_bytes(picture)  # the byte 0xff
    assert classify(encoder, images, tmp_path / "out.csv") == 0
    assert b'"\xff,x.jpg",' in (tmp_path / "out.csv").read_bytes()


def test_a_metric_encoder_gives_no_labels(shipped_folder, images, tmp_path, capsys):
    assert classify(shipped_folder, images, tmp_path / "out.csv") == 2
    assert "a metric encoder" in error_line(capsys)
    assert not (tmp_path / "out.csv").exists()


def test_a_classifier_gives_no_embeddings(encoder, images, tmp_path, capsys):
    words = ["--encoder", str(encoder), "--images", str(images), "--out", str(tmp_path / "out.npz")]
    assert main(["embed", *words]) == 2
    assert "a classifier" in error_line(capsys)
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.parametrize("out", ["none/out.csv", "images"])
def test_an_unwritable_file_is_reported_before_any_work(encoder, images, tmp_path, capsys, out):
    assert classify(encoder, images, tmp_path / out) == 2
    assert out.split("/")[-1] in error_line(capsys)


def test_missing_inputs_are_refused_in_one_line(encoder, images, tmp_path, capsys):
    for folder, pictures, named in (
        (tmp_path / "none", images, tmp_path / "none"),
        (encoder, tmp_path / "none", tmp_path / "none"),
        (encoder, encoder, encoder),
    ):
        assert classify(folder, pictures, tmp_path / "out.csv") == 2
        assert str(named) in error_line(capsys)
