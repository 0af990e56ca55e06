"""`train-metric` and `train-classifier` on the command line, with a tiny backbone: resuming, refusals, progress."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ml.cli import main
from ml.encoder.folder import read_card
from tests.helpers.error_line import error_line
from tests.helpers.garments import write_garments
from tests.helpers.tiny_backbone import STAGES, tiny_backbone

ROOT = Path(__file__).resolve().parents[3]
TINY = ["--side=64", "--freeze-stages=4", "--epochs=5", "--views=2", "--batch-size=9", "--threads=1"]
OF_METRIC = [*TINY, "--embedding-size=24", "--label-size=8", "--per-label=3"]


@pytest.fixture(scope="module", autouse=True)
def backbone() -> Iterator[None]:
    with tiny_backbone():
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_garments(tmp_path_factory.mktemp("garments"))


def metric(data: Path, out: Path, *more: str) -> list[str]:
    return ["train-metric", "--data", str(data), "--out", str(out), *OF_METRIC, *more]


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory) -> Path:
    """The encoder of an uninterrupted run; its run folder is beside it."""
    out = tmp_path_factory.mktemp("whole") / "tiny"
    about = "garments, drawn"
    assert main(metric(data, out, "--progress", "none", "--about-data", about, "--no-pictures")) == 0
    return out


@pytest.fixture(scope="module")
def classifier(data, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("classifier") / "labels"
    words = ["train-classifier", "--data", str(data), "--out", str(out), *TINY, "--epochs", "2", "--progress", "none"]
    assert main([*words, "--no-pictures"]) == 0
    return out


def weights(out: Path) -> bytes:
    return (out / "weights.safetensors").read_bytes()


def epochs_of(out: Path) -> list[int]:
    rows = out.with_name(out.name + ".run") / "metrics.jsonl"
    return [json.loads(line)["epoch"] for line in rows.read_text().splitlines()]


class TestKilled:
    @staticmethod
    def started(words: list[str]) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.helpers.tiny_backbone", *words, "--progress", "json"]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @staticmethod
    def kill(process: subprocess.Popen[str]) -> None:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL

    def test_a_run_killed_and_resumed_gives_the_same_encoder(self, data, whole, tmp_path):
        words = metric(data, tmp_path / "tiny", "--about-data", "garments, drawn", "--no-pictures")
        process = self.started(words)
        while not (tmp_path / "tiny.run" / "checkpoint.pt").exists() and process.poll() is None:
            time.sleep(0.001)
        self.kill(process)
        assert not (tmp_path / "tiny").exists()
        assert main([*words, "--resume", "--progress", "none"]) == 0
        assert weights(tmp_path / "tiny") == weights(whole)
        assert epochs_of(tmp_path / "tiny") == epochs_of(whole) == [1, 2, 3, 4, 5]

    @pytest.mark.nightly
    def test_a_run_killed_three_times_gives_the_same_encoder(self, data, whole, tmp_path):
        out = tmp_path / "tiny"
        checkpoint = tmp_path / "tiny.run" / "checkpoint.pt"
        words = metric(data, out, "--about-data", "garments, drawn", "--no-pictures")

        process = self.started(words)
        events = map(json.loads, iter(process.stdout.readline, ""))
        assert next(event["step"] for event in events if event["event"] == "step") == 1
        self.kill(process)  # in the first epoch
        assert not checkpoint.exists()

        process = self.started(words)  # without a checkpoint there is nothing to resume
        while not checkpoint.exists() and process.poll() is None:
            time.sleep(0.001)
        self.kill(process)  # as soon as there is one
        assert 1 in epochs_of(out)

        process = self.started([*words, "--resume"])
        steps = iter(process.stdout.readline, "")
        assert next(event["epoch"] for event in map(json.loads, steps) if event["event"] == "step") > 1
        self.kill(process)  # in a later epoch
        assert not out.exists()

        process = self.started([*words, "--resume"])
        process.communicate()
        assert process.returncode == 0
        assert weights(out) == weights(whole)
        assert (out / "model.onnx").read_bytes() == (whole / "model.onnx").read_bytes()
        assert epochs_of(out) == epochs_of(whole)

    def test_another_seed_gives_another_encoder(self, data, whole, tmp_path):
        assert main(metric(data, tmp_path / "tiny", "--seed", "1", "--progress", "none", "--no-pictures")) == 0
        assert weights(tmp_path / "tiny") != weights(whole)


class TestResumed:
    @pytest.fixture
    def interrupted(self, whole, tmp_path) -> Path:
        """The run folder of a run whose encoder is not written yet."""
        shutil.copytree(whole.with_name("tiny.run"), tmp_path / "tiny.run", ignore=shutil.ignore_patterns("cache"))
        return tmp_path / "tiny"

    def test_without_resume_it_is_refused(self, data, interrupted, capsys):
        refused(metric(data, interrupted), capsys, "--resume")

    def test_with_another_option_it_is_refused(self, data, interrupted, capsys):
        words = metric(data, interrupted, "--resume", "--lr", "0.01")
        refused(words, capsys, "lr 0.001, not 0.01")

    def test_as_a_run_of_another_kind_it_is_refused(self, data, interrupted, capsys):
        words = ["train-classifier", "--data", str(data), "--out", str(interrupted), *TINY, "--resume"]
        refused(words, capsys, "The run was started with")

    def test_with_other_photos_it_is_refused(self, data, interrupted, tmp_path, capsys):
        other = changed(data, tmp_path / "other", lambda row: row | {"item": "other " + row["item"]})
        refused(metric(other, interrupted, "--resume"), capsys, "other data")

    def test_a_damaged_checkpoint_is_refused(self, data, interrupted, tmp_path, capsys):
        (tmp_path / "tiny.run" / "checkpoint.pt").write_bytes(b"half a file")
        refused(metric(data, interrupted, "--resume"), capsys, "'checkpoint.pt'")

    def test_the_encoder_of_a_finished_run_is_written_again(self, data, interrupted, whole):
        assert main(metric(data, interrupted, "--resume", "--progress", "none", "--no-pictures")) == 0
        assert weights(interrupted) == weights(whole)


def changed(data: Path, folder: Path, change) -> Path:
    """A copy of the photos with a manifest whose rows went through `change`; None drops a row."""
    shutil.copytree(data.parent, folder)
    with data.open(newline="") as file:
        rows = [change(row) for row in csv.DictReader(file)]
    kept = [row for row in rows if row is not None]
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, kept[0].keys())
        writer.writeheader()
        writer.writerows(kept)
    return folder / "manifest.csv"


def refused(words: list[str], capsys, named: str) -> None:
    """Exit code 2, one line after the progress bars that names the cause, no encoder and no partial file."""
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    *bars, line = captured.err.removesuffix("\n").split("\n")
    assert line.startswith("python -m ml: "), captured.err
    assert named in line
    assert "\r" not in line
    assert all(bar.startswith("\r") or not bar for bar in bars), bars
    folder = Path(words[words.index("--out") + 1]).parent
    assert not [path for path in folder.rglob("*") if path.suffix == ".part"]


class TestRefused:
    @pytest.fixture
    def out(self, tmp_path) -> Path:
        yield tmp_path / "out" / "tiny"
        assert not (tmp_path / "out" / "tiny").exists()

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            (lambda row: row | {"label": "Top"}, "label"),
            (lambda row: row if row["split"] == "train" else None, "split"),
            (lambda row: None if "train-top" in row["path"] and "-00" not in row["path"] else row, "'Top'"),
            (lambda row: row | {"path": "none.png"} if row["path"] == "val-top-01.png" else row, "none.png"),
            (lambda row: row | {"split": "night"}, "night"),
        ],
        ids=["one label", "nothing held out", "a label of one photo", "a missing file", "an unknown split"],
    )
    def test_an_unusable_manifest(self, data, out, tmp_path, capsys, change, named):
        refused(metric(changed(data, tmp_path / "photos", change), out), capsys, named)

    def test_a_missing_manifest(self, out, tmp_path, capsys):
        refused(metric(tmp_path / "none.csv", out), capsys, "none.csv")

    def test_a_broken_picture(self, data, out, tmp_path, capsys):
        broken = changed(data, tmp_path / "photos", dict)
        (tmp_path / "photos" / "val-top-01.png").write_bytes(b"no picture")
        refused(metric(broken, out), capsys, "'val-top-01.png'")

    def test_identical_pictures_collapse(self, data, out, tmp_path, capsys):
        alike = changed(data, tmp_path / "photos", dict)
        for path in (tmp_path / "photos").glob("*.png"):
            path.write_bytes((data.parent / "val-top-01.png").read_bytes())
        refused(metric(alike, out, "--augment", "none"), capsys, "collapsed in epoch 1")

    @pytest.mark.parametrize(
        ("words", "named"),
        [
            (["--lr", "1e30", "--head-lr", "1e30", "--warmup", "0"], "--lr"),
            (["--label-column", "colour"], "'colour'"),
            (["--freeze-stages", "40"], f"freeze_stages is 40, but efficientnet-lite0 has {STAGES}"),
            (["--start-from", "nowhere"], "'nowhere'"),
            (["--train-splits", "train,val,test"], "'train,val,test'"),
            (["--train-splits", "night"], "'night'"),
            (["--side", "65"], "side is 65"),
            (["--label-size", "24"], "label_size"),
        ],
        ids=lambda value: value[0].strip("-") if isinstance(value, list) else "",
    )
    def test_impossible_options(self, data, out, capsys, words, named):
        refused(metric(data, out, *words), capsys, named)

    def test_an_existing_encoder(self, data, whole, capsys):
        before = weights(whole)
        refused(metric(data, whole), capsys, "tiny")
        assert weights(whole) == before

    def test_an_invalid_name(self, data, tmp_path, capsys):
        refused(metric(data, tmp_path / "a name with spaces"), capsys, "a name with spaces")

    def test_weights_that_were_tampered_with(self, data, out, classifier, tmp_path, capsys):
        shutil.copytree(classifier, tmp_path / "start")
        with (tmp_path / "start" / "weights.safetensors").open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"?")
        refused(metric(data, out, "--start-from", str(tmp_path / "start")), capsys, "weights.safetensors")

    def test_a_start_with_another_backbone(self, data, out, classifier, capsys):
        words = ["--backbone", "resnet18", "--freeze-stages", "0", "--start-from", str(classifier)]
        refused(metric(data, out, *words), capsys, "efficientnet-lite0, not resnet18")

    def test_weights_that_cannot_be_downloaded(self, data, out, capsys, monkeypatch, tmp_path):
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # no server listens there
        words = ["--backbone", "resnet18", "--freeze-stages", "0"]
        refused(metric(data, out, *words), capsys, "resnet18")

    @pytest.mark.parametrize("size", [10_000, 100_000], ids=["for no views", "for no checkpoint"])
    def test_a_full_disk(self, data, out, capsys, file_size_limit, size):
        with file_size_limit(size):
            assert main(metric(data, out, "--progress", "none")) == 2
        assert str(out.parent) in error_line(capsys)
        assert not [path for path in out.parent.rglob("*") if path.suffix == ".part"]


class TestTheEncoder:
    def test_its_card_has_the_command_line_without_paths_of_this_machine(self, whole, data):
        card = read_card(whole)
        assert card.command == (
            "python -m ml train-metric --data manifest.csv --out tiny --side 64 --epochs 5 --batch-size 9 "
            "--freeze-stages 4 --views 2 --threads 1 --embedding-size 24 --label-size 8 --per-label 3 "
            "--about-data 'garments, drawn'"
        )
        assert card.data == "garments, drawn"
        assert str(data.parent) not in (whole / "card.json").read_text()
        assert str(whole.parent) not in (whole / "card.json").read_text()

    def test_it_embeds(self, whole, data, tmp_path):
        words = ["--encoder", str(whole), "--images", str(data.parent), "--out", str(tmp_path / "out.npz")]
        assert main(["embed", *words, "--runtime", "onnx", "--threads", "1"]) == 0
        with np.load(tmp_path / "out.npz") as arrays:
            assert arrays["embeddings"].shape == (54, 24)

    def test_a_classifier_classifies(self, classifier, data, tmp_path):
        words = ["--encoder", str(classifier), "--images", str(data.parent), "--out", str(tmp_path / "out.csv")]
        assert main(["classify", *words, "--runtime", "onnx", "--threads", "1"]) == 0
        with (tmp_path / "out.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 54
        held_out = [row for row in rows if not row["name"].startswith("train")]
        right = [row["label"].lower() == row["name"].split("-")[1] for row in held_out]
        assert np.mean(right) == pytest.approx(read_card(classifier).metrics["accuracy"], abs=1e-3)

    def test_a_classifier_s_backbone_and_another_column_can_be_trained_on(self, classifier, data, tmp_path, capsys):
        words = ["--start-from", str(classifier), "--label-column", "season", "--epochs", "1", "--progress", "none"]
        assert main(metric(data, tmp_path / "tiny", *words, "--no-pictures")) == 0
        assert capsys.readouterr().out.startswith(f"{tmp_path / 'tiny'}: tiny@")
        assert "--start-from labels" in read_card(tmp_path / "tiny").command


class TestFollowed:
    def test_json_progress_has_a_line_per_step_and_epoch_and_one_at_the_end(self, data, tmp_path, capsys):
        words = metric(data, tmp_path / "tiny", "--progress", "json", "--epochs", "2", "--batch-size", "18")
        assert main(words) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        events = [json.loads(line) for line in captured.out.splitlines()]
        steps = [event for event in events if event["event"] == "step"]
        assert [event["epoch"] for event in steps if event["step"] == event["steps"] == 2] == [1, 2]
        assert all(event["loss"] > 0 and event["photos_per_second"] > 0 for event in steps)
        assert all(event["epochs"] == 2 and event["seconds_left"] >= 0 for event in steps)
        assert all({"train_loss", "mined_triplets", "active_triplets"} <= event.keys() for event in steps)
        stages = [event["what"] for event in events if event["event"] == "stage"]
        expected = [
            "decoding",
            "views",
            "training",
            "measuring and writing the encoder",
            "refining prototypes",
            "phone photos",
        ]
        assert [name for name in dict.fromkeys(stages) if name in expected] == expected
        views = [event for event in events if event.get("what") == "views"]
        assert views[0]["done"] == 0 and views[-1]["done"] == views[-1]["of"]
        assert [event["epoch"] for event in events if event["event"] == "epoch"] == [1, 2]
        assert events[-1]["event"] == "done"
        assert events[-1]["encoder"] == read_card(tmp_path / "tiny").identifier
        assert events[-1]["metrics"] == read_card(tmp_path / "tiny").metrics
        names = {path.name for path in (tmp_path / "tiny.run").iterdir()}
        assert {"loss.png", "mined.png", "retrieval.png", "strips.png", "worst.png", "map.png"} <= names

    def test_bars_show_loss_and_speed_and_each_epoch_has_a_line(self, data, tmp_path, capsys):
        words = ["--data", str(data), "--out", str(tmp_path / "labels"), *TINY, "--epochs", "2", "--no-pictures"]
        assert main(["train-classifier", *words]) == 0
        captured = capsys.readouterr()
        assert "loss " in captured.err and "photos/s" in captured.err
        lines = [line for line in captured.err.split("\n") if line.startswith("epoch ")]
        assert [line.split(":")[0] for line in lines] == ["epoch 1", "epoch 2"]
        assert "val_accuracy" in lines[0]
        assert not list((tmp_path / "labels.run").glob("*.png"))

    def test_tensorboard_writes_into_the_run_folder(self, data, tmp_path):
        pytest.importorskip("tensorboard")
        words = ["--data", str(data), "--out", str(tmp_path / "labels"), *TINY, "--epochs", "1", "--progress", "none"]
        assert main(["train-classifier", *words, "--tracker", "tensorboard", "--no-pictures"]) == 0
        assert len(list((tmp_path / "labels.run").glob("tensorboard/events.out.*"))) == 1

    @pytest.mark.nightly  # wandb starts a server of its own; its tracker is tested in tests/ml/reporting
    @pytest.mark.parametrize("tracker", ["tensorboard", "wandb"])
    def test_a_tracker_writes_into_the_run_folder_of_a_run_with_pictures(self, data, tmp_path, tracker):
        pytest.importorskip(tracker)
        words = ["--data", str(data), "--out", str(tmp_path / "labels"), *TINY, "--epochs", "1", "--progress", "none"]
        ended = subprocess.run(
            [sys.executable, "-m", "tests.helpers.tiny_backbone", "train-classifier", *words, "--tracker", tracker],
            cwd=ROOT,
            env=os.environ | {"WANDB_MODE": "offline", "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, "")
        files = {"tensorboard": "tensorboard/events.out.*", "wandb": "wandb/offline-run-*/run-*.wandb"}[tracker]
        assert len(list((tmp_path / "labels.run").glob(files))) == 1
