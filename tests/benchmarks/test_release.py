"""The programs that `benchmarks.release` runs inside the site, on the real models."""

import json

import pytest

from benchmarks.release import GATE, NAME, START, STEP
from catalog.models import Encoder, Evaluation, EvaluationState, RunKind, RunState, TrainingRun
from tests.helpers.encoder_rows import evaluation_set_of
from tests.helpers.factories import make_encoder, make_item_photo

pytestmark = pytest.mark.django_db


@pytest.fixture
def run() -> TrainingRun:
    return TrainingRun.objects.create(name=NAME, kind=RunKind.METRIC)


def output_of(program: str, capsys: pytest.CaptureFixture[str], **values: str) -> str:
    capsys.readouterr()
    exec(program.format(name=NAME, **values), {})  # noqa: S102 - the benchmark's own program
    return capsys.readouterr().out.strip()


def test_each_step_from_training_to_comparison_is_recognised(
    run: TrainingRun, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [output_of(STEP, capsys)]
    encoder = make_encoder(NAME)
    TrainingRun.objects.update(state=RunState.DONE, encoder=encoder)
    photo = make_item_photo()
    steps.append(output_of(STEP, capsys))
    photo.delete()
    steps.append(output_of(STEP, capsys))
    evaluation = Evaluation.objects.create(encoder=encoder, evaluation_set=evaluation_set_of(make_item_photo()))
    encoder.missing_photos().get().delete()
    steps.append(output_of(STEP, capsys))
    Evaluation.objects.update(state=EvaluationState.DONE)
    steps.append(output_of(STEP, capsys))
    assert steps == ["training", "embedding", "comparing", "comparing", "compared"]
    Evaluation.objects.filter(pk=evaluation.pk).update(state=EvaluationState.FAILED, reason="No photos.")
    assert output_of(STEP, capsys).endswith(": No photos.")


def test_a_failed_run_is_recognised_with_its_reason(run: TrainingRun, capsys: pytest.CaptureFixture[str]) -> None:
    TrainingRun.objects.update(state=RunState.FAILED, reason="The disk is full.")
    assert output_of(STEP, capsys).endswith(": The disk is full.")


def test_the_release_checks_of_an_encoder_are_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    make_encoder(NAME)
    texts = json.loads(output_of(GATE, capsys))
    assert all(isinstance(text, str) for text in texts)
    assert Encoder.objects.get().name == NAME


def test_a_run_is_started(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[dict[str, str]] = []
    monkeypatch.setattr("catalog.services.training.runs.run_create", lambda **columns: calls.append(columns))
    output_of(START, capsys, preset="quick")
    assert calls == [{"kind": "metric", "preset": "quick", "name": NAME}]
