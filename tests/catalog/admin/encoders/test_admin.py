"""Admin of encoders: list, page, comparison, buttons, upload and download."""

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
from tests.helpers.admin import error_codes
from tests.helpers.factories import make_embedding, make_encoder, make_item_photo, make_user, unit

pytestmark = pytest.mark.django_db

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


def metric(value: float, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "queries": 50, "above_zero": 0.5}


REPORT = {
    "kind": "metric",
    "queries": 50,
    "gallery": 400,
    "owner": "item",
    "owners": 30,
    "resamples": 1000,
    "figures": {
        "garment_at_1": metric(0.9, 0.85, 0.95),
        "near10": metric(0.8, 0.7, 0.9),
        "phone_near10": metric(0.7, 0.6, 0.8),
        "gap_near10": metric(0.1, 0.05, 0.15),
    },
    "asked": {"Hat": 20, "Shoes": 30},
    "labels": {"Hat": {"near10": metric(0.9)}, "Shoes": {"near10": metric(0.6), "phone_near10": metric(0.4)}},
    "against": {
        "figures": {"garment_at_1": metric(0.8), "near10": metric(0.85), "phone_near10": metric(0.7)},
        "differences": {
            "garment_at_1": metric(0.1, 0.02, 0.2),
            "near10": metric(-0.05, -0.09, -0.01),
            "phone_near10": metric(0.0, -0.1, 0.1),
        },
        "labels": {"Hat": {"near10": metric(0.05, 0.01, 0.1)}, "Shoes": {"near10": metric(-0.2, -0.3, -0.1)}},
    },
}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, settings: Settings) -> Path:
    settings.ENCODER_DIRS = [tmp_path / "encoders"]
    return tmp_path / "encoders"


def staff_with(*verbs: str) -> Client:
    """Sign in a staff user who has only these permissions on encoders."""
    user = make_user(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=[f"{verb}_encoder" for verb in verbs]))
    client = Client()
    client.force_login(user)
    return client


def url(page: str, *arguments: object) -> str:
    return reverse(f"admin:catalog_encoder_{page}", args=arguments)


def text(client: Client, page: str, *arguments: object, **parameters: object) -> str:
    response = client.get(url(page, *arguments), parameters)
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def make_folder(encoder: Encoder) -> Path:
    """Create the folder of an encoder with files that match its card."""
    folder: Path = site.ENCODER_DIRS[0] / encoder.name
    folder.mkdir(parents=True)
    files = {"weights.safetensors": b"weights", "model.onnx": b"network"}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    hashes = {name: sha256(content).hexdigest() for name, content in files.items()}
    encoder.card = CARD | {"format": 3, "files": hashes, "preprocessing": {"height": 32, "width": 32}}
    encoder.save()
    (folder / "card.json").write_text(json.dumps(encoder.card))
    return folder


def live_and_candidate() -> tuple[Encoder, Encoder, ItemPhoto]:
    """A live encoder and a candidate, both with the vector of the only photo."""
    live, candidate, photo = make_encoder(state=EncoderState.LIVE), make_encoder(card=CARD), make_item_photo()
    for encoder in (live, candidate):
        make_embedding(encoder, unit(1), photo)
    return live, candidate, photo


def make_evaluation(encoder: Encoder, against: Encoder | None, **columns: Any) -> Evaluation:
    drawn, _ = EvaluationSet.objects.get_or_create(name="The set", is_current=True)
    columns = {"state": EvaluationState.DONE, "report": REPORT} | columns
    return Evaluation.objects.create(encoder=encoder, against=against, evaluation_set=drawn, **columns)


# --- pages


@pytest.mark.database
def test_the_list_shows_coverage_metrics_training_run_and_promoter(staff: Client, boss: User) -> None:
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
    make_evaluation(encoder, None)
    assert '<strong>80.0 %</strong> <span class="enc-interval">70.0 to 90.0</span>' in text(staff, "changelist")


def test_the_page_shows_the_escaped_card_and_a_summary_of_the_domain_gap(staff: Client) -> None:
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


def test_the_page_shows_the_domain_gap_with_interval_and_by_label(staff: Client) -> None:
    encoder = make_encoder(card=CARD)
    make_evaluation(encoder, None)
    page = text(staff, "change", encoder.pk)
    assert '+10.0 points <span class="enc-interval">+5.0 to +15.0</span>' in page
    assert '<th scope="row">Shoes</th><td>30</td><td>60.0 %</td><td>40.0 %</td><td>+20.0 points' in page


def test_the_page_shows_the_objections_of_the_release_checks(staff: Client) -> None:
    _, candidate, _ = live_and_candidate()
    make_folder(candidate)
    candidate.embeddings.all().delete()
    page = text(staff, "change", candidate.pk)
    assert "Objections to the promotion" in page
    assert "1 photo" in page
    assert url("promote", candidate.pk) not in page  # missing vectors are a blocking objection


