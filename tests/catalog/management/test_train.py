"""manage.py train, as it is typed."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from catalog.management.commands import train
from catalog.models import RunState, TrainingRun
from catalog.services.training import preflight
from tests.helpers.factories import make_run
from tests.helpers.training_catalogue import catalogue

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def places(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.RUNS_DIR, settings.TRAINING_DATA_DIR = tmp_path / "runs", tmp_path / "brought"
    monkeypatch.setattr(preflight, "free_disk_bytes", lambda folder: 10**12)
    monkeypatch.setattr(preflight, "free_memory_bytes", lambda: 10**12)


def typed(*words: str) -> str:
    out = StringIO()
    call_command("train", *words, stdout=out)
    return out.getvalue()


def refused(*words: str) -> str:
    with pytest.raises(CommandError) as caught:
        typed(*words)
    assert caught.value.returncode == 2
    return str(caught.value)


def test_it_queues_a_run_and_says_what_it_waits_for() -> None:
    catalogue()
    make_run(name="first", state=RunState.RUNNING)
    said = typed("metric", "--name", "mine", "--set", "epochs=2", "label-size=8")
    run = TrainingRun.objects.get(name="mine")
    assert said.startswith(f"Run {run.pk}, mine, is queued. Waits for first")
    assert (run.options["epochs"], run.options["label_size"], run.preset) == (2, 8, "quick")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--set", "speed=9"], "There is no option 'speed'"),
        (["--set", "epochs"], "'epochs' is not name=value."),
        (["--set", "epochs=0"], "epochs is '0'"),
        (["--preset", "instant"], "known are quick, full"),
        (["--source", "manifest", "--manifest", "none.csv"], "no such manifest"),
        (["--check", "--set", "epochs=0"], "epochs is '0'"),
    ],
)
def test_what_is_wrong_ends_with_code_2_and_a_sentence(words: list[str], says: str) -> None:
    catalogue()
    assert says in refused("metric", *words)
    assert not TrainingRun.objects.exists()


def test_looking_ahead_starts_nothing() -> None:
    catalogue()
    *notes, counts = typed("metric", "--check").splitlines()
    assert json.loads(counts)["labels"] == {"Hat": 15, "Shirt": 15}
    assert any("set aside" in note for note in notes)
    assert not TrainingRun.objects.exists()


def test_looking_ahead_at_nothing_ends_with_code_2() -> None:
    assert "There are no photos to learn from" in refused("metric", "--check")


def test_whoever_waits_is_told_of_stages_and_epochs_and_of_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue()
    steps: list[dict[str, Any]] = [
        {"state": RunState.RUNNING, "stage": "training"},
        {"metrics": [{"epoch": 1, "train_loss": 2.0, "map_at_r": 0.25, "seconds": 9}]},
        {"metrics": [{"epoch": 1}, {"epoch": 2, "train_loss": 1.0, "val_loss": None}]},
        {"state": RunState.DONE, "stage": ""},
    ]
    monkeypatch.setattr(train.time, "sleep", lambda _: TrainingRun.objects.update(**steps.pop(0)) if steps else None)
    _, *said = typed("metric", "--name", "mine", "--wait").splitlines()
    assert said == [
        "No train worker has taken it yet.",
        "training",
        "epoch 1: train_loss 2, map_at_r 0.25",
        "epoch 2: train_loss 1",
        "mine is done: it is a candidate among the encoders.",
    ]


def test_a_run_that_fails_ends_the_wait_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue()
    failed = {"state": RunState.FAILED, "reason": "The disk is full."}
    monkeypatch.setattr(train.time, "sleep", lambda _: TrainingRun.objects.update(**failed))
    with pytest.raises(CommandError, match=r"mine failed\. The disk is full\.") as caught:
        typed("metric", "--name", "mine", "--wait")
    assert caught.value.returncode == 1


def test_ctrl_c_ends_the_wait_and_not_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue()

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train.time, "sleep", interrupt)
    with pytest.raises(CommandError) as caught:
        typed("metric", "--wait")
    assert caught.value.returncode == 130
    assert TrainingRun.objects.get().state == RunState.QUEUED
