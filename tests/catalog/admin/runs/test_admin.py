"""Admin of training runs: page, live updates, cancel, resume, delete, permissions."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from PIL import Image

from catalog import tasks
from catalog.models import RunKind, RunState, TrainingRun
from catalog.run_folder import run_folder
from tests.helpers.factories import make_encoder, make_run, make_user

pytestmark = pytest.mark.django_db

EPOCHS = [
    {"epoch": 1, "train_loss": 2.5, "val_loss": 1.5, "recall_at_1": 0.5, "map_at_r": 0.25, "garment_at_1": 0.75},
    {"epoch": 2, "train_loss": 1.25, "val_loss": 1.0, "recall_at_1": 0.75, "map_at_r": 0.5, "garment_at_1": 0.875},
]
TRACE = [{"at": 2 + n / 8, "loss": 1 / (n + 1), "mined_triplets": 900, "active_triplets": 90 - n} for n in range(4)]
PROGRESS = {"epoch": 3, "epochs": 16, "step": 4, "steps": 8, "loss": 0.25, "photos_per_second": 54.2, "share": 0.15}


@pytest.fixture(autouse=True)
def runs_dir(settings: Any, tmp_path: Path) -> Path:
    settings.RUNS_DIR = tmp_path / "runs"
    return tmp_path / "runs"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ids of the runs that were sent to the train queue."""
    run_ids: list[int] = []
    monkeypatch.setattr(tasks, "send_train", run_ids.append)
    return run_ids


def staff_with(*verbs: str) -> Client:
    """Sign in a staff user who has only these permissions on training runs."""
    user = make_user(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=[f"{verb}_trainingrun" for verb in verbs]))
    client = Client()
    client.force_login(user)
    return client


def running_run(**columns: Any) -> TrainingRun:
    now = timezone.now()
    progress = PROGRESS | {"seconds_left": 640, "trace": TRACE}
    running = {"state": RunState.RUNNING, "stage": "training", "claimed_at": now, "started_at": now}
    return make_run(**running | {"progress": progress, "metrics": EPOCHS} | columns)


def run_url(run: TrainingRun, page: str = "change", *more: object) -> str:
    return reverse(f"admin:catalog_trainingrun_{page}", args=[run.pk, *more])


def page_html(client: Client, run: TrainingRun) -> str:
    answer = client.get(run_url(run))
    assert answer.status_code == 200
    return answer.content.decode()


def etags_in(markup: str) -> list[str]:
    return re.findall(r'name="seen" value="([^"]*)"', markup)


def draw_picture(run: TrainingRun, name: str) -> Path:
    file = run_folder(run) / "run" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 40), "navy").save(file)
    return file


# --- the page


def test_the_page_shows_the_progress_of_a_run(staff: Client) -> None:
    page = page_html(staff, running_run(log_tail="epoch 3 began"))
    for words in ("3 of 16", "4 of 8", "about 11 min", ">54<", "0.250", "15 %", "Training …", "epoch 3 began"):
        assert words in page, words


def test_the_page_draws_curves_per_epoch_and_per_step(staff: Client) -> None:
    page = page_html(staff, running_run())
    titles = re.findall(r"<figcaption>([^<]*)</figcaption>", page)
    assert titles[:3] == ["Loss", "Retrieval on validation photos", "Triplets within each epoch"]
    assert "active: first 90, now 87, between 87 and 90." in page
    assert "MAP@R: first 25 %, now 50 %" in page


def test_a_classifier_has_accuracy_curves(staff: Client) -> None:
    row = {"epoch": 1, "train_loss": 2.0, "train_accuracy": 0.5, "val_accuracy": 0.25, "phone_accuracy": 0.125}
    page = page_html(staff, running_run(kind=RunKind.CLASSIFIER, metrics=[row], progress={}))
    assert re.findall(r"<figcaption>([^<]*)</figcaption>", page) == ["Loss", "Accuracy"]
    assert "phone photos <b>12.5 %</b>" in page


def test_the_page_works_for_a_run_without_progress(staff: Client) -> None:
    for state in RunState:
        assert make_run(state=state).name in page_html(staff, TrainingRun.objects.latest("pk"))


