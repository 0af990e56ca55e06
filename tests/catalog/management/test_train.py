"""manage.py train: output, exit codes, following a run."""

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
from tests.helpers.training_catalogue import make_catalogue

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def places(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.RUNS_DIR, settings.TRAINING_DATA_DIR = tmp_path / "runs", tmp_path / "brought"
    monkeypatch.setattr(preflight, "free_disk_bytes", lambda folder: 10**12)
    monkeypatch.setattr(preflight, "free_memory_bytes", lambda: 10**12)


def run_train(*words: str) -> str:
    out = StringIO()
    call_command("train", *words, stdout=out)
    return out.getvalue()


def refusal(*words: str) -> str:
    with pytest.raises(CommandError) as caught:
        run_train(*words)
    assert caught.value.returncode == 2
    return str(caught.value)


def test_it_queues_a_run_and_prints_what_it_waits_for() -> None:
    make_catalogue()
    make_run(name="first", state=RunState.RUNNING)
    output = run_train("metric", "--name", "mine", "--set", "epochs=2", "label-size=8")
    run = TrainingRun.objects.get(name="mine")
    assert output.startswith(f"Run {run.pk}, mine, is queued. Waits for first")
    assert (run.options["epochs"], run.options["label_size"], run.preset) == (2, 8, "quick")


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["--set", "speed=9"], "'speed'"),
        (["--set", "epochs"], "'epochs'"),
        (["--set", "epochs=0"], "epochs is '0'"),
        (["--preset", "instant"], "quick, full"),
        (["--source", "manifest", "--manifest", "none.csv"], "no such manifest"),
        (["--check", "--set", "epochs=0"], "epochs is '0'"),
    ],
)
def test_bad_input_exits_with_code_2_and_names_the_value(words: list[str], value: str) -> None:
    make_catalogue()
    assert value in refusal("metric", *words)
    assert not TrainingRun.objects.exists()


def test_check_starts_nothing() -> None:
    make_catalogue()
    *notes, counts = run_train("metric", "--check").splitlines()
    assert json.loads(counts)["labels"] == {"Hat": 15, "Shirt": 15}
    assert any("set aside" in note for note in notes)
    assert not TrainingRun.objects.exists()


def test_check_of_an_empty_catalogue_exits_with_code_2() -> None:
    assert refusal("metric", "--check")


def test_wait_prints_stages_epochs_and_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    make_catalogue()
    steps: list[dict[str, Any]] = [
        {"state": RunState.RUNNING, "stage": "training"},
        {"metrics": [{"epoch": 1, "train_loss": 2.0, "map_at_r": 0.25, "seconds": 9}]},
        {"metrics": [{"epoch": 1}, {"epoch": 2, "train_loss": 1.0, "val_loss": None}]},
        {"state": RunState.DONE, "stage": ""},
    ]
    monkeypatch.setattr(train.time, "sleep", lambda _: TrainingRun.objects.update(**steps.pop(0)) if steps else None)
    _, *lines = run_train("metric", "--name", "mine", "--wait").splitlines()
    assert lines == [
        "No train worker has taken it yet.",
        "training",
        "epoch 1: train_loss 2, map_at_r 0.25",
        "epoch 2: train_loss 1",
        "mine is done. Its encoder is a candidate now.",
    ]


def test_wait_exits_with_the_reason_of_a_failed_run(monkeypatch: pytest.MonkeyPatch) -> None:
    make_catalogue()
    failed = {"state": RunState.FAILED, "reason": "The disk is full."}
    monkeypatch.setattr(train.time, "sleep", lambda _: TrainingRun.objects.update(**failed))
    with pytest.raises(CommandError) as caught:
        run_train("metric", "--name", "mine", "--wait")
    assert caught.value.returncode == 1
    assert "The disk is full." in str(caught.value)


def test_ctrl_c_ends_the_wait_but_not_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    make_catalogue()

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train.time, "sleep", interrupt)
    with pytest.raises(CommandError) as caught:
        run_train("metric", "--wait")
    assert caught.value.returncode == 130
    assert TrainingRun.objects.get().state == RunState.QUEUED
