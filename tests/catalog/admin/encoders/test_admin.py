"""The registry of encoders: its pages show what was measured, and its buttons do what the services do."""

import io
import json
import zipfile
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as site
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from catalog.http.middleware.bodies import ENCODER_UPLOAD
from catalog.models import (
    Encoder,
    EncoderState,
    Evaluation,
    EvaluationSet,
    EvaluationState,
    ItemPhoto,
    Promotion,
    TrainingRun,
    User,
)
from tests.helpers.factories import make_embedding, make_encoder, make_item_photo, make_user, unit

pytestmark = [pytest.mark.django_db, pytest.mark.database]

REASON = "The labels were cleaned since."
CARD = {
    "kind": "metric",
    "dim": 4,
    "backbone": "efficientnet-lite0",
    "data_sha256": "f" * 64,
    "command": "python -m ml train-metric --data x.csv",
    "notes": ["Phone photos are <simulated>."],
    "metrics": {"near10": 0.785, "near10_low": 0.753, "near10_high": 0.816, "phone_near10": 0.7, "queries": 514},
}


def figure(value: float, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "queries": 50, "above_zero": 0.5}


REPORT = {
    "kind": "metric",
    "queries": 50,
    "gallery": 400,
    "owner": "item",
    "owners": 30,
    "resamples": 1000,
    "figures": {
        "garment_at_1": figure(0.9, 0.85, 0.95),
        "near10": figure(0.8, 0.7, 0.9),
        "phone_near10": figure(0.7, 0.6, 0.8),
        "gap_near10": figure(0.1, 0.05, 0.15),
    },
    "asked": {"Hat": 20, "Shoes": 30},
    "labels": {"Hat": {"near10": figure(0.9)}, "Shoes": {"near10": figure(0.6), "phone_near10": figure(0.4)}},
    "against": {
        "figures": {"garment_at_1": figure(0.8), "near10": figure(0.85), "phone_near10": figure(0.7)},
        "differences": {
            "garment_at_1": figure(0.1, 0.02, 0.2),
            "near10": figure(-0.05, -0.09, -0.01),
            "phone_near10": figure(0.0, -0.1, 0.1),
        },
        "labels": {"Hat": {"near10": figure(0.05, 0.01, 0.1)}, "Shoes": {"near10": figure(-0.2, -0.3, -0.1)}},
    },
}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, settings: Settings) -> Path:
    settings.ENCODER_DIRS = [tmp_path / "encoders"]
    return tmp_path / "encoders"


@pytest.fixture
def boss() -> User:
    return make_user("boss", is_staff=True, is_superuser=True)


@pytest.fixture
def staff(client: Client, boss: User) -> Client:
    client.force_login(boss)
    return client


def clerk(*may: str) -> Client:
    """Staff who may do these things with encoders, and nothing else."""
    person = make_user(is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename__in=[f"{what}_encoder" for what in may]))
    client = Client()
    client.force_login(person)
    return client


def url(page: str, *arguments: object) -> str:
    return reverse(f"admin:catalog_encoder_{page}", args=arguments)


def text(client: Client, page: str, *arguments: object, **asked: object) -> str:
    answer = client.get(url(page, *arguments), asked)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def folder_of(encoder: Encoder) -> Path:
    """Give an encoder a folder that fits its card."""
    made: Path = site.ENCODER_DIRS[0] / encoder.name
    made.mkdir(parents=True)
    files = {"weights.safetensors": b"weights", "model.onnx": b"network"}
    for name, content in files.items():
        (made / name).write_bytes(content)
    hashes = {name: sha256(content).hexdigest() for name, content in files.items()}
    encoder.card = CARD | {"format": 3, "files": hashes, "preprocessing": {"height": 32, "width": 32}}
    encoder.save()
    (made / "card.json").write_text(json.dumps(encoder.card))
    return made


def live_and_candidate() -> tuple[Encoder, Encoder, ItemPhoto]:
    """Both have the vectors of the only photo."""
    live, candidate, photo = make_encoder(state=EncoderState.LIVE), make_encoder(card=CARD), make_item_photo()
    for encoder in (live, candidate):
        make_embedding(encoder, unit(1), photo)
    return live, candidate, photo