def test_a_queued_run_shows_what_it_waits_for(staff: Client) -> None:
    running_run(name="shoes")
    assert "Waits for shoes, which is in epoch 3 of 16." in page_html(staff, make_run())


def test_a_failed_run_shows_its_reason_and_its_log(staff: Client) -> None:
    page = page_html(staff, make_run(state=RunState.FAILED, reason="The disk is full.", log_tail="No space left"))
    assert "<strong>The disk is full.</strong>" in page
    assert "No space left" in page


def test_a_run_whose_worker_is_silent_shows_a_warning(staff: Client) -> None:
    run = running_run(claimed_at=timezone.now() - timedelta(minutes=1))
    assert "has not reported" in page_html(staff, run)


def test_a_finished_run_links_to_its_encoder(staff: Client) -> None:
    encoder = make_encoder()
    page = page_html(staff, make_run(state=RunState.DONE, encoder=encoder))
    assert reverse("admin:catalog_encoder_change", args=[encoder.pk]) in page


def test_text_from_runs_is_escaped(staff: Client) -> None:
    nasty = "<script>alert(1)</script>"
    run = running_run(
        name=nasty, log_tail=nasty, reason=nasty, stage=nasty, data={nasty: nasty}, options={"start_from": nasty}
    )
    assert nasty not in page_html(staff, run)
    assert nasty not in staff.get(reverse("admin:catalog_trainingrun_changelist")).content.decode()


def test_the_list_shows_state_progress_and_the_best_epoch(staff: Client) -> None:
    running_run()
    page = staff.get(reverse("admin:catalog_trainingrun_changelist")).content.decode()
    assert "MAP@R 50 %, garment 87.5 %" in page
    assert 'value="15"' in page


# --- live updates


def test_only_changed_parts_are_sent_again(staff: Client) -> None:
    run = running_run(log_tail="one", started_at=None)
    etags = etags_in(page_html(staff, run))
    assert staff.get(run_url(run, "live"), {"seen": etags}).status_code == 204
    TrainingRun.objects.filter(pk=run.pk).update(log_tail="one\ntwo")
    answer = staff.get(run_url(run, "live"), {"seen": etags})
    assert re.findall(r'hx-swap-oob="innerHTML:#run-(\w+)"', answer.content.decode()) == ["log"]
    assert "two" in answer.content.decode()


def test_the_page_of_an_ended_run_stops_polling(staff: Client) -> None:
    run = running_run()
    page = page_html(staff, run)
    assert 'hx-trigger="every 2s"' in page
    TrainingRun.objects.filter(pk=run.pk).update(state=RunState.DONE)
    assert 'hx-trigger="every 2s"' not in page_html(staff, run)
    update = staff.get(run_url(run, "live"), {"seen": etags_in(page)}).content.decode()
    assert re.search(r'<div hx-swap-oob="innerHTML:#run-poll">\s*</div>', update)


def test_a_live_update_takes_three_queries_whatever_it_shows(staff: Client, django_assert_max_num_queries: Any) -> None:
    run = running_run(metrics=EPOCHS * 10, started_by=make_user())
    with django_assert_max_num_queries(3):  # the session, its user, the run
        staff.get(run_url(run, "live"))


def test_pictures_have_a_size_and_can_be_cached_by_browsers(staff: Client) -> None:
    run = running_run()
    draw_picture(run, "predictions.png")
    [source] = re.findall(r'<img src="([^"]*)" alt="Predictions[^"]*" width="60" height="40"', page_html(staff, run))
    answer = staff.get(source)
    assert answer["Content-Type"] == "image/png"
    assert answer["Cache-Control"].startswith("private")
    assert b"".join(answer).startswith(b"\x89PNG")  # type: ignore[arg-type, call-overload]  # streamed
    assert "v=2-" in source


@pytest.mark.parametrize("name", ["nothing.png", "checkpoint.pt", "..", "..%2Flog.txt", "%2e%2e%2f%2e%2e%2fdata.csv"])
def test_only_pictures_of_the_run_are_served(staff: Client, name: str) -> None:
    run = running_run()
    folder = draw_picture(run, "loss.png").parent
    for other in ("checkpoint.pt", "../log.txt"):
        (folder / other).write_text("private")
    assert staff.get(run_url(run, "picture", "x").replace("/x", f"/{name}")).status_code in {301, 302, 404}
    assert staff.get(run_url(run, "picture", "loss.png")).status_code == 200


