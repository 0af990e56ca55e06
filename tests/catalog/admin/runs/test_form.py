"""The form that starts a training run: fields, errors at their fields, preflight check, clone."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from catalog.models import RunKind, RunSource, TrainingRun
from catalog.services.training.options import PRESETS
from tests.helpers.admin import error_codes
from tests.helpers.factories import make_encoder, make_item, make_item_photo, make_run

pytestmark = pytest.mark.django_db

ADD = "admin:catalog_trainingrun_add"
FORM = {"kind": "metric", "preset": "quick", "source": "catalogue", "tracker": "none", "options_kind": "metric"}


@pytest.fixture(autouse=True)
def folders(settings: Any, tmp_path: Path) -> Path:
    """Empty folders for runs, encoders and manifests."""
    settings.RUNS_DIR, settings.TRAINING_DATA_DIR = tmp_path / "runs", tmp_path / "data"
    settings.ENCODER_DIRS = [tmp_path / "encoders"]
    settings.TRAINING_DATA_DIR.mkdir()
    return tmp_path


@pytest.fixture
def catalogue(media: Path) -> None:
    """A catalogue large enough to train on: three categories of ten items, no two photos alike."""
    for number in range(30):
        item = make_item(category=("Coat", "Shirt", "Shoe")[number % 3])
        make_item_photo(item, perceptual_hash=f"{number * 0x0123456789ABCDEF % 2**64:016x}")


def press(staff: Client, button: str, **fields: Any) -> Any:
    return staff.post(reverse(ADD), {**FORM, button: "1", **fields})


def field_errors(response: Any) -> dict[str, str]:
    """The error of each field, by the name of the field."""
    errors = re.findall(r'<p class="run-error" id="id_(\w+)_error">([^<]*)</p>', response.content.decode())
    return dict(errors)


def field_value(response: Any, name: str) -> str:
    match = re.search(rf'<input[^>]* name="{name}"[^>]*>', response.content.decode())
    assert match
    value = re.search(r' value="([^"]*)"', match[0])
    return value[1] if value else ""


def test_every_hyperparameter_has_a_field_with_help_text_and_the_preset_value(staff: Client) -> None:
    page = staff.get(reverse(ADD)).content.decode()
    epochs = PRESETS["metric"]["quick"]["epochs"]
    assert re.search(rf'<input type="number" name="option_epochs"[^>]*placeholder="{epochs}"', page)
    assert "Passes over the train photos." in page
    assert "preset: semihard" in page
    for name in ("embedding_size", "sub_centres", "seed", "compile"):
        assert f'name="option_{name}"' in page


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"option_epochs": "many"}, "option_epochs"),
        ({"option_epochs": "0"}, "option_epochs"),
        ({"option_epochs": "9" * 400}, "option_epochs"),
        ({"option_lr": "nan"}, "option_lr"),
        ({"option_lr": "-1"}, "option_lr"),
        ({"option_miner": "lucky"}, "option_miner"),
        ({"option_side": "100"}, "option_side"),
        ({"option_label_size": "100", "option_embedding_size": "100"}, "option_label_size"),
        ({"option_start_from": "no-such-encoder"}, "option_start_from"),
        ({"option_compile": "perhaps"}, "option_compile"),
        ({"option_label_column": "x\ny"}, "option_label_column"),
        ({"option_label_column": "x" * 500}, "option_label_column"),
        ({"kind": "miracle"}, "kind"),
        ({"preset": "free"}, "preset"),
        ({"source": "both"}, "manifest"),
        ({"source": "manifest", "manifest": "../secret.csv"}, "manifest"),
        ({"name": "a/b"}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"tracker": "spy"}, "tracker"),
    ],
    ids=str,
)
def test_an_error_is_shown_at_its_field(staff: Client, fields: dict[str, str], field: str) -> None:
    make_encoder("a")
    response = press(staff, "_start", **fields)
    assert response.status_code == 200
    assert list(field_errors(response)) == [field]
    assert f'href="#id_{field}"' in response.content.decode()
    assert not TrainingRun.objects.exists()


def test_an_error_in_the_collapsed_section_opens_it(staff: Client) -> None:
    assert '<details id="run-others">' in press(staff, "_start", option_epochs="many").content.decode()
    assert '<details id="run-others" open>' in press(staff, "_start", option_seed="x").content.decode()


def test_a_taken_name_is_shown_at_its_field(staff: Client) -> None:
    make_run(name="shoes")
    assert error_codes(press(staff, "_start", name="shoes").context["form"]) == {"name": ["name_taken"]}


def test_an_empty_catalogue_is_refused(staff: Client) -> None:
    for button in ("_check", "_start"):
        page = press(staff, button).content.decode()
        assert "The run cannot start" in page
        assert "There are no photos to train on" in page
    assert not TrainingRun.objects.exists()


def test_checking_shows_the_counts_and_starts_nothing(staff: Client, catalogue: None) -> None:
    page = press(staff, "_check", option_epochs="3").content.decode()
    assert "The run can start" in page
    assert "Photos by label" in page
    assert not TrainingRun.objects.exists()


def test_starting_creates_a_run_from_the_preset_and_the_entered_values(staff: Client, catalogue: None) -> None:
    fields = {"option_epochs": "3", "option_lr": "0", "option_sharpen": "off", "option_miner": "hard", "name": "coats"}
    response = press(staff, "_start", **fields)
    run = TrainingRun.objects.get()
    assert response["Location"] == reverse("admin:catalog_trainingrun_change", args=[run.pk])
    expected = PRESETS["metric"]["quick"] | {"epochs": 3, "lr": 0.0, "sharpen": False, "miner": "hard"}
    assert run.options == expected
    assert (run.name, run.kind, run.source, run.started_by) == ("coats", "metric", "catalogue", _boss())


def test_changing_the_kind_shows_its_hyperparameters_and_keeps_entered_values(staff: Client) -> None:
    response = press(staff, "_refill", kind="classifier", option_epochs="7", name="mine")
    page = response.content.decode()
    assert 'name="option_smoothing"' in page
    assert 'name="option_miner"' not in page
    assert (field_value(response, "option_epochs"), field_value(response, "name")) == ("7", "mine")
    assert field_value(response, "options_kind") == "classifier"
    assert field_errors(response) == {}


def test_hyperparameters_of_one_kind_do_not_start_the_other(staff: Client, catalogue: None) -> None:
    response = press(staff, "_start", kind="classifier", option_miner="hard")
    assert list(field_errors(response)) == ["kind"]
    assert not TrainingRun.objects.exists()


def test_an_htmx_request_gets_only_the_form(staff: Client) -> None:
    response = staff.post(reverse(ADD), {**FORM, "_refill": "1"}, headers={"HX-Request": "true"})
    assert response.content.decode().lstrip().startswith('<form id="run-form"')


def test_manifests_are_the_csv_files_of_the_training_data_folder(staff: Client, folders: Path) -> None:
    for name in ("a.csv", "more/b.csv", "notes.txt"):
        (folders / "data" / name).parent.mkdir(exist_ok=True)
        (folders / "data" / name).write_text("path,label\n")
    page = staff.get(reverse(ADD)).content.decode()
    assert re.findall(r'<option value="([^"]*\.(?:csv|txt))"', page) == ["a.csv", "more/b.csv"]


def test_a_clone_starts_from_the_changed_values_and_records_its_origin(staff: Client, catalogue: None) -> None:
    options = PRESETS["classifier"]["full"] | {"epochs": 5, "pretrained": False}
    old = make_run(kind=RunKind.CLASSIFIER, source=RunSource.CATALOGUE, preset="full", options=options)
    page = staff.get(reverse(ADD), {"clone": old.pk})
    assert (field_value(page, "option_epochs"), field_value(page, "option_side")) == ("5", "")
    assert re.search(r'name="option_pretrained".*?<option value="off" selected>', page.content.decode(), re.DOTALL)
    body = {**FORM, "kind": "classifier", "options_kind": "classifier", "option_epochs": "6", "_start": "1"}
    assert staff.post(f"{reverse(ADD)}?clone={old.pk}", body).status_code == 302
    assert old.clones.get().options["epochs"] == 6


@pytest.mark.parametrize("key", ["x", "-1", "9" * 30, "", "\x00"])
def test_an_invalid_clone_key_gives_an_empty_form(staff: Client, key: str) -> None:
    assert staff.get(reverse(ADD), {"clone": key}).status_code == 200


def test_a_clone_of_a_missing_run_is_not_found(staff: Client) -> None:
    assert staff.get(reverse(ADD), {"clone": 999}).status_code == 404


def _boss() -> Any:
    return TrainingRun._meta.get_field("started_by").related_model.objects.get(username="boss")
