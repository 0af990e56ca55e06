"""Staff watch training runs, and stop, resume, clone and delete them."""

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

pytestmark = [pytest.mark.django_db, pytest.mark.database]

EPOCHS = [
    {"epoch": 1, "train_loss": 2.5, "val_loss": 1.5, "recall_at_1": 0.5, "map_at_r": 0.25, "garment_at_1": 0.75},
    {"epoch": 2, "train_loss": 1.25, "val_loss": 1.0, "recall_at_1": 0.75, "map_at_r": 0.5, "garment_at_1": 0.875},
]
TRACE = [{"at": 2 + n / 8, "loss": 1 / (n + 1), "mined_triplets": 900, "active_triplets": 90 - n} for n in range(4)]
PROGRESS = {"epoch": 3, "epochs": 16, "step": 4, "steps": 8, "loss": 0.25, "photos_per_second": 54.2, "share": 0.15}


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(make_user("boss", is_staff=True, is_superuser=True))
    return client


@pytest.fixture(autouse=True)
def runs_dir(settings: Any, tmp_path: Path) -> Path:
    settings.RUNS_DIR = tmp_path / "runs"
    return tmp_path / "runs"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The runs that a train worker was told of."""
    told: list[int] = []
    monkeypatch.setattr(tasks, "send_train", told.append)
    return told


def clerk(*may: str) -> Client:
    """Staff who may do some things with runs."""
    user = make_user(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=[f"{name}_trainingrun" for name in may]))
    client = Client()
    client.force_login(user)
    return client


def training(**columns: Any) -> TrainingRun:
    now = timezone.now()
    progress = PROGRESS | {"seconds_left": 640, "trace": TRACE}
    running = {"state": RunState.RUNNING, "stage": "training", "claimed_at": now, "started_at": now}
    return make_run(**running | {"progress": progress, "metrics": EPOCHS} | columns)


def address(run: TrainingRun, page: str = "change", *more: object) -> str:
    return reverse(f"admin:catalog_trainingrun_{page}", args=[run.pk, *more])


def page_of(client: Client, run: TrainingRun) -> str:
    answer = client.get(address(run))
    assert answer.status_code == 200
    return answer.content.decode()


def seen_in(markup: str) -> list[str]:
    return re.findall(r'name="seen" value="([^"]*)"', markup)


def draw_picture(run: TrainingRun, name: str) -> Path:
    file = run_folder(run) / "run" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 40), "navy").save(file)
    return file


# --- looking


def test_the_page_shows_how_far_a_run_is(staff: Client) -> None:
    page = page_of(staff, training(log_tail="epoch 3 began"))
    for words in ("3 of 16", "4 of 8", "about 11 min", ">54<", "0.250", "15 %", "Training …", "epoch 3 began"):
        assert words in page, words


def test_the_page_draws_the_curves_of_the_epochs_and_within_them(staff: Client) -> None:
    page = page_of(staff, training())
    titles = re.findall(r"<figcaption>([^<]*)</figcaption>", page)
    assert titles[:3] == ["Loss", "Found among held-out photos", "Triplets, growing within each epoch"]
    assert "active: 90 at first, 87 now, between 87 and 90." in page
    assert "MAP@R: 25 % at first, 50 % now" in page


def test_the_curves_of_a_classifier_are_its_accuracies(staff: Client) -> None:
    row = {"epoch": 1, "train_loss": 2.0, "train_accuracy": 0.5, "val_accuracy": 0.25, "phone_accuracy": 0.125}
    page = page_of(staff, training(kind=RunKind.CLASSIFIER, metrics=[row], progress={}))
    assert re.findall(r"<figcaption>([^<]*)</figcaption>", page) == ["Loss", "Accuracy"]
    assert "phone photos of them <b>12.5 %</b>" in page


def test_a_run_without_any_progress_has_a_page_too(staff: Client) -> None:
    for state in RunState:
        assert make_run(state=state).name in page_of(staff, TrainingRun.objects.latest("pk"))


def test_a_queued_run_says_what_it_waits_for(staff: Client) -> None:
    training(name="shoes")
    assert "Waits for shoes, which is in epoch 3 of 16." in page_of(staff, make_run())


def test_a_failed_run_says_why_in_one_line_with_its_log(staff: Client) -> None:
    page = page_of(staff, make_run(state=RunState.FAILED, reason="The disk is full.", log_tail="No space left"))
    assert "<strong>The disk is full.</strong>" in page
    assert "No space left" in page


def test_a_run_whose_worker_is_not_heard_of_says_so(staff: Client) -> None:
    run = training(claimed_at=timezone.now() - timedelta(minutes=1))
    assert "has not been heard of" in page_of(staff, run)


def test_a_run_that_is_done_leads_to_its_encoder(staff: Client) -> None:
    encoder = make_encoder()
    page = page_of(staff, make_run(state=RunState.DONE, encoder=encoder))
    assert reverse("admin:catalog_encoder_change", args=[encoder.pk]) in page


def test_what_was_said_by_others_is_never_markup(staff: Client) -> None:
    nasty = "<script>alert(1)</script>"
    run = training(
        name=nasty, log_tail=nasty, reason=nasty, stage=nasty, data={nasty: nasty}, options={"start_from": nasty}
    )
    assert nasty not in page_of(staff, run)
    assert nasty not in staff.get(reverse("admin:catalog_trainingrun_changelist")).content.decode()


def test_the_list_shows_state_progress_and_the_best_epoch(staff: Client) -> None:
    training()
    page = staff.get(reverse("admin:catalog_trainingrun_changelist")).content.decode()
    assert "MAP@R 50 %, garment 87.5 %" in page
    assert 'value="15"' in page


# --- following


def test_only_what_has_changed_is_sent_again(staff: Client) -> None:
    run = training(log_tail="one", started_at=None)
    seen = seen_in(page_of(staff, run))
    assert staff.get(address(run, "live"), {"seen": seen}).status_code == 204
    TrainingRun.objects.filter(pk=run.pk).update(log_tail="one\ntwo")
    answer = staff.get(address(run, "live"), {"seen": seen})
    assert re.findall(r'hx-swap-oob="innerHTML:#run-(\w+)"', answer.content.decode()) == ["log"]
    assert "two" in answer.content.decode()


def test_an_ended_run_is_not_asked_for_any_more(staff: Client) -> None:
    run = training()
    page = page_of(staff, run)
    assert 'hx-trigger="every 2s"' in page
    TrainingRun.objects.filter(pk=run.pk).update(state=RunState.DONE)
    assert 'hx-trigger="every 2s"' not in page_of(staff, run)
    news = staff.get(address(run, "live"), {"seen": seen_in(page)}).content.decode()
    assert re.search(r'<div hx-swap-oob="innerHTML:#run-poll">\s*</div>', news)


def test_following_takes_as_many_queries_whatever_there_is_to_show(
    staff: Client, django_assert_max_num_queries: Any
) -> None:
    run = training(metrics=EPOCHS * 10, started_by=make_user())
    with django_assert_max_num_queries(3):  # the session, its user, the run
        staff.get(address(run, "live"))


def test_pictures_are_shown_with_their_size_and_kept_by_browsers(staff: Client) -> None:
    run = training()
    draw_picture(run, "predictions.png")
    [source] = re.findall(r'<img src="([^"]*)" alt="Predictions[^"]*" width="60" height="40"', page_of(staff, run))
    answer = staff.get(source)
    assert answer["Content-Type"] == "image/png"
    assert answer["Cache-Control"].startswith("private")
    assert b"".join(answer).startswith(b"\x89PNG")  # type: ignore[arg-type, call-overload]  # streamed
    assert "v=2-" in source


@pytest.mark.parametrize("name", ["nothing.png", "checkpoint.pt", "..", "..%2Flog.txt", "%2e%2e%2f%2e%2e%2fdata.csv"])
def test_no_other_file_of_the_run_is_served(staff: Client, name: str) -> None:
    run = training()
    folder = draw_picture(run, "loss.png").parent
    for other in ("checkpoint.pt", "../log.txt"):
        (folder / other).write_text("private")
    assert staff.get(address(run, "picture", "x").replace("/x", f"/{name}")).status_code in {301, 302, 404}
    assert staff.get(address(run, "picture", "loss.png")).status_code == 200


def test_a_picture_that_is_half_written_is_left_out(staff: Client) -> None:
    run = training()
    draw_picture(run, "strips.png").write_bytes(b"\x89PNG half")
    assert "There are none" not in page_of(staff, run)
    assert "strips.png" not in page_of(staff, run)


# --- acting


def test_a_run_that_trains_is_asked_to_stop(staff: Client) -> None:
    run = training()
    assert staff.post(address(run, "cancel")).status_code == 302
    run.refresh_from_db()
    assert run.cancel_requested
    page = page_of(staff, run)
    assert "Is being stopped" in page
    assert "Cancel the run" not in page


def test_a_stopped_run_is_resumed_and_the_worker_told(
    staff: Client, sent: list[int], django_capture_on_commit_callbacks: Any
) -> None:
    run = make_run(state=RunState.CANCELLED)
    with django_capture_on_commit_callbacks(execute=True):
        assert staff.post(address(run, "resume")).status_code == 302
    run.refresh_from_db()
    assert run.state == RunState.QUEUED
    assert sent == [run.pk]


@pytest.mark.parametrize("page", ["cancel", "resume"])
def test_what_is_too_late_is_told_on_the_page(staff: Client, page: str) -> None:
    run = make_run(state=RunState.DONE)
    answer = staff.post(address(run, page), follow=True)
    assert answer.status_code == 200
    assert "errornote" in answer.content.decode()
    run.refresh_from_db()
    assert run.state == RunState.DONE


def test_an_ended_run_is_deleted_with_its_files_and_others_are_not(staff: Client) -> None:
    run, other = make_run(state=RunState.FAILED), training()
    draw_picture(run, "loss.png")
    assert staff.post(address(run, "delete"), {"post": "yes"}).status_code == 302
    assert not run_folder(run).exists()
    assert staff.post(address(other, "delete"), {"post": "yes"}).status_code == 403
    assert list(TrainingRun.objects.all()) == [other]


def test_of_several_none_is_deleted_while_one_has_not_ended(staff: Client) -> None:
    ended, other = make_run(state=RunState.DONE), training()
    chosen = {"action": "delete_selected", "_selected_action": [ended.pk, other.pk], "post": "yes"}
    answer = staff.post(reverse("admin:catalog_trainingrun_changelist"), chosen)
    assert f"{other}, which has not ended" in answer.content.decode()
    assert TrainingRun.objects.count() == 2
    staff.post(reverse("admin:catalog_trainingrun_changelist"), chosen | {"_selected_action": [ended.pk]})
    assert list(TrainingRun.objects.all()) == [other]


# --- who may


def test_nothing_is_done_by_asking(staff: Client) -> None:
    run = training()
    for page in ("cancel", "resume"):
        assert staff.get(address(run, page)).status_code == 405
    assert not TrainingRun.objects.get().cancel_requested


def test_who_may_only_look_finds_no_buttons_and_can_do_nothing() -> None:
    run, looker = training(), clerk("view")
    page = page_of(looker, run)
    for words in ("Cancel the run", "Clone with changes", "Delete …"):
        assert words not in page
    for name in ("cancel", "resume"):
        assert looker.post(address(run, name)).status_code == 403
    assert looker.get(reverse("admin:catalog_trainingrun_add")).status_code == 403
    assert not TrainingRun.objects.get().cancel_requested


def test_who_may_not_look_sees_nothing() -> None:
    run, nobody = training(), clerk()
    draw_picture(run, "loss.png")
    for path in (address(run), address(run, "live"), address(run, "picture", "loss.png")):
        assert nobody.get(path).status_code == 403


def test_a_run_that_there_is_not_leads_back_or_is_not_found(staff: Client) -> None:
    run = make_run()
    paths = [address(run, page) for page in ("change", "live", "cancel")]
    run.delete()
    assert [staff.get(path).status_code for path in paths[:2]] == [302, 404]
    assert staff.post(paths[2]).status_code == 404