def test_a_comparison_lists_the_label_with_the_largest_loss_first(staff: Client) -> None:
    live, candidate, photo = live_and_candidate()
    response = {"photo": photo.pk, "item": photo.item_id, "score": 0.91}
    sample = {"photo": photo.pk, "item": photo.item_id, "label": "Hat", "ours": [response | {"right": True}]}
    make_evaluation(candidate, live, samples=[sample | {"theirs": [response | {"right": False}]}])
    page = text(staff, "compare", candidate.pk)
    assert page.index('<th scope="row">Shoes</th>') < page.index('<th scope="row">Hat</th>')
    assert '-5.0 points <span class="enc-interval">-9.0 to -1.0</span>' in page
    for verdict in ("better", "worse", "unsure"):
        assert f"enc-{verdict}" in page
    assert f"{candidate}: 1 of 1 right" in page
    assert f"{live}: 0 of 1 right" in page
    assert 'alt="Right, score 0.91"' in page


def test_the_comparison_accepts_any_encoder_of_the_kind_and_defaults_to_the_live_one(staff: Client) -> None:
    _, candidate, _ = live_and_candidate()
    third = make_encoder("third")
    make_evaluation(candidate, third, state=EvaluationState.FAILED, report={}, reason="The folder is gone.")
    assert "The folder is gone." in text(staff, "compare", candidate.pk, against=third.pk)
    for key in ("", "x", "9" * 40, "²", candidate.pk, make_encoder(kind="classifier").pk):
        assert "These encoders have not been compared yet." in text(staff, "compare", candidate.pk, against=key)


def test_the_pages_work_for_a_classifier_and_an_empty_card(staff: Client) -> None:
    for encoder in (make_encoder(kind="classifier"), make_encoder(), make_encoder(state=EncoderState.LIVE)):
        assert staff.get(url("change", encoder.pk)).status_code == 200
        assert staff.get(url("compare", encoder.pk)).status_code == 200


# --- buttons


def test_objections_require_a_reason_and_a_promotion_can_be_rolled_back(staff: Client, boss: User) -> None:
    live, candidate, _ = live_and_candidate()
    for encoder in (live, candidate):
        make_folder(encoder)
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


def test_a_candidate_without_objections_needs_no_reason(staff: Client) -> None:
    live, candidate, _ = live_and_candidate()
    make_folder(candidate)
    make_evaluation(candidate, live, report=REPORT | {"against": {"differences": {}, "labels": {}}})
    assert "Ready to be promoted" in text(staff, "change", candidate.pk)
    staff.post(url("promote", candidate.pk))
    assert Encoder.objects.live() == candidate


def test_an_encoder_is_retired_restored_and_evaluated_again(staff: Client) -> None:
    live, candidate, _ = live_and_candidate()
    evaluation = make_evaluation(candidate, live)
    states = []
    for page in ("retire", "reconsider"):
        assert staff.post(url(page, candidate.pk)).headers["Location"] == url("change", candidate.pk)
        candidate.refresh_from_db()
        states.append(candidate.state)
    assert states == [EncoderState.RETIRED, EncoderState.CANDIDATE]
    response = staff.post(url("evaluate", candidate.pk), {"against": live.pk, "back": "compare"})
    assert response.headers["Location"] == url("compare", candidate.pk)
    evaluation.refresh_from_db()
    assert evaluation.state == EvaluationState.QUEUED
    assert "data-changes" in text(staff, "compare", candidate.pk)


def test_refusals_of_the_services_redirect_with_a_message(staff: Client) -> None:
    encoder = make_encoder(state=EncoderState.LIVE)
    for page, body in (
        ("promote", {"reason": "x" * 2000}),
        ("promote", {"reason": "a\x00b"}),
        ("roll_back", {}),
        ("retire", {}),
        ("evaluate", {"against": "x"}),
        ("remove", {}),
    ):
        response = staff.post(url(page, encoder.pk), body)
        assert response.status_code == 302
    assert Encoder.objects.live() == encoder


@pytest.mark.database
def test_deleting_shows_the_dependents_and_asks_for_confirmation(staff: Client) -> None:
    encoder = make_encoder("gone soon")
    make_embedding(encoder, unit(1))
    assert "What depends on this encoder" in text(staff, "remove", encoder.pk)
    assert Encoder.objects.filter(pk=encoder.pk).exists()
    assert staff.post(url("remove", encoder.pk)).headers["Location"] == url("changelist")
    assert not Encoder.objects.filter(pk=encoder.pk).exists()


