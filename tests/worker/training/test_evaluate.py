"""The task that measures encoders, with the real program and the encoder that ships."""

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
    """The encoder that ships beside itself under another name, on drawn garments of two labels."""
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


def evaluated(evaluation: Evaluation) -> Evaluation:
    evaluate_task(str(evaluation.pk))
    evaluation.refresh_from_db()
    return evaluation


def test_an_encoder_is_compared_and_nothing_is_left_behind(queued: Evaluation, tmp_path: Path) -> None:
    for encoder in Encoder.objects.all():
        search.embed_catalog(str(encoder.pk))
    done = evaluated(queued)
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


def test_a_changed_byte_fails_with_the_words_of_the_program(queued: Evaluation, folders: Path) -> None:
    file = folders / "copy" / "model.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    failed = evaluated(queued)
    assert failed.state == EvaluationState.FAILED
    assert "is not the file that the card describes" in failed.reason


def test_an_encoder_whose_folder_is_gone_fails_with_a_reason(queued: Evaluation, folders: Path) -> None:
    shutil.rmtree(folders / "copy")
    assert "holds 'copy'" in evaluated(queued).reason


@pytest.mark.database
def test_a_message_that_comes_twice_or_for_nothing_does_nothing(queued: Evaluation) -> None:
    Evaluation.objects.update(state=EvaluationState.DONE, report={"as": "it was"})
    assert evaluated(queued).report == {"as": "it was"}
    Evaluation.objects.all().delete()
    evaluate_task(str(queued.pk))
    assert not Embedding.objects.exists()


def test_a_killed_program_is_tried_again_and_fails_in_the_end(
    queued: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program is ended as soon as it runs; the site never is left with a comparison that seems to go on."""
    monkeypatch.setattr(evaluate, "RENEW_SECONDS", 0.05)
    states = []
    for _ in range(3):
        thread = threading.Thread(target=kill_program, args=(tmp_path,))
        thread.start()
        states.append(evaluated(queued).state)
        thread.join()
    assert states == [EvaluationState.QUEUED, EvaluationState.QUEUED, EvaluationState.FAILED]
    assert queued.claim_token is None
    assert "3 times" in queued.reason


def kill_program(folder: Path) -> None:
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
def test_an_evaluation_that_was_given_to_another_worker_stops_at_once(
    queued: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = Evaluation.objects.claim(queued.pk, worker="train@one")
    assert claim is not None
    Evaluation.objects.held_by("train@one").release()
    with evaluate.claimed_evaluation(claim):
        evaluate.check_in(claim, "photos, 10 %")
        pytest.fail("it went on")
    queued.refresh_from_db()
    assert queued.state == EvaluationState.QUEUED


def test_the_stage_is_the_latest_that_the_program_tells() -> None:
    said = "photos:   0%|  | 0/8\nphotos: 100%|##| 8/8\nphone photos:  40%|#  | 3/8 [00:01<00:02]"
    assert evaluate.parse_stage(said) == "phone photos, 40 %"
    assert evaluate.parse_stage("") == "loading"
