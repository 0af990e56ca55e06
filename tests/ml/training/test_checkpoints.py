import os
from pathlib import Path

import pytest
import torch

from ml.formats.atomic_files import UnwritableError
from ml.training.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from tests.helpers.errors import raises_code

ABOUT = {"options": {"lr": 0.001, "side": 224, "backbone": "resnet18"}, "data": "3f9a"}
STATE = {"about": ABOUT, "body": {"weight": torch.arange(6.0).reshape(2, 3)}, "epoch": 3, "best": float("-inf")}


@pytest.fixture
def path(tmp_path):
    save_checkpoint(tmp_path / "checkpoint.pt", STATE)
    return tmp_path / "checkpoint.pt"


def test_a_saved_state_is_loaded_unchanged(path):
    state = load_checkpoint(path, ABOUT)
    assert torch.equal(state["body"]["weight"], STATE["body"]["weight"])
    assert (state["epoch"], state["best"], state["about"]) == (3, float("-inf"), ABOUT)


def test_only_the_given_entries_of_the_fingerprint_are_compared(path):
    assert load_checkpoint(path, {})["epoch"] == 3
    assert load_checkpoint(path, {"data": "3f9a"})["epoch"] == 3


@pytest.mark.parametrize(
    ("fingerprint", "code", "named"),
    [
        (ABOUT | {"data": "0000"}, "checkpoint_mismatch", ["data"]),
        (ABOUT | {"options": ABOUT["options"] | {"side": 256}}, "checkpoint_mismatch", ["side", 224, 256]),
        (ABOUT | {"options": ABOUT["options"] | {"new": True}}, "checkpoint_mismatch", ["new", None, True]),
        (ABOUT | {"more": 1}, "checkpoint_mismatch", ["more"]),
    ],
    ids=["photos", "an option", "an option of a later version", "an unknown entry"],
)
def test_a_changed_fingerprint_is_refused_and_the_change_named(path, fingerprint, code, named):
    with raises_code(CheckpointError, code, *named):
        load_checkpoint(path, fingerprint)


@pytest.mark.parametrize("left", [-1, 500, 3, 0])
def test_a_truncated_file_is_refused(path, left):
    path.write_bytes(path.read_bytes()[:left])
    with raises_code(CheckpointError, "checkpoint_unreadable", "checkpoint.pt"):
        load_checkpoint(path, ABOUT)


def test_a_missing_file_is_refused(tmp_path):
    with raises_code(CheckpointError, "checkpoint_unreadable"):
        load_checkpoint(tmp_path / "checkpoint.pt", ABOUT)


@pytest.mark.parametrize("content", [{"format": 99}, {"epoch": 1}, [1, 2], torch.zeros(2)], ids=str)
def test_another_format_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "checkpoint.pt")
    with raises_code(CheckpointError, "checkpoint_format"):
        load_checkpoint(tmp_path / "checkpoint.pt", ABOUT)


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return (os.mkdir, (str(self.folder),))


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    torch.save({"format": 1, "about": Malicious(tmp_path / "created")}, tmp_path / "checkpoint.pt")
    with raises_code(CheckpointError, "checkpoint_unreadable"):
        load_checkpoint(tmp_path / "checkpoint.pt", ABOUT)
    assert not (tmp_path / "created").exists()


def test_a_full_disk_leaves_the_previous_checkpoint(path, file_size_limit):
    large = STATE | {"body": {"weight": torch.zeros(100_000)}, "epoch": 4}
    with file_size_limit(50_000), raises_code(UnwritableError, "unwritable", "checkpoint.pt"):
        save_checkpoint(path, large)
    assert load_checkpoint(path, ABOUT)["epoch"] == 3
    assert [each.name for each in path.parent.iterdir()] == ["checkpoint.pt"]
