"""`train-metric` and `train-classifier` as they are typed: killed and resumed, refused in one line, followed."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ml.cli import main
from ml.encoder.folder import read_card
from tests.helpers.garments import write_garments

ROOT = Path(__file__).resolve().parents[3]
TINY = ["--side=64", "--freeze-stages=12", "--epochs=3", "--views=2", "--batch-size=9", "--threads=1"]
OF_METRIC = [*TINY, "--embedding-size=24", "--label-size=8", "--per-label=3"]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_garments(tmp_path_factory.mktemp("garments"))


def metric(data: Path, out: Path, *more: str) -> list[str]:
    return ["train-metric", "--data", str(data), "--out", str(out), *OF_METRIC, *more]


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory) -> Path:
    """The encoder of a run that nothing interrupted; beside it its run folder."""
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
        command = [sys.executable, "-m", "ml", *words, "--progress", "json"]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @staticmethod
    def kill(process: subprocess.Popen[str]) -> None:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL

    def test_a_run_killed_three_times_gives_the_very_encoder_of_one_that_was_not(self, data, whole, tmp_path):
        out = tmp_path / "tiny"
        checkpoint = tmp_path / "tiny.run" / "checkpoint.pt"
        words = metric(data, out, "--about-data", "garments, drawn", "--no-pictures")

        process = self.started(words)
        told = map(json.loads, iter(process.stdout.readline, ""))
        assert next(event["step"] for event in told if event["event"] == "step") == 1
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
        assert epochs_of(out) == epochs_of(whole) == [1, 2, 3]

    def test_another_seed_gives_another_encoder(self, data, whole, tmp_path):
        assert main(metric(data, tmp_path / "tiny", "--seed", "1", "--progress", "none", "--no-pictures")) == 0
        assert weights(tmp_path / "tiny") != weights(whole)


class TestResumed:
    @pytest.fixture
    def interrupted(self, whole, tmp_path) -> Path:
        """The run folder of a run whose encoder is not written yet."""
        shutil.copytree(whole.with_name("tiny.run"), tmp_path / "tiny.run", ignore=shutil.ignore_patterns("cache"))
        return tmp_path / "tiny"

    def test_without_the_word_it_is_not_resumed(self, data, interrupted, capsys):
        refused(metric(data, interrupted), capsys, "holds a run that was interrupted: --resume goes on with it")

    def test_with_another_option_it_is_not_resumed(self, data, interrupted, capsys):
        words = metric(data, interrupted, "--resume", "--lr", "0.01")
        refused(words, capsys, "The run was started with lr 0.001, not 0.01; resume it with the same.")

    def test_as_a_run_of_another_kind_it_is_not_resumed(self, data, interrupted, capsys):
        words = ["train-classifier", "--data", str(data), "--out", str(interrupted), *TINY, "--resume"]
        refused(words, capsys, "The run was started with")

    def test_with_other_photos_it_is_not_resumed(self, data, interrupted, tmp_path, capsys):
        other = changed(data, tmp_path / "other", lambda row: row | {"item": "other " + row["item"]})
        refused(metric(other, interrupted, "--resume"), capsys, "The run was started with other data")

    def test_a_damaged_checkpoint_is_told_as_such(self, data, interrupted, tmp_path, capsys):
        (tmp_path / "tiny.run" / "checkpoint.pt").write_bytes(b"half a file")
        refused(metric(data, interrupted, "--resume"), capsys, "'checkpoint.pt' cannot be read; start the run anew")

    def test_the_encoder_of_a_run_that_was_over_is_written_again(self, data, interrupted, whole):
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


def refused(words: list[str], capsys, wanted: str) -> None:
    """Exit code 2, and after the progress bars one line that says why; no encoder, and nothing half-written."""
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    *bars, line = captured.err.removesuffix("\n").split("\n")
    assert line.startswith("python -m ml: "), captured.err
    assert wanted in line
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
        ("change", "wanted"),
        [
            (lambda row: row | {"label": "Top"}, "photos of two labels or more; these are of 1"),
            (lambda row: row if row["split"] == "train" else None, "no photos outside the training splits"),
            (lambda row: None if "train-top" in row["path"] and "-00" not in row["path"] else row, "'Top' has not"),
            (lambda row: row | {"path": "none.png"} if row["path"] == "val-top-01.png" else row, "no such file"),
            (lambda row: row | {"split": "night"}, "known are train, val, test"),
        ],
        ids=["one label", "nothing held out", "a label of one photo", "a missing file", "an unknown split"],
    )
    def test_a_manifest_that_is_no_use(self, data, out, tmp_path, capsys, change, wanted):
        refused(metric(changed(data, tmp_path / "photos", change), out), capsys, wanted)

    def test_a_manifest_that_is_not_there(self, out, tmp_path, capsys):
        refused(metric(tmp_path / "none.csv", out), capsys, "No such file")

    def test_a_broken_picture(self, data, out, tmp_path, capsys):
        broken = changed(data, tmp_path / "photos", dict)
        (tmp_path / "photos" / "val-top-01.png").write_bytes(b"no picture")
        refused(metric(broken, out), capsys, "'val-top-01.png' is not a readable picture.")

    def test_pictures_that_are_all_the_same_collapse(self, data, out, tmp_path, capsys):
        alike = changed(data, tmp_path / "photos", dict)
        for path in (tmp_path / "photos").glob("*.png"):
            path.write_bytes((data.parent / "val-top-01.png").read_bytes())
        refused(metric(alike, out, "--augment", "none"), capsys, "The vectors collapsed in epoch 1: their spread is")

    @pytest.mark.parametrize(
        ("words", "wanted"),
        [
            (["--lr", "1e30", "--head-lr", "1e30", "--warmup", "0"], "lower --lr or --head-lr"),
            (["--label-column", "colour"], "no column 'colour'"),
            (["--freeze-stages", "40"], "freeze_stages is 40, but efficientnet-lite0 has 18"),
            (["--start-from", "nowhere"], "no encoder folder 'nowhere'"),
            (["--train-splits", "train,val,test"], "not all three"),
            (["--train-splits", "night"], "it takes train, val and test"),
            (["--side", "65"], "side must be a multiple of 32"),
            (["--label-size", "24"], "label_size must be less than embedding_size"),
        ],
        ids=lambda value: value[0].strip("-") if isinstance(value, list) else "",
    )
    def test_options_that_lead_nowhere(self, data, out, capsys, words, wanted):
        refused(metric(data, out, *words), capsys, wanted)

    def test_an_encoder_that_is_there_already(self, data, whole, capsys):
        before = weights(whole)
        refused(metric(data, whole), capsys, "exists already; remove it or choose another folder")
        assert weights(whole) == before

    def test_a_name_that_no_encoder_may_have(self, data, tmp_path, capsys):
        refused(metric(data, tmp_path / "a name with spaces"), capsys, "The folder's name becomes the encoder's")

    def test_weights_that_were_tampered_with(self, data, out, classifier, tmp_path, capsys):
        shutil.copytree(classifier, tmp_path / "start")
        with (tmp_path / "start" / "weights.safetensors").open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"?")
        refused(metric(data, out, "--start-from", str(tmp_path / "start")), capsys, "its sha256 differs")

    def test_a_start_with_another_backbone(self, data, out, classifier, capsys):
        words = ["--backbone", "resnet18", "--freeze-stages", "0", "--start-from", str(classifier)]
        refused(metric(data, out, *words), capsys, "has the backbone efficientnet-lite0, not resnet18")

    def test_weights_that_cannot_be_downloaded(self, data, out, capsys, monkeypatch, tmp_path):
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
        words = ["--backbone", "resnet18", "--freeze-stages", "0"]
        refused(metric(data, out, *words), capsys, "The ImageNet weights of resnet18 cannot be downloaded")

    @pytest.mark.parametrize("room", [50_000, 4_000_000], ids=["for no views", "for no checkpoint"])
    def test_a_full_disk(self, data, out, capsys, room):
        """In a process of its own, as the limit on the size of its files is for the whole of one."""
        limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room})); "
        program = limit + "import sys; from ml.cli import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", program, *metric(data, out, "--progress", "none")]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1), ended.stderr
        assert ended.stderr.startswith("python -m ml: Cannot ")
        assert not [path for path in out.parent.rglob("*") if path.suffix == ".part"]


class TestTheEncoder:
    def test_its_card_tells_how_it_came_about_and_no_path_of_this_machine(self, whole, data):
        card = read_card(whole)
        assert card.command == (
            "python -m ml train-metric --data manifest.csv --out tiny --side 64 --epochs 3 --batch-size 9 "
            "--freeze-stages 12 --views 2 --threads 1 --embedding-size 24 --label-size 8 --per-label 3 "
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
        right = [row["label"].lower() == row["name"].split("-")[1] for row in rows]
        assert np.mean(right) > 0.7

    def test_a_classifier_s_trunk_and_another_column_can_be_trained_on(self, classifier, data, tmp_path, capsys):
        words = ["--start-from", str(classifier), "--label-column", "season", "--epochs", "1", "--progress", "none"]
        assert main(metric(data, tmp_path / "tiny", *words, "--no-pictures")) == 0
        assert capsys.readouterr().out.startswith(f"{tmp_path / 'tiny'}: tiny@")
        assert "--start-from labels" in read_card(tmp_path / "tiny").command


class TestFollowed:
    def test_json_is_a_line_for_each_step_and_epoch_and_one_for_the_end(self, data, tmp_path, capsys):
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
        said = ["decoding", "views", "training", "measuring and writing the encoder", "sharpening", "phone photos"]
        assert [name for name in dict.fromkeys(stages) if name in said] == said
        views = [event for event in events if event.get("what") == "views"]
        assert views[0]["done"] == 0 and views[-1]["done"] == views[-1]["of"]
        assert [event["epoch"] for event in events if event["event"] == "epoch"] == [1, 2]
        assert events[-1]["event"] == "done"
        assert events[-1]["encoder"] == read_card(tmp_path / "tiny").identifier
        assert events[-1]["metrics"] == read_card(tmp_path / "tiny").metrics
        names = {path.name for path in (tmp_path / "tiny.run").iterdir()}
        assert {"loss.png", "mined.png", "retrieval.png", "strips.png", "worst.png", "map.png"} <= names

    def test_bars_show_loss_and_speed_and_each_epoch_is_a_line(self, data, tmp_path, capsys):
        words = ["--data", str(data), "--out", str(tmp_path / "labels"), *TINY, "--epochs", "2", "--no-pictures"]
        assert main(["train-classifier", *words]) == 0
        captured = capsys.readouterr()
        assert "loss " in captured.err and "photos/s" in captured.err
        lines = [line for line in captured.err.split("\n") if line.startswith("epoch ")]
        assert [line.split(":")[0] for line in lines] == ["epoch 1", "epoch 2"]
        assert "val_accuracy" in lines[0]
        assert not list((tmp_path / "labels.run").glob("*.png"))

    @pytest.mark.parametrize("tracker", ["tensorboard", "wandb"])
    def test_a_tracker_keeps_what_it_is_told_in_the_run_folder(self, data, tmp_path, tracker):
        pytest.importorskip(tracker)
        words = ["--data", str(data), "--out", str(tmp_path / "labels"), *TINY, "--epochs", "1", "--progress", "none"]
        ended = subprocess.run(
            [sys.executable, "-m", "ml", "train-classifier", *words, "--tracker", tracker],
            cwd=ROOT,
            env=os.environ | {"WANDB_MODE": "offline", "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, "")
        kept = {"tensorboard": "tensorboard/events.out.*", "wandb": "wandb/offline-run-*/run-*.wandb"}[tracker]
        assert len(list((tmp_path / "labels.run").glob(kept))) == 1
