"""Training runs: started, stopped, resumed and deleted."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from catalog import tasks
from catalog.errors import Refused
from catalog.models import EvaluationSet, RunKind, RunSource, RunState, RunTracker, TrainingRun
from catalog.run_folder import run_encoder_folder, run_folder
from catalog.services.training import preflight
from catalog.services.training.options import PRESETS
from catalog.services.training.runs import run_arguments, run_cancel, run_create, run_delete, run_resume
from tests.helpers.factories import make_encoder, make_run, make_user
from tests.helpers.training_catalogue import catalogue

pytestmark = pytest.mark.django_db

ENDED = (RunState.DONE, RunState.FAILED, RunState.CANCELLED)


@pytest.fixture(autouse=True)
def places(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    settings.RUNS_DIR, settings.ENCODER_DIRS = tmp_path / "runs", [tmp_path / "encoders"]
    settings.TRAINING_DATA_DIR = tmp_path / "brought"
    monkeypatch.setattr(preflight, "free_disk_bytes", lambda folder: 10**12)
    monkeypatch.setattr(preflight, "free_memory_bytes", lambda: 10**12)
    return tmp_path


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """The messages that are sent, at the commit."""
    messages: list[tuple[str, Any]] = []
    monkeypatch.setattr(tasks, "_send", lambda name, row_id, **how: messages.append((name, row_id)))
    return messages


def refused(call: Any, **asked: Any) -> tuple[str, int]:
    before = TrainingRun.objects.count()
    with pytest.raises(Refused) as caught, transaction.atomic():
        call(**asked)
    assert caught.value.detail.endswith(".")
    assert TrainingRun.objects.count() == before
    return caught.value.code, caught.value.status


class TestCreate:
    def test_it_is_queued_with_the_presets_values_and_its_message_is_sent(
        self, sent: list[Any], django_capture_on_commit_callbacks: Any
    ) -> None:
        catalogue()
        boss = make_user()
        with django_capture_on_commit_callbacks(execute=True):
            run = run_create(kind=RunKind.METRIC, options={"epochs": "2"}, started_by=boss)
        run.refresh_from_db()
        assert (run.state, run.source, run.preset, run.tracker) == ("queued", "catalogue", "quick", "none")
        assert run.options == {**PRESETS["metric"]["quick"], "epochs": 2}
        assert run.started_by == boss
        assert sent == [(tasks.TRAIN, run.pk)]

    def test_without_a_preset_only_what_is_asked_for_is_set(self) -> None:
        catalogue()
        run = run_create(kind=RunKind.CLASSIFIER, preset="", options={"mixup": 0.4}, tracker=RunTracker.TENSORBOARD)
        assert (run.options, run.tracker) == ({"mixup": 0.4}, "tensorboard")

    def test_the_first_one_draws_an_evaluation_set(self) -> None:
        catalogue()
        boss = make_user()
        run_create(kind=RunKind.METRIC, started_by=boss)
        run_create(kind=RunKind.METRIC)
        assert EvaluationSet.objects.get().created_by == boss

    def test_a_name_is_made_from_the_kind_and_the_day(self) -> None:
        catalogue()
        first, second = (run_create(kind=RunKind.METRIC).name for _ in range(2))
        assert first.startswith("metric-20")
        assert second == f"{first}-2"

    @pytest.mark.parametrize("of", ["run", "encoder", "folder"])
    @pytest.mark.database
    def test_a_name_that_a_run_or_an_encoder_has_is_refused(self, of: str, places: Path) -> None:
        catalogue()
        {
            "run": lambda: make_run(name="mine"),
            "encoder": lambda: make_encoder("mine"),
            "folder": lambda: (places / "encoders" / "mine").mkdir(parents=True),
        }[of]()
        assert refused(run_create, kind=RunKind.METRIC, name="mine") == ("name_taken", 409)

    @pytest.mark.parametrize("name", ["../mine", "a b", "-a", ".a", "ż", "a/b", "x" * 101, "a\nb", "a\0"])
    def test_a_name_that_no_encoder_can_have_is_refused(self, name: str) -> None:
        catalogue()
        assert refused(run_create, kind=RunKind.METRIC, name=name) == ("bad_name", 400)

    @pytest.mark.parametrize(
        ("asked", "code"),
        [
            ({"kind": "poetry"}, "unknown_kind"),
            ({"source": "dreams"}, "unknown_source"),
            ({"tracker": "cookie"}, "unknown_tracker"),
            ({"preset": "instant"}, "unknown_preset"),
            ({"options": {"speed": 9}}, "unknown_option"),
            ({"options": {"epochs": 0}}, "bad_option"),
            ({"source": RunSource.MANIFEST, "manifest": "none.csv"}, "preflight"),
            ({"options": {"start_from": "none"}}, "preflight"),
        ],
    )
    def test_what_no_run_can_be_made_of_is_refused(self, asked: dict[str, Any], code: str) -> None:
        catalogue()
        assert refused(run_create, **{"kind": RunKind.METRIC} | asked) == (code, 400)

    @pytest.mark.parametrize("labels", [(), ("Hat",)])
    def test_an_empty_catalogue_or_one_category_is_refused_and_draws_nothing(self, labels: tuple[str, ...]) -> None:
        catalogue(20, labels)
        assert refused(run_create, kind=RunKind.METRIC) == ("preflight", 400)
        assert not EvaluationSet.objects.exists()

    def test_a_run_of_the_catalogue_takes_no_manifest_along(self) -> None:
        catalogue()
        assert run_create(kind=RunKind.METRIC, manifest="left-over.csv").manifest == ""

    def test_a_clone_knows_what_it_was_made_from(self) -> None:
        catalogue()
        first = make_run()
        assert run_create(kind=RunKind.METRIC, cloned_from=first).cloned_from == first


class TestArguments:
    def test_they_are_the_words_of_the_command_line(self) -> None:
        run = make_run(options={"epochs": 3, "sharpen": False})
        assert run_arguments(run=run) == ["--epochs=3", "--no-sharpen"]

    def test_an_encoder_to_start_from_is_named_by_its_folder(self, places: Path) -> None:
        run = make_run(options={"start_from": "old"})
        assert refused(run_arguments, run=run) == ("unknown_encoder", 400)
        make_encoder("old")
        assert refused(run_arguments, run=run) == ("unknown_encoder", 400)
        folder = places / "encoders" / "old"
        folder.mkdir(parents=True)
        (folder / "card.json").write_text(json.dumps({}))
        assert run_arguments(run=run) == [f"--start-from={folder}"]
        assert run.options == {"start_from": "old"}


class TestStopping:
    @pytest.mark.database
    def test_a_waiting_run_is_cancelled_at_once_and_a_running_one_is_told(self) -> None:
        waiting, running = make_run(), make_run(state=RunState.RUNNING)
        for run in (waiting, running):
            run_cancel(run=run)
        assert (waiting.state, running.state) == (RunState.CANCELLED, RunState.RUNNING)
        assert running.cancel_requested

    @pytest.mark.parametrize("state", ENDED)
    def test_one_that_has_ended_cannot_be_cancelled(self, state: str) -> None:
        assert refused(run_cancel, run=make_run(state=state)) == ("run_ended", 409)

    @pytest.mark.parametrize("state", [RunState.FAILED, RunState.CANCELLED])
    def test_a_failed_or_cancelled_one_waits_again_and_its_message_is_sent(
        self, state: str, sent: list[Any], django_capture_on_commit_callbacks: Any
    ) -> None:
        run = make_run(state=state, reason="no room", cancel_requested=True, attempts=2)
        with django_capture_on_commit_callbacks(execute=True):
            run_resume(run=run)
        assert (run.state, run.reason, run.cancel_requested, run.attempts) == ("queued", "", False, 0)
        assert sent == [(tasks.TRAIN, run.pk)]

    @pytest.mark.parametrize("state", [RunState.QUEUED, RunState.RUNNING, RunState.DONE])
    def test_others_cannot_be_resumed(self, state: str) -> None:
        assert refused(run_resume, run=make_run(state=state)) == ("run_not_resumable", 409)


class TestDelete:
    def files(self, run: TrainingRun) -> tuple[Path, Path]:
        folder, encoder = run_folder(run), run_encoder_folder(run)
        for path in (folder, encoder):
            path.mkdir(parents=True)
            (path / "file").touch()
        return folder, encoder

    @pytest.mark.parametrize("state", ENDED)
    @pytest.mark.database
    def test_an_ended_run_goes_with_its_files(self, state: str) -> None:
        run = make_run(state=state)
        folder, _ = self.files(run)
        run_delete(run=run)
        assert not TrainingRun.objects.exists()
        assert not folder.exists()

    def test_its_encoder_stays_but_not_one_that_was_never_registered(self) -> None:
        run, other = make_run(state=RunState.DONE), make_run(state=RunState.FAILED)
        make_encoder(run.name)
        (_, registered), (_, forgotten) = self.files(run), self.files(other)
        run_delete(run=run)
        run_delete(run=other)
        assert registered.exists()
        assert not forgotten.exists()

    @pytest.mark.parametrize("state", [RunState.QUEUED, RunState.RUNNING])
    def test_one_that_waits_or_runs_stays_with_all_it_has(self, state: str) -> None:
        run = make_run(state=state)
        folder, encoder = self.files(run)
        assert refused(run_delete, run=run) == ("run_not_ended", 409)
        assert folder.exists()
        assert encoder.exists()
