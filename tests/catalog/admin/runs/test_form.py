"""The form that starts a run: what is wrong stands at its field, and nothing has started."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from catalog.models import RunKind, RunSource, TrainingRun
from catalog.services.training.options import PRESETS
from tests.helpers.factories import make_encoder, make_item, make_item_photo, make_run, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.database]

ADD = "admin:catalog_trainingrun_add"
ASKED = {"kind": "metric", "preset": "quick", "source": "catalogue", "tracker": "none", "listed_of": "metric"}


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(make_user("boss", is_staff=True, is_superuser=True))
    return client


@pytest.fixture(autouse=True)
def folders(settings: Any, tmp_path: Path) -> Path:
    """Empty places for runs, encoders and manifests."""
    settings.RUNS_DIR, settings.TRAINING_DATA_DIR = tmp_path / "runs", tmp_path / "data"
    settings.ENCODER_DIRS = [tmp_path / "encoders"]
    settings.TRAINING_DATA_DIR.mkdir()
    return tmp_path


@pytest.fixture
def catalogue(media: Path) -> None:
    """Enough to learn from: three categories of ten items, every photo unlike the others."""
    for number in range(30):
        item = make_item(category=("Coat", "Shirt", "Shoe")[number % 3])
        make_item_photo(item, perceptual_hash=f"{number * 0x0123456789ABCDEF % 2**64:016x}")


def press(staff: Client, button: str, **typed: Any) -> Any:
    return staff.post(reverse(ADD), {**ASKED, button: "1", **typed})


def errors_of(answer: Any) -> dict[str, str]:
    """What is told beside each field, by its id."""
    found = re.findall(r'<p class="run-error" id="id_(\w+)_error">([^<]*)</p>', answer.content.decode())
    return dict(found)


def value_of(answer: Any, name: str) -> str:
    found = re.search(rf'<input[^>]* name="{name}"[^>]*>', answer.content.decode())
    assert found
    value = re.search(r' value="([^"]*)"', found[0])
    return value[1] if value else ""


def test_every_hyperparameter_has_a_field_with_its_meaning_and_the_presets_value(staff: Client) -> None:
    page = staff.get(reverse(ADD)).content.decode()
    epochs = PRESETS["metric"]["quick"]["epochs"]
    assert re.search(rf'<input type="number" name="option_epochs"[^>]*placeholder="{epochs}"', page)
    assert "Passes over the train photos." in page
    assert "as the preset: semihard" in page
    for name in ("embedding_size", "sub_centres", "seed", "compile"):
        assert f'name="option_{name}"' in page


@pytest.mark.parametrize(
    ("typed", "field"),
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
def test_what_is_wrong_stands_at_its_field(staff: Client, typed: dict[str, str], field: str) -> None:
    make_encoder("a")
    answer = press(staff, "_start", **typed)
    assert answer.status_code == 200
    assert list(errors_of(answer)) == [field]
    assert f'href="#id_{field}"' in answer.content.decode()
    assert not TrainingRun.objects.exists()


def test_a_wrong_value_in_the_folded_part_unfolds_it(staff: Client) -> None:
    assert '<details id="run-others">' in press(staff, "_start", option_epochs="many").content.decode()
    assert '<details id="run-others" open>' in press(staff, "_start", option_seed="x").content.decode()


def test_a_name_that_is_taken_is_told_at_its_field(staff: Client) -> None:
    make_run(name="shoes")
    assert "already" in errors_of(press(staff, "_start", name="shoes"))["name"]


def test_an_empty_catalogue_cannot_be_learned_from_and_says_so(staff: Client) -> None:
    for button in ("_check", "_start"):
        page = press(staff, button).content.decode()
        assert "It cannot start like this" in page
        assert "There are no photos to learn from" in page
    assert not TrainingRun.objects.exists()


def test_checking_tells_what_would_happen_and_starts_nothing(staff: Client, catalogue: None) -> None:
    page = press(staff, "_check", option_epochs="3").content.decode()
    assert "It can start" in page
    assert "Photos by label" in page
    assert not TrainingRun.objects.exists()


def test_starting_makes_the_run_of_the_preset_and_of_what_was_typed(staff: Client, catalogue: None) -> None:
    typed = {"option_epochs": "3", "option_lr": "0", "option_sharpen": "off", "option_miner": "hard", "name": "coats"}
    answer = press(staff, "_start", **typed)
    run = TrainingRun.objects.get()
    assert answer["Location"] == reverse("admin:catalog_trainingrun_change", args=[run.pk])
    expected = PRESETS["metric"]["quick"] | {"epochs": 3, "lr": 0.0, "sharpen": False, "miner": "hard"}
    assert run.options == expected
    assert (run.name, run.kind, run.source, run.started_by) == ("coats", "metric", "catalogue", _boss())


def test_another_kind_brings_its_hyperparameters_and_keeps_what_was_typed(staff: Client) -> None:
    answer = press(staff, "_refill", kind="classifier", option_epochs="7", name="mine")
    page = answer.content.decode()
    assert 'name="option_smoothing"' in page
    assert 'name="option_miner"' not in page
    assert (value_of(answer, "option_epochs"), value_of(answer, "name")) == ("7", "mine")
    assert value_of(answer, "listed_of") == "classifier"
    assert errors_of(answer) == {}


def test_the_hyperparameters_of_one_kind_never_start_the_other(staff: Client, catalogue: None) -> None:
    answer = press(staff, "_start", kind="classifier", option_miner="hard")
    assert list(errors_of(answer)) == ["kind"]
    assert not TrainingRun.objects.exists()


def test_a_script_gets_the_form_alone(staff: Client) -> None:
    answer = staff.post(reverse(ADD), {**ASKED, "_refill": "1"}, headers={"HX-Request": "true"})
    assert answer.content.decode().lstrip().startswith('<form id="run-form"')


def test_manifests_are_those_of_the_folder_for_training_data(staff: Client, folders: Path) -> None:
    for name in ("a.csv", "more/b.csv", "notes.txt"):
        (folders / "data" / name).parent.mkdir(exist_ok=True)
        (folders / "data" / name).write_text("path,label\n")
    page = staff.get(reverse(ADD)).content.decode()
    assert re.findall(r'<option value="([^"]*\.(?:csv|txt))"', page) == ["a.csv", "more/b.csv"]


def test_a_clone_begins_with_what_was_different_and_knows_where_it_is_from(staff: Client, catalogue: None) -> None:
    options = PRESETS["classifier"]["full"] | {"epochs": 5, "pretrained": False}
    old = make_run(kind=RunKind.CLASSIFIER, source=RunSource.CATALOGUE, preset="full", options=options)
    page = staff.get(reverse(ADD), {"clone": old.pk})
    assert (value_of(page, "option_epochs"), value_of(page, "option_side")) == ("5", "")
    assert re.search(r'name="option_pretrained".*?<option value="off" selected>', page.content.decode(), re.DOTALL)
    asked = {**ASKED, "kind": "classifier", "listed_of": "classifier", "option_epochs": "6", "_start": "1"}
    assert staff.post(f"{reverse(ADD)}?clone={old.pk}", asked).status_code == 302
    assert old.clones.get().options["epochs"] == 6


@pytest.mark.parametrize("asked", ["x", "-1", "9" * 30, "", "\x00"])
def test_a_clone_of_nothing_is_an_empty_form(staff: Client, asked: str) -> None:
    assert staff.get(reverse(ADD), {"clone": asked}).status_code == 200


def test_a_clone_of_a_run_that_there_is_not_is_not_found(staff: Client) -> None:
    assert staff.get(reverse(ADD), {"clone": 999}).status_code == 404


def _boss() -> Any:
    return TrainingRun._meta.get_field("started_by").related_model.objects.get(username="boss")
