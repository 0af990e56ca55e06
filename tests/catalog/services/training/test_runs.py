"""Creating, cancelling, resuming and deleting training runs."""

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
from tests.helpers.training_catalogue import make_catalogue

pytestmark = pytest.mark.django_db

ENDED = (RunState.DONE, RunState.FAILED, RunState.CANCELLED)


@pytest.fixture(autouse=True)
def folders(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    settings.RUNS_DIR, settings.ENCODER_DIRS = tmp_path / "runs", [tmp_path / "encoders"]
    settings.TRAINING_DATA_DIR = tmp_path / "manifests"
    monkeypatch.setattr(preflight, "free_disk_bytes", lambda folder: 10**12)
    monkeypatch.setattr(preflight, "free_memory_bytes", lambda: 10**12)
    return tmp_path


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """The messages sent after commit, as pairs of task name and row id."""
    messages: list[tuple[str, Any]] = []
    monkeypatch.setattr(tasks, "_send", lambda name, row_id, **options: messages.append((name, row_id)))
    return messages


def refusal(service: Any, **arguments: Any) -> tuple[str, int]:
    """The code and status of the error of a service call that must not create a run."""
    before = TrainingRun.objects.count()
    with pytest.raises(Refused) as caught, transaction.atomic():
        service(**arguments)
    assert caught.value.detail.endswith(".")
    assert TrainingRun.objects.count() == before
    return caught.value.code, caught.value.status


class TestCreate:
    def test_a_run_is_queued_with_the_options_of_the_preset_and_its_message_is_sent(
        self, sent: list[Any], django_capture_on_commit_callbacks: Any
    ) -> None:
        make_catalogue()
        staff = make_user()
        with django_capture_on_commit_callbacks(execute=True):
            run = run_create(kind=RunKind.METRIC, options={"epochs": "2"}, started_by=staff)
        run.refresh_from_db()
        assert (run.state, run.source, run.preset, run.tracker) == ("queued", "catalogue", "quick", "none")
        assert run.options == {**PRESETS["metric"]["quick"], "epochs": 2}
        assert run.started_by == staff
        assert sent == [(tasks.TRAIN, run.pk)]

    def test_without_a_preset_only_the_given_options_are_set(self) -> None:
        make_catalogue()
        run = run_create(kind=RunKind.CLASSIFIER, preset="", options={"mixup": 0.4}, tracker=RunTracker.TENSORBOARD)
        assert (run.options, run.tracker) == ({"mixup": 0.4}, "tensorboard")

    def test_the_first_run_draws_an_evaluation_set(self) -> None:
        make_catalogue()
        staff = make_user()
        run_create(kind=RunKind.METRIC, started_by=staff)
        run_create(kind=RunKind.METRIC)
        assert EvaluationSet.objects.get().created_by == staff

    def test_the_default_name_has_the_kind_and_the_date(self) -> None:
        make_catalogue()
        first, second = (run_create(kind=RunKind.METRIC).name for _ in range(2))
        assert first.startswith("metric-20")
        assert second == f"{first}-2"

    @pytest.mark.parametrize("of", ["run", "encoder", "folder"])
    @pytest.mark.database
    def test_the_name_of_a_run_or_an_encoder_is_refused(self, of: str, folders: Path) -> None:
        make_catalogue()
        {
            "run": lambda: make_run(name="mine"),
            "encoder": lambda: make_encoder("mine"),
            "folder": lambda: (folders / "encoders" / "mine").mkdir(parents=True),
        }[of]()
        assert refusal(run_create, kind=RunKind.METRIC, name="mine") == ("name_taken", 409)

    @pytest.mark.parametrize("name", ["../mine", "a b", "-a", ".a", "ż", "a/b", "x" * 101, "a\nb", "a\0"])
    def test_an_invalid_name_is_refused(self, name: str) -> None:
        make_catalogue()
        assert refusal(run_create, kind=RunKind.METRIC, name=name) == ("bad_name", 400)

    @pytest.mark.parametrize(
        ("arguments", "code"),
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
    def test_invalid_arguments_are_refused(self, arguments: dict[str, Any], code: str) -> None:
        make_catalogue()
        assert refusal(run_create, **{"kind": RunKind.METRIC} | arguments) == (code, 400)

    @pytest.mark.parametrize("labels", [(), ("Hat",)])
    def test_too_small_a_catalogue_is_refused_and_no_set_is_drawn(self, labels: tuple[str, ...]) -> None:
        make_catalogue(20, labels)
        assert refusal(run_create, kind=RunKind.METRIC) == ("preflight", 400)
        assert not EvaluationSet.objects.exists()

    def test_a_run_of_the_catalogue_has_no_manifest(self) -> None:
        make_catalogue()
        assert run_create(kind=RunKind.METRIC, manifest="left-over.csv").manifest == ""

    def test_a_clone_records_its_original(self) -> None:
        make_catalogue()
        first = make_run()
        assert run_create(kind=RunKind.METRIC, cloned_from=first).cloned_from == first


class TestArguments:
    def test_options_become_command_line_arguments(self) -> None:
        run = make_run(options={"epochs": 3, "sharpen": False})
        assert run_arguments(run=run) == ["--epochs=3", "--no-sharpen"]

    def test_start_from_becomes_the_folder_of_the_encoder(self, folders: Path) -> None:
        run = make_run(options={"start_from": "old"})
        assert refusal(run_arguments, run=run) == ("unknown_encoder", 400)
        make_encoder("old")
        assert refusal(run_arguments, run=run) == ("unknown_encoder", 400)
        folder = folders / "encoders" / "old"
        folder.mkdir(parents=True)
        (folder / "card.json").write_text(json.dumps({}))
        assert run_arguments(run=run) == [f"--start-from={folder}"]
        assert run.options == {"start_from": "old"}


class TestCancelAndResume:
    @pytest.mark.database
    def test_a_queued_run_is_cancelled_at_once_and_a_running_one_is_asked_to_stop(self) -> None:
        waiting, running = make_run(), make_run(state=RunState.RUNNING)
        for run in (waiting, running):
            run_cancel(run=run)
        assert (waiting.state, running.state) == (RunState.CANCELLED, RunState.RUNNING)
        assert running.cancel_requested

    @pytest.mark.parametrize("state", ENDED)
    def test_an_ended_run_cannot_be_cancelled(self, state: str) -> None:
        assert refusal(run_cancel, run=make_run(state=state)) == ("run_ended", 409)

    @pytest.mark.parametrize("state", [RunState.FAILED, RunState.CANCELLED])
    def test_a_failed_or_cancelled_run_is_queued_again_and_its_message_sent(
        self, state: str, sent: list[Any], django_capture_on_commit_callbacks: Any
    ) -> None:
        run = make_run(state=state, reason="no room", cancel_requested=True, attempts=2)
        with django_capture_on_commit_callbacks(execute=True):
            run_resume(run=run)
        assert (run.state, run.reason, run.cancel_requested, run.attempts) == ("queued", "", False, 0)
        assert sent == [(tasks.TRAIN, run.pk)]

    @pytest.mark.parametrize("state", [RunState.QUEUED, RunState.RUNNING, RunState.DONE])
    def test_other_runs_cannot_be_resumed(self, state: str) -> None:
        assert refusal(run_resume, run=make_run(state=state)) == ("run_not_resumable", 409)


class TestDelete:
    def files(self, run: TrainingRun) -> tuple[Path, Path]:
        folder, encoder = run_folder(run), run_encoder_folder(run)
        for path in (folder, encoder):
            path.mkdir(parents=True)
            (path / "file").touch()
        return folder, encoder

    @pytest.mark.parametrize("state", ENDED)
    @pytest.mark.database
    def test_an_ended_run_is_deleted_with_its_files(self, state: str) -> None:
        run = make_run(state=state)
        folder, _ = self.files(run)
        run_delete(run=run)
        assert not TrainingRun.objects.exists()
        assert not folder.exists()

    def test_a_registered_encoder_stays_and_an_unregistered_folder_is_deleted(self) -> None:
        run, other = make_run(state=RunState.DONE), make_run(state=RunState.FAILED)
        make_encoder(run.name)
        (_, registered), (_, forgotten) = self.files(run), self.files(other)
        run_delete(run=run)
        run_delete(run=other)
        assert registered.exists()
        assert not forgotten.exists()

    @pytest.mark.parametrize("state", [RunState.QUEUED, RunState.RUNNING])
    def test_a_queued_or_running_run_is_not_deleted(self, state: str) -> None:
        run = make_run(state=state)
        folder, encoder = self.files(run)
        assert refusal(run_delete, run=run) == ("run_not_ended", 409)
        assert folder.exists()
        assert encoder.exists()