def evaluated(encoder: Encoder, against: Encoder | None, **columns: Any) -> Evaluation:
    drawn, _ = EvaluationSet.objects.get_or_create(name="The set", is_current=True)
    columns = {"state": EvaluationState.DONE, "report": REPORT} | columns
    return Evaluation.objects.create(encoder=encoder, against=against, evaluation_set=drawn, **columns)


# --- what the pages show


def test_the_list_tells_coverage_figures_run_and_who_promoted_it(staff: Client, boss: User) -> None:
    encoder = make_encoder("one", card=CARD)
    make_embedding(encoder, unit(1))
    make_item_photo()
    TrainingRun.objects.create(name="the run", encoder=encoder)
    Promotion.objects.create(encoder=encoder, encoder_name="one", by=boss)
    Encoder.objects.update(promoted_at=datetime(2026, 11, 3, 9, 30, tzinfo=UTC))
    page = text(staff, "changelist")
    assert "1 of 2 photos, 1 a minute, 1 min left" in page
    assert '<strong>78.5 %</strong> <span class="enc-interval">75.3 to 81.6</span>' in page
    assert "the run</a>" in page
    assert "2026-11-03 09:30, by boss" in page
    evaluated(encoder, None)
    assert '<strong>80.0 %</strong> <span class="enc-interval">70.0 to 90.0</span>' in text(staff, "changelist")


def test_the_page_shows_the_card_as_text_and_the_gap_in_a_sentence(staff: Client) -> None:
    page = text(staff, "change", make_encoder(card=CARD).pk)
    for words in (
        "efficientnet-lite0",
        "f" * 64,
        "python -m ml train-metric",
        "over 514 photos; not measured",
    ):
        assert words in page
    assert "Phone photos are &lt;simulated&gt;." in page
    assert "8.5 points less for the right label among the ten nearest." in page


def test_the_gap_of_an_evaluation_has_its_interval_and_each_label(staff: Client) -> None:
    encoder = make_encoder(card=CARD)
    evaluated(encoder, None)
    page = text(staff, "change", encoder.pk)
    assert '+10.0 points <span class="enc-interval">+5.0 to +15.0</span>' in page
    assert '<th scope="row">Shoes</th><td>30</td><td>60.0 %</td><td>40.0 %</td><td>+20.0 points' in page


def test_the_gate_is_open_or_says_what_speaks_against_it(staff: Client) -> None:
    _, candidate, _ = live_and_candidate()
    folder_of(candidate)
    candidate.embeddings.all().delete()
    closed = text(staff, "change", candidate.pk)
    assert "What speaks against promoting it" in closed
    assert "1 photo" in closed
    assert url("promote", candidate.pk) not in closed  # no reason helps against missing vectors


def test_both_stand_side_by_side_with_the_label_that_fell_first(staff: Client) -> None:
    live, candidate, photo = live_and_candidate()
    answer = {"photo": photo.pk, "item": photo.item_id, "score": 0.91}
    sample = {"photo": photo.pk, "item": photo.item_id, "label": "Hat", "ours": [answer | {"right": True}]}
    evaluated(candidate, live, samples=[sample | {"theirs": [answer | {"right": False}]}])
    page = text(staff, "compare", candidate.pk)
    assert page.index('<th scope="row">Shoes</th>') < page.index('<th scope="row">Hat</th>')
    assert '-5.0 points <span class="enc-interval">-9.0 to -1.0</span>' in page
    for verdict in ("better", "worse", "unsure"):
        assert f"enc-{verdict}" in page
    assert f"{candidate}: 1 of 1 right" in page
    assert f"{live}: 0 of 1 right" in page
    assert 'alt="Right, score 0.91"' in page


def test_any_other_encoder_of_the_kind_can_stand_beside_it_and_nonsense_is_the_live_one(staff: Client) -> None:
    _, candidate, _ = live_and_candidate()
    third = make_encoder("third")
    evaluated(candidate, third, state=EvaluationState.FAILED, report={}, reason="The folder is gone.")
    assert "The folder is gone." in text(staff, "compare", candidate.pk, against=third.pk)
    for asked in ("", "x", "9" * 40, "²", candidate.pk, make_encoder(kind="classifier").pk):
        assert "The two were never compared." in text(staff, "compare", candidate.pk, against=asked)


def test_a_classifier_and_an_empty_card_have_pages_too(staff: Client) -> None:
    for encoder in (make_encoder(kind="classifier"), make_encoder(), make_encoder(state=EncoderState.LIVE)):
        assert staff.get(url("change", encoder.pk)).status_code == 200
        assert staff.get(url("compare", encoder.pk)).status_code == 200


