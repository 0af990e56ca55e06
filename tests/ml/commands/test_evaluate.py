import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ml.cli import main
from ml.data.manifest import Photo
from tests.helpers.colour_encoder import COLOURS, colour_encoder, coloured_manifest
from tests.helpers.error_line import error_line

ROOT = Path(__file__).resolve().parents[3]
LABELS = tuple(COLOURS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate")
    colour_encoder(folder / "colours")
    colour_encoder(folder / "wider", np.concatenate([np.eye(3), np.eye(3)]))
    colour_encoder(folder / "names", 8 * np.eye(3), LABELS)
    photos = [
        Photo(f"{at}.png", f"L{at % 2}", f"item {at // 2}", ["train", "test"][at // 2 % 2], {"colour": LABELS[at % 3]})
        for at in range(24)
    ]
    coloured_manifest(folder / "m.csv", photos)
    coloured_manifest(folder / "one.csv", [Photo(f"one{at}.png", "red", str(at), "val") for at in range(3)])
    return folder


def evaluate(folder: Path, encoder: str, data: str, *options: str) -> int:
    words = ["--encoder", str(folder / encoder), "--data", str(folder / data)]
    return main(["evaluate", *words, "--runtime", "onnx", "--threads", "1", "--resamples", "50", *options])


def test_the_metrics_are_printed_and_written(folder, tmp_path, capsys):
    assert evaluate(folder, "colours", "m.csv", "--out", str(tmp_path / "r.json")) == 0
    output = capsys.readouterr().out
    assert "12 queries (val, test) against 24 photos" in output
    assert "garment found first" in output
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["figures"]["garment_at_5"]["queries"] == 12
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_encoders_of_different_length_can_be_compared(folder, capsys):
    assert evaluate(folder, "colours", "m.csv", "--against", str(folder / "wider"), "--split", "test") == 0
    output = capsys.readouterr().out
    assert "Against wider@" in output
    assert "+0.0 [0.0, 0.0]" in output  # repeated coordinates have the same cosines


def test_the_labels_of_a_classifier_may_be_in_another_column(folder, capsys):
    assert evaluate(folder, "names", "m.csv", "--label-column", "colour") == 0
    assert "12 queries (val, test) for 3 labels" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("encoder", "data", "options", "value"),
    [
        ("none", "m.csv", [], "none"),
        ("colours", "none.csv", [], "none.csv"),
        ("colours", "m.csv", ["--split", "val"], "split val"),
        ("colours", "m.csv", ["--label-column", "group"], "'group'"),
        ("colours", "m.csv", ["--resamples", "0"], "--resamples"),
        ("colours", "one.csv", [], "'red'"),
        ("names", "m.csv", [], "(red, green, blue)"),
    ],
)
def test_bad_input_is_reported_in_one_line_and_leaves_no_file(folder, tmp_path, capsys, encoder, data, options, value):
    assert evaluate(folder, encoder, data, "--out", str(tmp_path / "r.json"), *options) == 2
    assert value in error_line(capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("against", "value"), [("names", "a classifier"), ("none", "none")])
def test_the_other_encoder_must_exist_and_be_of_the_same_kind(folder, capsys, against, value):
    assert evaluate(folder, "colours", "m.csv", "--against", str(folder / against)) == 2
    assert value in error_line(capsys)


@pytest.mark.parametrize("out", ["none/r.json", ""])
def test_an_unwritable_file_is_reported_before_any_work(folder, tmp_path, capsys, out):
    assert evaluate(folder, "colours", "m.csv", "--out", str(tmp_path / out)) == 2
    assert str(tmp_path / out) in error_line(capsys)


def test_a_broken_picture_is_named(folder, tmp_path, capsys):
    coloured_manifest(tmp_path / "m.csv", [Photo(f"{at}.png", LABELS[at % 2], str(at), "val") for at in range(4)])
    (tmp_path / "2.png").write_text("no picture")
    assert evaluate(folder, "colours", str(tmp_path / "m.csv"), "--out", str(tmp_path / "r.json")) == 2
    assert "2.png" in capsys.readouterr().err
    assert not list(tmp_path.glob("r.json*"))


@pytest.mark.parametrize("words", [["--help"], ["evaluate", "--help"]])
def test_the_command_has_help(words, capsys):
    with pytest.raises(SystemExit) as exited:
        main(words)
    assert exited.value.code == 0
    assert "evaluate" in capsys.readouterr().out


def test_the_command_loads_no_torch(folder):
    words = ["evaluate", "--encoder", str(folder / "colours"), "--data", str(folder / "m.csv"), "--runtime", "onnx"]
    words += ["--threads", "1", "--resamples", "50"]
    code = f"import sys; from ml.cli import main; assert main({words!r}) == 0; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "False"
