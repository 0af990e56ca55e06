"""Endpoints of training runs: for staff with the admin's permissions and a token of the scope `staff`."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from catalog.models import RunState, Scope, TrainingRun, User
from catalog.services.training import preflight
from catalog.services.training.options import PRESETS
from tests.helpers.api import assert_refused, client_with
from tests.helpers.api_schema import assert_matches_schema
from tests.helpers.factories import make_encoder, make_run, make_user
from tests.helpers.training_catalogue import make_catalogue

pytestmark = pytest.mark.django_db

RUNS = "/api/v1/training-runs/"
ONE = f"{RUNS}{{id}}/"


@pytest.fixture(autouse=True)
def places(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.RUNS_DIR, settings.TRAINING_DATA_DIR = tmp_path / "runs", tmp_path / "brought"
    monkeypatch.setattr(preflight, "free_disk_bytes", lambda folder: 10**12)
    monkeypatch.setattr(preflight, "free_memory_bytes", lambda: 10**12)


@pytest.fixture
def boss(db: None) -> User:
    return make_user("boss", is_staff=True, is_superuser=True)


@pytest.fixture
def staff(boss: User) -> APIClient:
    return client_with(boss, Scope.STAFF)


def clerk_with(*permissions: str) -> APIClient:
    clerk = make_user(is_staff=True)
    clerk.user_permissions.add(*Permission.objects.filter(codename__in=permissions))
    return client_with(clerk, Scope.STAFF)


def run_url(run: TrainingRun, what: str = "") -> str:
    return f"{RUNS}{run.pk}/{what}"


def test_starting_a_run_returns_its_location(staff: APIClient, boss: User) -> None:
    make_catalogue()
    body = {"kind": "metric", "name": "mine", "options": {"epochs": 2, "sharpen": False, "label_loss": "arcface"}}
    answer = staff.post(RUNS, body)
    run = TrainingRun.objects.get()
    assert answer.status_code == 201, answer.content
    assert answer["Location"] == answer.json()["url"] == f"http://testserver{run_url(run)}"
    assert run.started_by == boss
    shown = answer.json()
    assert (shown["name"], shown["state"], shown["started_by"], shown["encoder"]) == (
        "mine",
        "queued",
        "boss",
        None,
    )
    assert shown["options"] == {**PRESETS["metric"]["quick"], **body["options"]}
    assert shown["waits_for"] == "No train worker has taken it yet."
    assert staff.get(run_url(run)).json() == shown


def test_a_run_returns_its_progress(staff: APIClient) -> None:
    epochs = [{"epoch": 1, "train_loss": 2.5, "val_loss": None}]
    run = make_run(
        state=RunState.RUNNING,
        stage="training",
        progress={"share": 0.25, "epoch": 2},
        metrics=epochs,
        data={"train": 9},
        log_tail="epoch 1",
    )
    shown = staff.get(run_url(run)).json()
    assert (shown["share"], shown["stage"], shown["metrics"], shown["log_tail"]) == (
        0.25,
        "training",
        epochs,
        "epoch 1",
    )
    assert (shown["progress"], shown["data"], shown["waits_for"]) == (run.progress, run.data, "")
    (listed,) = staff.get(RUNS).json()["results"]
    assert listed == {name: value for name, value in shown.items() if name in listed}
    assert "metrics" not in listed


@pytest.mark.database
def test_runs_are_paged_newest_first(staff: APIClient) -> None:
    names = [make_run().name for _ in range(3)][::-1]
    page = staff.get(f"{RUNS}?page_size=2").json()
    rest = staff.get(page["next"]).json()
    assert [run["name"] for run in page["results"] + rest["results"]] == names
    assert_refused(staff.get(f"{RUNS}?cursor=x"), 404, "invalid_cursor")


def test_a_run_is_cancelled_and_resumed(staff: APIClient) -> None:
    run = make_run()
    assert staff.post(run_url(run, "cancel/")).json()["state"] == "cancelled"
    assert_refused(staff.post(run_url(run, "cancel/")), 409, "run_ended")
    assert staff.post(run_url(run, "resume/")).json()["state"] == "queued"
    assert_refused(staff.post(run_url(run, "resume/")), 409, "run_not_resumable")


def test_cancelling_a_running_run_requests_its_stop(staff: APIClient) -> None:
    shown = staff.post(run_url(make_run(state=RunState.RUNNING), "cancel/")).json()
    assert (shown["state"], shown["cancel_requested"]) == ("running", True)


@pytest.mark.parametrize("number", ["0", "99999999", "9" * 19, "9" * 300])
@pytest.mark.parametrize("what", ["", "cancel/", "resume/"])
def test_an_unknown_run_is_404(staff: APIClient, number: str, what: str) -> None:
    address = f"{RUNS}{number}/{what}"
    assert_refused(staff.post(address) if what else staff.get(address), 404, "not_found")


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "invalid_input", "kind"),
        ({"kind": "poetry"}, "invalid_input", "kind"),
        ({"kind": "metric", "speed": 1}, "invalid_input", "speed"),
        ({"kind": "metric", "options": []}, "invalid_input", "options"),
        ({"kind": "metric", "options": {"epochs": [1]}}, "invalid_input", "options.epochs"),
        ({"kind": "metric", "options": {"epochs": None}}, "invalid_input", "options.epochs"),
        ({"kind": "metric", "name": 7}, "invalid_input", "name"),
        ({"kind": "metric", "options": {"speed": 1}}, "unknown_option", None),
        ({"kind": "metric", "options": {"lr": "\0"}}, "bad_option", None),
        ({"kind": "metric", "options": {"\ud800": 1}}, "unknown_option", None),
        ({"kind": "metric", "preset": "instant"}, "unknown_preset", None),
        ({"kind": "metric", "name": "../x"}, "bad_name", None),
        ({"kind": "metric", "source": "manifest", "manifest": "../../etc/passwd"}, "preflight", None),
    ],
)
def test_an_invalid_run_is_refused_with_a_code_and_not_started(
    staff: APIClient, body: Any, code: str, field: str | None
) -> None:
    make_catalogue()
    answer = staff.generic("POST", RUNS, json.dumps(body), content_type="application/json")
    assert_refused(answer, 400, code, field)
    assert not TrainingRun.objects.exists()


def test_a_preflight_error_follows_accept_language(staff: APIClient) -> None:
    answer = staff.post(RUNS, {"kind": "metric"})
    assert_refused(answer, 400, "preflight")
    assert answer.json()["detail"].startswith("There are no photos to train on")
    polish = staff.post(RUNS, {"kind": "metric"}, headers={"Accept-Language": "pl"}).json()["detail"]
    assert polish.startswith("Nie ma zdjęć")


@pytest.mark.database
def test_a_taken_name_is_a_conflict(staff: APIClient) -> None:
    make_catalogue()
    make_encoder("mine")
    assert_refused(staff.post(RUNS, {"kind": "metric", "name": "mine"}), 409, "name_taken")


# --- permissions


@pytest.mark.parametrize("scope", [Scope.USER, Scope.SERVICE])
def test_other_scopes_are_refused(boss: User, scope: str) -> None:
    client, run = client_with(boss, scope), make_run()
    for answer in (client.get(RUNS), client.post(RUNS, {"kind": "metric"}), client.get(run_url(run))):
        assert_refused(answer, 403, "scope_missing")
    assert_refused(client.post(run_url(run, "cancel/")), 403, "scope_missing")


def test_a_former_staff_user_is_refused(staff: APIClient, boss: User) -> None:
    User.objects.filter(pk=boss.pk).update(is_staff=False)
    assert_refused(staff.get(RUNS), 403, "scope_missing")


def test_each_action_needs_its_permission(db: None) -> None:
    make_catalogue()
    run = make_run()
    deeds = {
        "view_trainingrun": [lambda client: client.get(RUNS), lambda client: client.get(run_url(run))],
        "add_trainingrun": [lambda client: client.post(RUNS, {"kind": "metric"})],
        "change_trainingrun": [
            lambda client: client.post(run_url(run, "cancel/")),
            lambda client: client.post(run_url(run, "resume/")),
        ],
    }
    for permission in (*deeds, "none"):
        client = clerk_with(permission)
        for needed, calls in deeds.items():
            for call in calls:
                answer = call(client)
                if needed == permission:
                    assert answer.status_code in {200, 201}
                else:
                    assert_refused(answer, 403, "permission_denied")


def test_a_request_without_credentials_is_401(db: None) -> None:
    assert_refused(APIClient().get(RUNS), 401, "not_authenticated")


# --- SQL queries and the schema


@pytest.mark.parametrize("count", [1, 9])
def test_listing_runs_takes_a_fixed_number_of_sql_queries(
    staff: APIClient, boss: User, count: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(count):
        make_run(state=RunState.DONE, encoder=make_encoder(), started_by=boss)
    staff.get(RUNS)  # the first request writes last_seen_at
    with django_assert_num_queries(2):  # the token with its user, the runs with theirs
        assert len(staff.get(RUNS).json()["results"]) == count


def test_training_run_responses_match_the_schema(schema: dict[str, Any], staff: APIClient) -> None:
    make_catalogue()
    assert_matches_schema(schema, RUNS, "post", staff.post(RUNS, {"kind": "classifier", "tracker": "wandb"}))
    assert_matches_schema(schema, RUNS, "post", staff.post(RUNS, {"kind": "none"}))
    run = TrainingRun.objects.get()
    assert_matches_schema(schema, RUNS, "get", staff.get(RUNS))
    assert_matches_schema(schema, ONE, "get", staff.get(run_url(run)))
    assert_matches_schema(schema, ONE, "get", staff.get(f"{RUNS}0/"))
    for what in ("cancel", "resume"):
        for _ in range(2):
            assert_matches_schema(schema, f"{ONE}{what}/", "post", staff.post(run_url(run, f"{what}/")))
    make_run(progress={"share": 0.5}, metrics=[{"epoch": 1, "loss": None}], encoder=make_encoder())
    assert_matches_schema(schema, RUNS, "get", staff.get(RUNS))
