from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml.cli import main
from ml.data.manifest import Photo, write_manifest
from ml.encoder.card import Card
from ml.encoder.folder import check_folder, read_weights
from ml.inference.embedder import load_embedder
from tests.helpers.drawn_pictures import drawn_folder
from tests.helpers.error_line import error_line

REAL_BACKBONE = True


def fit(*words: str) -> int:
    return main(["fit-pretrained", *words, "--threads", "1"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A manifest of twelve drawn pictures and the encoder that the command builds from it."""
    folder = tmp_path_factory.mktemp("fit")
    paths = drawn_folder(folder / "images", 12)
    photos = [
        Photo(f"images/{path.name}", "even" if at % 2 else "odd", path.stem, "train" if at < 8 else "test")
        for at, path in enumerate(paths)
    ]
    write_manifest(folder / "drawn.csv", photos)
    words = ["--data", str(folder / "drawn.csv"), "--out", str(folder / "lite0-pca4"), "--embedding-size", "4"]
    assert fit(*words, "--about-data", "drawn pictures") == 0
    return folder


@pytest.fixture(scope="module")
def card(folder) -> Card:
    return check_folder(folder / "lite0-pca4")


def test_the_command_writes_a_folder_that_embeds(folder, card):
    embedder = load_embedder(folder / "lite0-pca4", "onnx", threads=1)
    pictures = [Image.open(path) for path in sorted((folder / "images").iterdir())]
    vectors = embedder.embed(pictures)
    assert vectors.shape == (12, 4)
    assert card.name == "lite0-pca4"


def test_the_card_has_the_command_line_without_paths_of_this_machine(folder, card):
    assert card.command == (
        "python -m ml fit-pretrained --data drawn.csv --out lite0-pca4 --backbone efficientnet-lite0 "
        "--embedding-size 4 --about-data 'drawn pictures'"
    )
    assert str(folder) not in (folder / "lite0-pca4" / "card.json").read_text()
    assert card.data == "drawn pictures"
    assert set(card.software) >= {"python", "torch", "pillow"}


def test_the_card_s_figures_are_those_of_the_shipped_file(card):
    figures = card.metrics
    assert (figures["queries"], figures["gallery"]) == (4, 12)
    assert 0 <= figures["garment_at_1"] <= figures["garment_at_5"] <= 1
    assert figures["cosine_to_torch"] >= 0.9999
    assert figures["cosine_to_float32"] >= 0.999


def test_the_fit_is_centred_on_the_train_photos(folder, card):
    weights = read_weights(folder / "lite0-pca4", card)
    assert weights["head.weight"].shape == (4, 1280)
    assert np.isfinite(weights["head.bias"]).all()


@pytest.mark.parametrize(
    ("size", "out", "named"),
    [("9", "new", "9 components"), ("4", "a name", "a name")],
)
def test_impossible_requests_are_refused_in_one_line_before_any_work(folder, size, out, named, capsys):
    words = ["--data", str(folder / "drawn.csv"), "--out", str(folder / out), "--embedding-size", size]
    assert fit(*words) == 2
    assert named in error_line(capsys)
    assert not (folder / out).exists()


def test_held_out_photos_are_required(folder, capsys):
    photos = [Photo(f"images/{at:03}.jpg", "odd", str(at), "train") for at in range(8)]
    write_manifest(folder / "train.csv", photos)
    assert fit("--data", str(folder / "train.csv"), "--out", str(folder / "new"), "--embedding-size", "4") == 2
    assert "val or test" in error_line(capsys)


def test_a_broken_picture_is_refused_and_leaves_no_folder(folder, capsys):
    (folder / "broken.jpg").write_text("no picture")
    photos = [Photo("broken.jpg", "odd", "x", "train"), Photo("images/000.jpg", "odd", "y", "train")]
    write_manifest(folder / "broken.csv", [*photos, Photo("images/001.jpg", "odd", "z", "test")])
    assert fit("--data", str(folder / "broken.csv"), "--out", str(folder / "new"), "--embedding-size", "1") == 2
    assert "'broken.jpg'" in error_line(capsys)
    assert not list(folder.glob("new*"))
