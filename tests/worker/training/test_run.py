"""Training runs by the task, with a real training in a child process on a few drawn garments."""

import itertools
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from pytest_django import Settings

from catalog.models import Encoder, EncoderState, RunKind, RunState, TrainingRun
from catalog.run_folder import run_encoder_folder, run_folder, run_pictures
from catalog.services.training.runs import run_create, run_resume
from ml.encoder.card import card_to_json
from ml.encoder.folder import read_card
from tests.helpers.factories import make_item, make_item_photo
from tests.helpers.garments import LABELS, Garment, draw_garment
from tests.helpers.pictures import jpeg_of
from worker.processes.child import kill_marked, worker_stopping
from worker.tasks import train as train_tasks
from worker.training import run as training
from worker.training.command import count_gpus, training_command
from worker.training.progress import Cancelled, RunReporter

pytestmark = pytest.mark.django_db

SHIPPED = django_settings.BASE_DIR / "ml" / "encoders" / django_settings.DEFAULT_ENCODER
TINY: dict[str, Any] = {
    **{"side": 64, "freeze_stages": 12, "epochs": 2, "views": 2, "batch_size": 12, "threads": 1},
    **{"embedding_size": 24, "label_size": 8, "per_label": 2},
}


@pytest.fixture(autouse=True)
def folders(settings: Settings, tmp_path: Path) -> None:
    settings.RUNS_DIR = tmp_path / "runs"
    settings.ENCODER_DIRS = [tmp_path / "encoders", *django_settings.ENCODER_DIRS[1:]]


@pytest.fixture
def garments(db: None) -> None:
    """A catalogue with sixteen items of each of three labels."""
    for label, seed in itertools.product(LABELS, range(16)):
        make_item_photo(make_item(category=label), content=jpeg_of(draw_garment(Garment(label, seed))))


def make_run(name: str = "tiny", **columns: Any) -> TrainingRun:
    """A queued run without preflight checks."""
    return TrainingRun.objects.create(name=name, kind=RunKind.METRIC, **columns)


def run_task(run: TrainingRun) -> TrainingRun:
    train_tasks.train(str(run.pk))
    run.refresh_from_db()
    return run


def epochs_of(run: TrainingRun) -> list[int]:
    return [row["epoch"] for row in run.metrics]


def act_when(condition: Callable[[], bool], act: Callable[[], object]) -> threading.Thread:
    """Call `act` as soon as `condition` holds, in a thread that does not use the database."""
    over = threading.Event()

    def wait() -> None:
        while not condition():
            if over.wait(0.002):
                return
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_a_run_trains_a_candidate_and_resumes_after_its_training_was_killed(garments: None) -> None:
    run = run_create(kind="metric", preset="", options=TINY, name="tiny")
    checkpoint = run_folder(run) / "run" / "checkpoint.pt"
    mark = str((run_folder(run) / "lock").resolve())
    act_when(checkpoint.exists, lambda: kill_marked(mark))
    run_task(run)
    assert (run.state, run.stage) == (RunState.QUEUED, "training")
    assert run.attempts <= 1, "the death counts, unless the first epoch was written down before it"
    assert run.data["labels"].keys() == set(LABELS)
    assert "It was killed (SIGKILL)" in (run_folder(run) / "log.txt").read_text()
    assert not run_encoder_folder(run).exists()

    run_task(run)
    assert run.state == RunState.DONE, run.reason
    assert epochs_of(run) == [1, 2]
    assert run.progress["share"] > 0.9
    assert (run.progress["epoch"], run.progress["epochs"]) == (2, 2)
    assert run.progress["trace"][-1].keys() == {"at", "loss", "mined_triplets", "active_triplets"}
    assert "measuring and writing the encoder" in run.log_tail
    encoder = Encoder.objects.get(name="tiny")
    assert (run.encoder, encoder.state, encoder.dim) == (encoder, EncoderState.CANDIDATE, 24)
    assert encoder.card == json.loads(card_to_json(read_card(run_encoder_folder(run))))
    assert {"loss.png", "mined.png", "strips.png", "predictions.png"} <= set(run_pictures(run))
    left = {path.name for path in run_folder(run).iterdir()} | {path.name for path in checkpoint.parent.iterdir()}
    assert not left & {"cache", "photos", "checkpoint.pt", "best.pt"}
    assert not list(run_encoder_folder(run).parent.glob("*.part"))


def test_a_written_encoder_is_registered_without_training_again(tmp_path: Path) -> None:
    run = make_run()
    checkpoint = run_folder(run) / "run" / "checkpoint.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    shutil.copytree(SHIPPED, run_encoder_folder(run), copy_function=shutil.copyfile)
    assert run_task(run).state == RunState.DONE, run.reason
    assert run.encoder == Encoder.objects.get(name="tiny")
    assert not checkpoint.exists()


