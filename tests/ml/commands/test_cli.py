import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml.cli import main
from tests.helpers.drawn_pictures import drawn_folder
from tests.helpers.error_line import error_line

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def images(tmp_path) -> Path:
    drawn_folder(tmp_path / "images", 3)
    drawn_folder(tmp_path / "images" / "more", 1)
    return tmp_path / "images"


def embed(encoder: Path, images: Path, out: Path, *options: str) -> int:
    words = ["--encoder", str(encoder), "--images", str(images), "--out", str(out)]
    return main(["embed", *words, "--runtime", "onnx", "--threads", "1", *options])


# --- embed


def test_embed_writes_names_and_unit_vectors(shipped, shipped_folder, images, tmp_path, capsys):
    assert embed(shipped_folder, images, tmp_path / "out.npz") == 0
    with np.load(tmp_path / "out.npz") as arrays:  # without pickle
        assert arrays["names"].tolist() == ["000.jpg", "001.jpg", "002.jpg", "more/000.jpg"]
        assert arrays["embeddings"].dtype == np.float32
        expected = shipped.embed([Image.open(images / name) for name in arrays["names"]])
        assert arrays["embeddings"] == pytest.approx(expected, abs=1e-5)
    assert "4 pictures embedded, 0 skipped" in capsys.readouterr().out


def test_broken_pictures_are_named_and_skipped(shipped_folder, images, tmp_path, capsys):
    (images / "001.jpg").write_text("no picture")
    assert embed(shipped_folder, images, tmp_path / "out.npz") == 0
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["names"].tolist() == ["000.jpg", "002.jpg", "more/000.jpg"]
        assert len(arrays["embeddings"]) == 3
    captured = capsys.readouterr()
    assert "3 pictures embedded, 1 skipped" in captured.out
    assert "'001.jpg'" in captured.err


def test_a_folder_of_broken_pictures_is_bad_input_and_leaves_no_file(shipped_folder, tmp_path, capsys):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_text("no picture")
    assert embed(shipped_folder, tmp_path / "images", tmp_path / "out.npz") == 2
    assert str(tmp_path / "images") in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_a_missing_folder_is_reported_in_one_line(shipped_folder, tmp_path, capsys):
    assert embed(shipped_folder, tmp_path / "none", tmp_path / "out.npz") == 2
    assert str(tmp_path / "none") in error_line(capsys)


def test_a_folder_without_pictures_is_reported_in_one_line(shipped_folder, tmp_path, capsys):
    assert embed(shipped_folder, tmp_path, tmp_path / "out.npz") == 2
    assert str(tmp_path) in error_line(capsys)


def test_a_missing_encoder_is_reported_in_one_line(images, tmp_path, capsys):
    assert embed(tmp_path / "none", images, tmp_path / "out.npz") == 2
    assert str(tmp_path / "none") in error_line(capsys)


@pytest.mark.parametrize("out", ["none/out.npz", "images"])
def test_an_unwritable_file_is_reported_before_any_work(shipped_folder, images, tmp_path, capsys, out):
    assert embed(shipped_folder, images, tmp_path / out) == 2
    assert out.split("/")[-1] in error_line(capsys)


def test_a_full_disk_is_reported_in_one_line_and_leaves_no_file(shipped_folder, images, tmp_path, capsys, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ml.commands.embed.np.savez", full)
    assert embed(shipped_folder, images, tmp_path / "out.npz") == 2
    assert "No space left" in capsys.readouterr().err.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


# --- convert


def test_convert_writes_a_manifest_that_the_other_commands_read(tmp_path, capsys):
    drawn_folder(tmp_path / "source" / "Hat", 3)
    assert main(["convert", "folder", str(tmp_path / "source"), "--out", str(tmp_path / "m.csv")]) == 0
    assert "3 photos of 1 labels" in capsys.readouterr().out
    assert (tmp_path / "m.csv").read_text().startswith("path,label,item,split\nsource/Hat/000.jpg,Hat,Hat/000,")


@pytest.mark.parametrize("layout", ["clothing-dataset", "fashion-products", "folder"])
def test_a_source_of_another_layout_is_reported_in_one_line(layout, tmp_path, capsys):
    assert main(["convert", layout, str(tmp_path), "--out", str(tmp_path / "m.csv")]) == 2
    error_line(capsys)
    assert list(tmp_path.iterdir()) == []


# --- fit-pretrained


def test_fit_pretrained_refuses_bad_input_in_one_line(tmp_path, capsys):
    (tmp_path / "m.csv").write_text("path,label\n")
    (tmp_path / "there").mkdir()
    for data, out, value in (
        ("none.csv", "new", "none.csv"),
        ("m.csv", "new", "item"),
        ("m.csv", "there", "there"),
    ):
        assert main(["fit-pretrained", "--data", str(tmp_path / data), "--out", str(tmp_path / out)]) == 2
        assert value in error_line(capsys)


def test_an_embedding_size_of_zero_is_refused(tmp_path, capsys):
    words = ["--data", str(tmp_path), "--out", str(tmp_path / "new"), "--embedding-size", "0"]
    assert main(["fit-pretrained", *words]) == 2
    assert "--embedding-size" in error_line(capsys)


# --- the command line as a process


def python_m_ml(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "ml", *words], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", [[], ["embed"], ["classify"], ["convert"], ["fit-pretrained"]])
def test_every_command_has_help(command):
    answer = python_m_ml(*command, "--help")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "usage: python -m ml" in answer.stdout


@pytest.mark.parametrize(
    "words", [[], ["guess"], ["embed"], ["embed", "--threads", "two"], ["convert", "zip", "x", "--out", "m.csv"]]
)
def test_a_wrong_command_line_exits_with_2_and_one_line(words):
    answer = python_m_ml(*words)
    assert (answer.returncode, answer.stdout, answer.stderr.count("\n")) == (2, "", 1)


def test_bad_input_exits_with_2_and_one_line_in_a_process(tmp_path):
    answer = python_m_ml("convert", "folder", str(tmp_path / "none"), "--out", str(tmp_path / "m.csv"))
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr == f"python -m ml: There is no folder '{tmp_path / 'none'}'.\n"
