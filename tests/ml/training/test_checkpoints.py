import os
from pathlib import Path

import pytest
import torch

from ml.formats.atomic_files import UnwritableError
from ml.training.checkpoints import CheckpointError, load_checkpoint, save_checkpoint

ABOUT = {"options": {"lr": 0.001, "side": 224, "backbone": "resnet18"}, "data": "3f9a"}
STATE = {"about": ABOUT, "body": {"weight": torch.arange(6.0).reshape(2, 3)}, "epoch": 3, "best": float("-inf")}


@pytest.fixture
def path(tmp_path):
    save_checkpoint(tmp_path / "checkpoint.pt", STATE)
    return tmp_path / "checkpoint.pt"


def test_what_was_written_comes_back(path):
    state = load_checkpoint(path, ABOUT)
    assert torch.equal(state["body"]["weight"], STATE["body"]["weight"])
    assert (state["epoch"], state["best"], state["about"]) == (3, float("-inf"), ABOUT)


def test_a_part_of_what_it_is_about_may_be_asked_for(path):
    assert load_checkpoint(path, {})["epoch"] == 3
    assert load_checkpoint(path, {"data": "3f9a"})["epoch"] == 3


@pytest.mark.parametrize(
    ("about", "complaint"),
    [
        (ABOUT | {"data": "0000"}, "started with other data; resume it with the same"),
        (ABOUT | {"options": ABOUT["options"] | {"side": 256}}, "started with side 224, not 256"),
        (ABOUT | {"options": ABOUT["options"] | {"new": True}}, "started with new None, not True"),
        (ABOUT | {"more": 1}, "started with other more"),
    ],
    ids=["photos", "an option", "an option of a later version", "something unheard of"],
)
def test_what_changed_is_named(path, about, complaint):
    with pytest.raises(CheckpointError, match=complaint):
        load_checkpoint(path, about)


@pytest.mark.parametrize("left", [-1, 500, 3, 0])
def test_a_file_that_was_cut_short_is_told_as_damaged(path, left):
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(CheckpointError, match=r"'checkpoint\.pt' cannot be read; start the run anew"):
        load_checkpoint(path, ABOUT)


def test_a_missing_file_is_told_as_such(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(tmp_path / "checkpoint.pt", ABOUT)


@pytest.mark.parametrize("content", [{"format": 99}, {"epoch": 1}, [1, 2], torch.zeros(2)], ids=str)
def test_another_format_is_not_guessed_at(tmp_path, content):
    torch.save(content, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="another format"):
        load_checkpoint(tmp_path / "checkpoint.pt", ABOUT)


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return (os.mkdir, (str(self.folder),))


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    torch.save({"format": 1, "about": Malicious(tmp_path / "made")}, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(tmp_path / "checkpoint.pt", ABOUT)
    assert not (tmp_path / "made").exists()


def test_a_full_disk_leaves_the_checkpoint_before(path, file_size_limit):
    large = STATE | {"body": {"weight": torch.zeros(100_000)}, "epoch": 4}
    with file_size_limit(50_000), pytest.raises(UnwritableError, match=r"Cannot write .*checkpoint\.pt"):
        save_checkpoint(path, large)
    assert load_checkpoint(path, ABOUT)["epoch"] == 3
    assert [each.name for each in path.parent.iterdir()] == ["checkpoint.pt"]