def test_a_half_written_picture_is_skipped(staff: Client) -> None:
    run = running_run()
    draw_picture(run, "strips.png").write_bytes(b"\x89PNG half")
    assert "There are no pictures" not in page_html(staff, run)
    assert "strips.png" not in page_html(staff, run)


# --- buttons


def test_cancelling_a_running_run_requests_its_stop(staff: Client) -> None:
    run = running_run()
    assert staff.post(run_url(run, "cancel")).status_code == 302
    run.refresh_from_db()
    assert run.cancel_requested
    page = page_html(staff, run)
    assert "Stopping …" in page
    assert "Cancel the run" not in page


def test_a_cancelled_run_is_resumed_and_queued(
    staff: Client, sent: list[int], django_capture_on_commit_callbacks: Any
) -> None:
    run = make_run(state=RunState.CANCELLED)
    with django_capture_on_commit_callbacks(execute=True):
        assert staff.post(run_url(run, "resume")).status_code == 302
    run.refresh_from_db()
    assert run.state == RunState.QUEUED
    assert sent == [run.pk]


@pytest.mark.parametrize("page", ["cancel", "resume"])
def test_a_refused_action_is_shown_on_the_page(staff: Client, page: str) -> None:
    run = make_run(state=RunState.DONE)
    answer = staff.post(run_url(run, page), follow=True)
    assert answer.status_code == 200
    assert "errornote" in answer.content.decode()
    run.refresh_from_db()
    assert run.state == RunState.DONE


def test_only_an_ended_run_is_deleted_with_its_files(staff: Client) -> None:
    run, other = make_run(state=RunState.FAILED), running_run()
    draw_picture(run, "loss.png")
    assert staff.post(run_url(run, "delete"), {"post": "yes"}).status_code == 302
    assert not run_folder(run).exists()
    assert staff.post(run_url(other, "delete"), {"post": "yes"}).status_code == 403
    assert list(TrainingRun.objects.all()) == [other]


def test_a_selection_with_a_running_run_is_not_deleted(staff: Client) -> None:
    ended, other = make_run(state=RunState.DONE), running_run()
    chosen = {"action": "delete_selected", "_selected_action": [ended.pk, other.pk], "post": "yes"}
    answer = staff.post(reverse("admin:catalog_trainingrun_changelist"), chosen)
    assert f"{other}, which has not ended" in answer.content.decode()
    assert TrainingRun.objects.count() == 2
    staff.post(reverse("admin:catalog_trainingrun_changelist"), chosen | {"_selected_action": [ended.pk]})
    assert list(TrainingRun.objects.all()) == [other]


# --- permissions


def test_buttons_need_post(staff: Client) -> None:
    run = running_run()
    for page in ("cancel", "resume"):
        assert staff.get(run_url(run, page)).status_code == 405
    assert not TrainingRun.objects.get().cancel_requested


def test_staff_who_may_only_view_have_no_buttons() -> None:
    run, viewer = running_run(), staff_with("view")
    page = page_html(viewer, run)
    for words in ("Cancel the run", "Clone with changes", "Delete …"):
        assert words not in page
    for name in ("cancel", "resume"):
        assert viewer.post(run_url(run, name)).status_code == 403
    assert viewer.get(reverse("admin:catalog_trainingrun_add")).status_code == 403
    assert not TrainingRun.objects.get().cancel_requested


def test_staff_without_permissions_see_nothing() -> None:
    run, stranger = running_run(), staff_with()
    draw_picture(run, "loss.png")
    for path in (run_url(run), run_url(run, "live"), run_url(run, "picture", "loss.png")):
        assert stranger.get(path).status_code == 403


def test_a_missing_run_redirects_or_is_not_found(staff: Client) -> None:
    run = make_run()
    paths = [run_url(run, page) for page in ("change", "live", "cancel")]
    run.delete()
    assert [staff.get(path).status_code for path in paths[:2]] == [302, 404]
    assert staff.post(paths[2]).status_code == 404