# --- what the buttons do


def test_a_candidate_is_promoted_with_a_reason_where_the_gate_objects_and_the_way_back_leads_back(
    staff: Client, boss: User
) -> None:
    live, candidate, _ = live_and_candidate()
    for encoder in (live, candidate):
        folder_of(encoder)
    assert text(staff, "change", candidate.pk).count('required minlength="10"') == 1
    staff.post(url("promote", candidate.pk), {"reason": "short"})
    assert Encoder.objects.live() == live
    staff.post(url("promote", candidate.pk), {"reason": REASON})
    promoted = Promotion.objects.get()
    assert (promoted.encoder, promoted.previous, promoted.by, promoted.reason) == (candidate, live, boss, REASON)
    page = text(staff, "change", candidate.pk)
    assert f"Roll back to {live}" in page
    assert REASON in page
    staff.post(url("roll_back", candidate.pk), {"reason": "Too many shoes."})
    assert Encoder.objects.live() == live
    log = " ".join(staff.get(reverse("admin:catalog_promotion_changelist")).content.decode().split())
    for words in (REASON, "Too many shoes.", "rolled back", "promoted", "There is no evaluation set"):
        assert words in log


def test_a_candidate_against_which_nothing_speaks_needs_no_reason(staff: Client) -> None:
    live, candidate, _ = live_and_candidate()
    folder_of(candidate)
    evaluated(candidate, live, report=REPORT | {"against": {"differences": {}, "labels": {}}})
    assert "It may be promoted" in text(staff, "change", candidate.pk)
    staff.post(url("promote", candidate.pk))
    assert Encoder.objects.live() == candidate


def test_an_encoder_is_retired_taken_back_and_measured_again(staff: Client) -> None:
    live, candidate, _ = live_and_candidate()
    evaluation = evaluated(candidate, live)
    states = []
    for page in ("retire", "reconsider"):
        assert staff.post(url(page, candidate.pk)).headers["Location"] == url("change", candidate.pk)
        candidate.refresh_from_db()
        states.append(candidate.state)
    assert states == [EncoderState.RETIRED, EncoderState.CANDIDATE]
    answer = staff.post(url("evaluate", candidate.pk), {"against": live.pk, "back": "compare"})
    assert answer.headers["Location"] == url("compare", candidate.pk)
    evaluation.refresh_from_db()
    assert evaluation.state == EvaluationState.QUEUED
    assert "data-changes" in text(staff, "compare", candidate.pk)


def test_only_what_the_service_refuses_is_told_and_nothing_crashes(staff: Client) -> None:
    encoder = make_encoder(state=EncoderState.LIVE)
    for page, body in (
        ("promote", {"reason": "x" * 2000}),
        ("promote", {"reason": "a\x00b"}),
        ("roll_back", {}),
        ("retire", {}),
        ("evaluate", {"against": "x"}),
        ("remove", {}),
    ):
        answer = staff.post(url(page, encoder.pk), body)
        assert answer.status_code == 302
    assert Encoder.objects.live() == encoder


def test_deleting_asks_first_with_what_depends_on_it(staff: Client) -> None:
    encoder = make_encoder("gone soon")
    make_embedding(encoder, unit(1))
    assert "What depends on it" in text(staff, "remove", encoder.pk)
    assert Encoder.objects.filter(pk=encoder.pk).exists()
    assert staff.post(url("remove", encoder.pk)).headers["Location"] == url("changelist")
    assert not Encoder.objects.filter(pk=encoder.pk).exists()


def test_each_page_and_button_needs_its_own_permission() -> None:
    encoder = make_encoder()
    folder_of(encoder)
    viewer, nobody = clerk("view"), clerk()
    for page in ("change", "compare", "download"):
        assert (viewer.get(url(page, encoder.pk)).status_code, nobody.get(url(page, encoder.pk)).status_code) == (
            200,
            403,
        )
    for page in ("promote", "roll_back", "retire", "reconsider", "evaluate", "remove"):
        assert viewer.post(url(page, encoder.pk)).status_code == 403
    assert clerk("view", "change").post(url("remove", encoder.pk)).status_code == 403
    assert clerk("view", "change", "delete").get(url("upload")).status_code == 403
    assert Encoder.objects.get() == encoder
    shown = text(viewer, "change", encoder.pk)
    assert "<form" not in shown.split("enc-actions")[1].split("<section")[0]


