"""Evaluation of encoders by the task, with the real command line and the shipped encoder."""

import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from pytest_django import Settings

from catalog.models import Embedding, Encoder, Evaluation, EvaluationState
from catalog.services.encoders.gate import metric_objections
from demo.sample import draw_photo, sample_items
from tests.helpers.encoder_rows import evaluation_set_of
from tests.helpers.factories import make_item, make_item_photo
from tests.helpers.pictures import jpeg_of
from worker.tasks import search
from worker.tasks.train import evaluate as evaluate_task
from worker.training import evaluate

pytestmark = pytest.mark.django_db

SHIPPED = django_settings.BASE_DIR / "ml" / "encoders" / django_settings.DEFAULT_ENCODER


@pytest.fixture
def folders(tmp_path: Path, settings: Settings) -> Path:
    settings.VAR_DIR = tmp_path
    settings.ENCODER_DIRS = [tmp_path / "encoders", *settings.ENCODER_DIRS]
    return tmp_path / "encoders"


@pytest.fixture
def queued(folders: Path) -> Evaluation:
    """The shipped encoder against a copy of itself, on drawn garments of two labels."""
    photos = []
    for number, item in enumerate(sample_items(12)[:6]):
        row = make_item(category=("Dress", "Hat")[number % 2])
        photos.append(make_item_photo(row, content=jpeg_of(draw_photo(item))))
    call_command("register_encoder", SHIPPED, live=True, verbosity=0)
    shutil.copytree(SHIPPED, folders / "copy")
    call_command("register_encoder", folders / "copy", verbosity=0)
    live, copy = Encoder.objects.order_by("pk")
    chosen = evaluation_set_of(*photos[:4])
    return Evaluation.objects.create(encoder=copy, against=live, evaluation_set=chosen)


def run_task(evaluation: Evaluation) -> Evaluation:
    evaluate_task(str(evaluation.pk))
    evaluation.refresh_from_db()
    return evaluation


def test_an_encoder_is_compared_and_its_files_are_deleted(queued: Evaluation, tmp_path: Path) -> None:
    for encoder in Encoder.objects.all():
        search.embed_catalog(str(encoder.pk))
    done = run_task(queued)
    assert (done.state, done.reason, done.claim_token) == (EvaluationState.DONE, "", None)
    assert (done.report["queries"], done.report["gallery"], done.report["splits"]) == (4, 6, ["test"])
    assert set(done.report["against"]["labels"]) == {"Dress", "Hat"}
    assert {one["value"] for one in done.report["against"]["differences"].values()} == {0.0}
    assert metric_objections(done.report) == []
    assert len(done.samples) == 4
    assert [answer["item"] for answer in done.samples[0]["ours"]] == [
        answer["item"] for answer in done.samples[0]["theirs"]
    ]
    assert list((tmp_path / "evaluations").iterdir()) == []


def test_a_changed_file_fails_with_the_error_line_of_the_child(queued: Evaluation, folders: Path) -> None:
    file = folders / "copy" / "model.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    failed = run_task(queued)
    assert failed.state == EvaluationState.FAILED
    assert "model.onnx" in failed.reason


def test_an_encoder_without_a_folder_fails_with_a_reason(queued: Evaluation, folders: Path) -> None:
    shutil.rmtree(folders / "copy")
    assert "copy" in run_task(queued).reason


@pytest.mark.database
def test_a_message_for_a_finished_or_deleted_evaluation_does_nothing(queued: Evaluation) -> None:
    Evaluation.objects.update(state=EvaluationState.DONE, report={"as": "it was"})
    assert run_task(queued).report == {"as": "it was"}
    Evaluation.objects.all().delete()
    evaluate_task(str(queued.pk))
    assert not Embedding.objects.exists()


def test_a_killed_child_is_tried_again_and_fails_in_the_end(
    queued: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child is killed as soon as it runs; no evaluation is left in the state running."""
    monkeypatch.setattr(evaluate, "RENEW_SECONDS", 0.05)
    states = []
    for _ in range(3):
        thread = threading.Thread(target=kill_child, args=(tmp_path,))
        thread.start()
        states.append(run_task(queued).state)
        thread.join()
    assert states == [EvaluationState.QUEUED, EvaluationState.QUEUED, EvaluationState.FAILED]
    assert queued.claim_token is None
    assert "3 times" in queued.reason


def kill_child(folder: Path) -> None:
    wanted = str(folder / "evaluations").encode()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if wanted in command and b"\0ml\0evaluate\0" in command and b"launcher" not in command:
                os.kill(int(process.name), signal.SIGKILL)
                return
        time.sleep(0.02)


@pytest.mark.database
def test_an_evaluation_whose_claim_was_lost_stops_at_once(queued: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = Evaluation.objects.claim(queued.pk, worker="train@one")
    assert claim is not None
    Evaluation.objects.held_by("train@one").release_claims()
    with evaluate.claimed_evaluation(claim):
        evaluate.check_in(claim, "photos, 10 %")
        pytest.fail("it went on")
    queued.refresh_from_db()
    assert queued.state == EvaluationState.QUEUED


def test_the_stage_is_the_latest_progress_bar() -> None:
    stderr = "photos:   0%|  | 0/8\nphotos: 100%|##| 8/8\nphone photos:  40%|#  | 3/8 [00:01<00:02]"
    assert evaluate.parse_stage(stderr) == "phone photos, 40 %"
    assert evaluate.parse_stage("") == "loading"