def test_each_page_and_button_needs_its_own_permission() -> None:
    encoder = make_encoder()
    make_folder(encoder)
    viewer, stranger = staff_with("view"), staff_with()
    for page in ("change", "compare", "download"):
        assert (viewer.get(url(page, encoder.pk)).status_code, stranger.get(url(page, encoder.pk)).status_code) == (
            200,
            403,
        )
    for page in ("promote", "roll_back", "retire", "reconsider", "evaluate", "remove"):
        assert viewer.post(url(page, encoder.pk)).status_code == 403
    assert staff_with("view", "change").post(url("remove", encoder.pk)).status_code == 403
    assert staff_with("view", "change", "delete").get(url("upload")).status_code == 403
    assert Encoder.objects.get() == encoder
    shown = text(viewer, "change", encoder.pk)
    assert "<form" not in shown.split("enc-actions")[1].split("<section")[0]


def test_buttons_need_post_and_a_csrf_token(boss: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(boss)
    encoder = make_encoder()
    for page in ("promote", "roll_back", "retire", "evaluate"):
        assert client.get(url(page, encoder.pk)).status_code == 405
        assert client.post(url(page, encoder.pk)).status_code == 403
    assert client.post(url("remove", encoder.pk)).status_code == 403
    assert client.post(url("upload"), {"archive": SimpleUploadedFile("a.zip", b"x")}).status_code == 403


@pytest.mark.parametrize("page", ["change", "promote", "compare", "download", "remove"])
def test_a_missing_encoder_is_not_a_server_error(staff: Client, page: str) -> None:
    assert staff.get(url(page, 10**17)).status_code in (302, 404, 405)


# --- archives


def test_an_encoder_is_downloaded_as_a_zip_file_with_its_name(staff: Client) -> None:
    encoder = make_encoder("enc-1")
    make_folder(encoder)
    response = staff.get(url("download", encoder.pk))
    assert response.headers["Content-Disposition"] == 'attachment; filename="enc-1.zip"'
    archive = zipfile.ZipFile(io.BytesIO(b"".join(response.streaming_content)))  # type: ignore[attr-defined, arg-type]
    assert archive.read("enc-1/model.onnx") == b"network"


def test_downloading_an_encoder_without_a_folder_shows_a_message(staff: Client) -> None:
    encoder = make_encoder()
    assert staff.get(url("download", encoder.pk)).headers["Location"] == url("change", encoder.pk)
    assert "ENCODER_DIRS" in text(staff, "change", encoder.pk)


def test_errors_of_an_archive_are_shown_at_the_field_and_nothing_is_stored(staff: Client, place: Path) -> None:
    for content, name, codes in (
        (b"no zip", "", {"archive": ["archive"]}),
        (b"", "", {"archive": ["empty"]}),
        (b"no zip", "a/b", {"name": ["encoder_name"]}),
        (b"no zip", "a\x00b", {"name": ["null_characters_not_allowed"]}),
    ):
        body = {"archive": SimpleUploadedFile("a.zip", content), "name": name}
        response = staff.post(url("upload"), body)
        assert response.status_code == 200
        assert error_codes(response.context["form"]) == codes
    assert error_codes(staff.post(url("upload")).context["form"]) == {"archive": ["required"]}
    assert not Encoder.objects.exists()
    assert list(place.rglob("*")) == []


def test_a_too_large_archive_is_refused_before_it_is_read(staff: Client, settings: Settings) -> None:
    settings.ENCODER_MAX_MB = 1
    assert url("upload") == reverse("admin:index") + ENCODER_UPLOAD
    refused = staff.post(url("upload"), {"archive": SimpleUploadedFile("a.zip", bytes(2 << 20))})
    assert refused.status_code == 413
    settings.MAX_BODY_BYTES = 10
    assert staff.post(url("upload"), {"archive": SimpleUploadedFile("a.zip", bytes(100))}).status_code == 200
    assert staff.post(url("promote", make_encoder().pk), {"reason": "x" * 100}).status_code == 413


def test_an_uploaded_archive_becomes_an_encoder(staff: Client, place: Path) -> None:
    shipped = site.BASE_DIR / "ml" / "encoders" / "efficientnet-lite0-metric100"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("card.json", "weights.safetensors", "model.onnx"):
            archive.write(shipped / name, f"enc/{name}")
    body = {"archive": SimpleUploadedFile("enc.zip", buffer.getvalue()), "name": "ours"}
    response = staff.post(url("upload"), body)
    encoder = Encoder.objects.get()
    assert response.headers["Location"] == url("change", encoder.pk)
    assert [path.name for path in place.iterdir()] == [encoder.name] == ["ours"]
    assert "ours is registered." in text(staff, "change", encoder.pk)


def test_a_full_disk_is_shown_at_the_field(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every write to /dev/full fails with ENOSPC."""
    monkeypatch.setattr("tempfile.TemporaryFile", lambda dir: open("/dev/full", "wb", buffering=0))  # noqa: PTH123, SIM115
    response = staff.post(url("upload"), {"archive": SimpleUploadedFile("a.zip", bytes(1000))})
    assert response.status_code == 200
    assert "No space left on device" in response.content.decode()