def test_what_changes_something_is_no_link_and_needs_the_forms_secret(boss: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(boss)
    encoder = make_encoder()
    for page in ("promote", "roll_back", "retire", "evaluate"):
        assert client.get(url(page, encoder.pk)).status_code == 405
        assert client.post(url(page, encoder.pk)).status_code == 403
    assert client.post(url("remove", encoder.pk)).status_code == 403
    assert client.post(url("upload"), {"archive": SimpleUploadedFile("a.zip", b"x")}).status_code == 403


@pytest.mark.parametrize("page", ["change", "promote", "compare", "download", "remove"])
def test_an_encoder_that_is_not_there_is_no_crash(staff: Client, page: str) -> None:
    assert staff.get(url(page, 10**17)).status_code in (302, 404, 405)


# --- archives


def test_an_encoder_is_downloaded_as_a_zip_of_its_name(staff: Client) -> None:
    encoder = make_encoder("enc-1")
    folder_of(encoder)
    answer = staff.get(url("download", encoder.pk))
    assert answer.headers["Content-Disposition"] == 'attachment; filename="enc-1.zip"'
    archive = zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content)))  # type: ignore[attr-defined, arg-type]
    assert archive.read("enc-1/model.onnx") == b"network"


def test_an_encoder_without_its_folder_says_so_instead_of_a_download(staff: Client) -> None:
    encoder = make_encoder()
    assert staff.get(url("download", encoder.pk)).headers["Location"] == url("change", encoder.pk)
    assert "No folder of encoders" in text(staff, "change", encoder.pk)


def test_what_is_wrong_with_an_archive_is_told_at_the_field_and_nothing_is_kept(staff: Client, place: Path) -> None:
    for content, name, sentence in (
        (b"no zip", "", "This is not a zip file"),
        (b"", "", "This file is empty."),
        (b"no zip", "a/b", "A name is made of letters"),
        (b"no zip", "a\x00b", "Null characters are not allowed."),
    ):
        body = {"archive": SimpleUploadedFile("a.zip", content), "name": name}
        answer = staff.post(url("upload"), body)
        assert answer.status_code == 200
        assert sentence in answer.content.decode()
    assert "Choose a zip file." in staff.post(url("upload")).content.decode()
    assert not Encoder.objects.exists()
    assert list(place.rglob("*")) == []


def test_an_archive_that_is_too_large_is_refused_before_it_is_read(staff: Client, settings: Settings) -> None:
    settings.ENCODER_MAX_MB = 1
    assert url("upload") == reverse("admin:index") + ENCODER_UPLOAD
    refused = staff.post(url("upload"), {"archive": SimpleUploadedFile("a.zip", bytes(2 << 20))})
    assert refused.status_code == 413
    settings.MAX_BODY_BYTES = 10
    assert staff.post(url("upload"), {"archive": SimpleUploadedFile("a.zip", bytes(100))}).status_code == 200
    assert staff.post(url("promote", make_encoder().pk), {"reason": "x" * 100}).status_code == 413


def test_an_archive_becomes_an_encoder_and_its_page_opens(staff: Client, place: Path) -> None:
    shipped = site.BASE_DIR / "ml" / "encoders" / "efficientnet-lite0-metric100"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("card.json", "weights.safetensors", "model.onnx"):
            archive.write(shipped / name, f"enc/{name}")
    body = {"archive": SimpleUploadedFile("enc.zip", buffer.getvalue()), "name": "ours"}
    answer = staff.post(url("upload"), body)
    encoder = Encoder.objects.get()
    assert answer.headers["Location"] == url("change", encoder.pk)
    assert [path.name for path in place.iterdir()] == [encoder.name] == ["ours"]
    assert "ours is registered." in text(staff, "change", encoder.pk)


def test_a_full_disk_is_told_at_the_field(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real one: what is written to /dev/full never fits."""
    monkeypatch.setattr("tempfile.TemporaryFile", lambda dir: open("/dev/full", "wb", buffering=0))  # noqa: PTH123, SIM115
    answer = staff.post(url("upload"), {"archive": SimpleUploadedFile("a.zip", bytes(1000))})
    assert answer.status_code == 200
    assert "No space left on device" in answer.content.decode()