def test_an_encoder_folder_of_other_origin_fails_the_run(tmp_path: Path) -> None:
    run = make_run()
    shutil.copytree(SHIPPED, run_encoder_folder(run))
    assert run_task(run).state == RunState.FAILED
    assert "'tiny'" in run.reason
    assert run_encoder_folder(run).exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"epochs": 2, "head_epochs": 4}, "head_epochs"),
        ({"start_from": "nothing"}, "'nothing'"),
    ],
    ids=["by the training itself", "before it"],
)
def test_bad_input_fails_the_run_with_a_one_line_reason(garments: None, options: dict[str, Any], named: str) -> None:
    run = run_task(make_run(options=options))
    assert run.state == RunState.FAILED
    assert named in run.reason
    assert "\n" not in run.reason
    assert run.reason in run.log_tail
    assert (run.claim_token, run.finished_at is None) == (None, False)


def test_an_unwritable_folder_fails_the_run_with_a_reason(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings.RUNS_DIR = tmp_path / "file"
    run = run_task(make_run())
    assert run.state == RunState.FAILED
    assert run.reason.startswith("Not a directory: ")


def test_a_message_for_a_claimed_run_does_nothing() -> None:
    run = make_run()
    claimed = TrainingRun.objects.claim(run.pk, worker="train@other")
    assert claimed is not None
    run_task(run)
    assert (run.state, run.claim_token) == (RunState.RUNNING, claimed.claim_token)


def test_a_crash_requeues_the_run_and_the_third_one_fails_it(garments: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> list[str]:
        raise RuntimeError("out of thread")

    monkeypatch.setattr(training, "training_command", crash)
    run, states = make_run(), []
    for _ in range(3):
        with pytest.raises(RuntimeError):
            train_tasks.train(str(run.pk))
        run.refresh_from_db()
        states.append(run.state)
    assert states == [RunState.QUEUED, RunState.QUEUED, RunState.FAILED]
    assert run.reason.endswith("RuntimeError: out of thread")


def test_a_cancelled_run_stops_and_can_be_resumed(garments: None) -> None:
    run = make_run(options=TINY)
    (run_folder(run) / "cache").mkdir(parents=True)
    TrainingRun.objects.update(cancel_requested=True)  # as if between the claim and the first check
    assert run_task(run).state == RunState.CANCELLED
    assert not (run_folder(run) / "cache").exists()
    run_resume(run=run)
    assert (run.state, run.cancel_requested) == (RunState.QUEUED, False)


class CancellingReporter(RunReporter):
    """Cancels the run at its first event."""

    def take(self, event: Any) -> None:
        raise Cancelled


def test_cancelling_stops_the_child_process(garments: None) -> None:
    run = TrainingRun.objects.claim(make_run(options=TINY).pk, worker="train@here")
    assert run is not None
    run_folder(run).mkdir(parents=True)
    with pytest.raises(Cancelled):
        training.train_in_child(run, CancellingReporter(run))
    assert not kill_marked(str((run_folder(run) / "lock").resolve()))


def test_a_stopping_worker_requeues_its_run(garments: None) -> None:
    run = make_run(options=TINY)
    train_tasks.stop_children()
    try:
        run_task(run)
    finally:
        worker_stopping.clear()
    assert (run.state, run.attempts) == (RunState.QUEUED, 1)
    assert "The worker was stopped." in (run_folder(run) / "log.txt").read_text()


def test_the_oldest_run_is_made_first_whichever_the_message_names(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings.RUNS_DIR = tmp_path / "file"  # each fails at once
    first, second = make_run("first"), make_run("second")
    assert run_task(second).state == RunState.QUEUED
    first.refresh_from_db()
    assert first.state == RunState.FAILED
    assert run_task(second).state == RunState.FAILED


class Sender:
    hostname = "train@here"


def test_a_starting_worker_releases_the_claims_it_held_when_it_was_killed() -> None:
    run, other = make_run(), make_run("other")
    TrainingRun.objects.claim(run.pk, worker="train@here")
    TrainingRun.objects.claim(other.pk, worker="train@there")
    train_tasks.release_own_claims(Sender())
    run.refresh_from_db()
    other.refresh_from_db()
    assert (run.state, other.state) == (RunState.QUEUED, RunState.RUNNING)


def test_several_gpus_train_through_torchrun() -> None:
    run = make_run(options={"epochs": 3}, tracker="tensorboard")
    alone, together = training_command(run, 1), training_command(run, 4)
    assert alone[1:4] == ["-m", "ml", "train-metric"]
    assert together[1:5] == ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4"]
    assert together[-len(alone) :] == alone
    assert {"--resume", "--epochs=3", "tensorboard"} <= set(alone)


@pytest.mark.parametrize(("visible", "wanted"), [(None, 0), ("0,1", 0), ("", 0)])
def test_a_machine_without_gpus_has_none_whatever_cuda_visible_devices_says(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, wanted: int
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert count_gpus() == (wanted if not list(Path("/dev").glob("nvidia[0-9]*")) else count_gpus())
