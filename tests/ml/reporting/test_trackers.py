import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from ml.reporting.trackers import TrackerError, open_tracker
from tests.helpers.errors import raises_code

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def picture(tmp_path) -> Path:
    path = tmp_path / "loss.png"
    Image.new("RGB", (30, 20), (200, 100, 0)).save(path)
    return path


class TestNone:
    def test_it_writes_no_files(self, tmp_path, picture):
        tracker = open_tracker("none", tmp_path / "run", "first", {"lr": 0.1})
        tracker.log(1, {"loss": 0.5})
        tracker.picture(1, "loss", picture)
        tracker.finish()
        assert list(tmp_path.iterdir()) == [picture]

    def test_an_unknown_tracker_is_refused(self, tmp_path):
        with raises_code(TrackerError, "unknown_tracker", "'mlflow'", "none, wandb or tensorboard"):
            open_tracker("mlflow", tmp_path, "first", {})

    @pytest.mark.parametrize(
        ("name", "module"),
        [("wandb", "wandb"), ("tensorboard", "torch.utils.tensorboard")],
        ids=["wandb", "tensorboard"],
    )
    def test_a_tracker_that_is_not_installed_names_the_package(self, tmp_path, monkeypatch, name, module):
        monkeypatch.setitem(sys.modules, module, None)
        with raises_code(TrackerError, "tracker_not_installed", name):
            open_tracker(name, tmp_path, "first", {})
        assert list(tmp_path.iterdir()) == []


class TestTensorBoard:
    @pytest.fixture(autouse=True)
    def installed(self):
        pytest.importorskip("tensorboard")

    @staticmethod
    def read(folder: Path):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(folder / "tensorboard"))
        events.Reload()
        return events

    def test_figures_pictures_and_the_configuration_are_recorded(self, tmp_path, picture):
        tracker = open_tracker("tensorboard", tmp_path, "first", {"lr": 0.1, "data": Path("clothes.csv")})
        tracker.log(1, {"train_loss": 0.5, "recall_at_1": 0.25})
        tracker.log(2, {"train_loss": 0.375})
        tracker.picture(2, "loss", picture)
        tracker.finish()
        events = self.read(tmp_path)
        assert [(event.step, event.value) for event in events.Scalars("train_loss")] == [(1, 0.5), (2, 0.375)]
        assert [(event.step, event.value) for event in events.Scalars("recall_at_1")] == [(1, 0.25)]
        (image,) = events.Images("loss")
        assert (image.step, image.width, image.height) == (2, 30, 20)
        (about,) = events.Tensors("run/text_summary")
        words = about.tensor_proto.string_val[0].decode()
        assert "first" in words and '"lr": 0.1' in words and "clothes.csv" in words

    def test_a_resumed_run_shows_each_epoch_once(self, tmp_path):
        """The first run was killed in its third epoch, after the checkpoint of the second."""
        for first, value in ((1, 1.0), (3, 2.0)):
            tracker = open_tracker("tensorboard", tmp_path, "first", {})
            for epoch in range(first, 5):
                tracker.log(epoch, {"train_loss": value})
            tracker.finish()
        events = self.read(tmp_path).Scalars("train_loss")
        assert [(event.step, event.value) for event in events] == [(1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0)]

    def test_a_run_that_ends_before_its_first_epoch_writes_nothing(self, tmp_path):
        open_tracker("tensorboard", tmp_path, "first", {}).finish()
        assert list(tmp_path.iterdir()) == []


FOLLOW = """
import sys
from pathlib import Path
from ml.reporting.trackers import open_tracker
from tests.helpers.errors import raises_code

tracker = open_tracker("wandb", Path(sys.argv[1]), "first", {"lr": 0.1, "data": Path("clothes.csv")})
tracker.log(1, {"train_loss": 0.5, "recall_at_1": 0.25})
tracker.picture(1, "loss", Path(sys.argv[2]))
tracker.log(2, {"train_loss": 0.375})
tracker.finish()
"""


class TestWandb:
    """Each in its own process, because the client starts a service that lives as long as its process."""

    @pytest.fixture(autouse=True)
    def installed(self):
        pytest.importorskip("wandb")

    @pytest.fixture
    def server(self):
        """Where the client would report to, if it did."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            yield server

    @staticmethod
    def follow(folder: Path, picture: Path, server: socket.socket, **environment: str) -> subprocess.CompletedProcess:
        home = folder.with_name("home")
        folder.mkdir(exist_ok=True)
        home.mkdir(exist_ok=True)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        return subprocess.run(
            [sys.executable, "-c", FOLLOW, folder, picture],
            cwd=ROOT,
            env=clean | {"HOME": str(home), "NETRC": str(home / "netrc"), "WANDB_BASE_URL": address} | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    @staticmethod
    def records(folder: Path) -> list:
        """Read the log of the one offline run: a header of 7 bytes, then records, each with its length before it."""
        from wandb.proto.wandb_internal_pb2 import Record

        (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
        content, at, records = path.read_bytes(), 7, []
        while at < len(content):
            _checksum, length, _kind = struct.unpack_from("<IHB", content, at)
            records.append(Record.FromString(content[at + 7 : at + 7 + length]))
            at += 7 + length
        return records

    def test_an_offline_run_records_figures_pictures_and_configuration_without_network(self, tmp_path, picture, server):
        run = tmp_path / "run"
        ended = self.follow(run, picture, server, WANDB_MODE="offline")
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
        records = self.records(run)
        (start,) = (record.run for record in records if record.HasField("run"))
        assert (start.display_name, start.project) == ("first", "clothes-matcher")
        configuration = {item.key: json.loads(item.value_json) for item in start.config.update}
        assert configuration["lr"] == 0.1
        assert configuration["data"] == "clothes.csv"
        epochs = [
            {".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            for record in records
            if record.HasField("history")
        ]
        assert [epoch["_step"] for epoch in epochs] == [1, 2]
        assert [epoch["train_loss"] for epoch in epochs] == [0.5, 0.375]
        assert epochs[0]["recall_at_1"] == 0.25
        (stored,) = run.glob("wandb/offline-run-*/files/media/images/loss_1_*.png")
        assert stored.read_bytes() == picture.read_bytes()
        with pytest.raises(BlockingIOError):
            server.accept()

    def test_a_run_without_an_account_is_refused(self, tmp_path, picture, server):
        ended = self.follow(tmp_path / "run", picture, server)
        assert ended.returncode == 1
        last = ended.stderr.splitlines()[-1]
        assert "TrackerError" in last
        assert "WANDB_MODE=offline" in last

    def test_a_resumed_run_has_the_same_identifier_and_project(self, tmp_path, picture, server):
        run = tmp_path / "run"
        run.mkdir()
        (run / "wandb_id.txt").write_text("0a1b2c3d")
        self.follow(run, picture, server, WANDB_MODE="offline", WANDB_PROJECT="shoes")
        (start,) = (record.run for record in self.records(run) if record.HasField("run"))
        assert (start.run_id, start.project) == ("0a1b2c3d", "shoes")
        assert (run / "wandb_id.txt").read_text() == "0a1b2c3d"
