"""The files of a training run, and that no name leads out of its folder."""

from pathlib import Path
from typing import Any

import pytest

from catalog.models import TrainingRun, Triplet
from catalog.run_folder import PICTURES, run_encoder_folder, run_folder, run_picture, run_pictures
from catalog.services.accounts.users import user_delete
from catalog.services.feedback.feedback import user_consent_set
from catalog.services.uploads import upload_delete
from ml.reporting import curves
from tests.helpers.factories import make_item_photo, make_query, make_run, make_upload, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(settings: Any, tmp_path: Path) -> TrainingRun:
    settings.RUNS_DIR, settings.ENCODER_DIRS = tmp_path / "runs", [tmp_path / "encoders", tmp_path / "shipped"]
    return make_run(name="mine")


def make_pictures(run: TrainingRun, *names: str) -> Path:
    folder = run_folder(run) / "run"
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_each_run_has_a_folder_of_its_own(run: TrainingRun, tmp_path: Path) -> None:
    assert run_folder(run) == tmp_path / "runs" / str(run.pk)
    assert run_encoder_folder(run) == tmp_path / "encoders" / "mine"


def test_existing_pictures_are_listed_in_display_order(run: TrainingRun) -> None:
    assert run_pictures(run) == []
    folder = make_pictures(run, "strips.png", "loss.png", "confusion.png", "checkpoint.pt", "other.png")
    assert run_pictures(run) == ["loss.png", "strips.png", "confusion.png"]
    assert run_picture(run, "strips.png") == folder / "strips.png"


@pytest.mark.parametrize("name", ["map.png", "checkpoint.pt", "../run/loss.png", "/etc/passwd", "", ".", "a\0.png"])
def test_other_names_are_refused(run: TrainingRun, name: str) -> None:
    make_pictures(run, "loss.png", "checkpoint.pt")
    with pytest.raises(FileNotFoundError):
        run_picture(run, name)


def test_every_curve_that_training_draws_is_listed() -> None:
    assert set(curves.PICTURES) <= set(PICTURES)


@pytest.mark.parametrize("ending", ["the photo is deleted", "the account is deleted", "the consent is withdrawn"])
def test_copies_of_a_photo_are_deleted_when_its_owner_withdraws_it(run: TrainingRun, ending: str) -> None:
    query = make_query(make_upload(make_user()))
    photo, owner = query.photo, query.owner
    assert photo is not None and owner is not None
    shown, other = make_item_photo(), make_item_photo()
    Triplet.objects.create(query=query, anchor=photo, positive=shown, negative=other)
    folder = run_folder(run) / "photos"
    folder.mkdir(parents=True)
    for name in (str(photo.pk), str(shown.pk)):
        (folder / f"{name}.jpg").touch()
    {
        "the photo is deleted": lambda: upload_delete(photo=photo),
        "the account is deleted": lambda: user_delete(user=owner),
        "the consent is withdrawn": lambda: user_consent_set(user=owner, may_train=False),
    }[ending]()
    assert [file.name for file in folder.iterdir()] == [f"{shown.pk}.jpg"]
