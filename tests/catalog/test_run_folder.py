"""Where the files of a run are, and that nothing else can be reached by their names."""

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

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def run(settings: Any, tmp_path: Path) -> TrainingRun:
    settings.RUNS_DIR, settings.ENCODER_DIRS = tmp_path / "runs", [tmp_path / "encoders", tmp_path / "shipped"]
    return make_run(name="mine")


def drawn(run: TrainingRun, *names: str) -> Path:
    folder = run_folder(run) / "run"
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_each_run_has_a_folder_of_its_own(run: TrainingRun, tmp_path: Path) -> None:
    assert run_folder(run) == tmp_path / "runs" / str(run.pk)
    assert run_encoder_folder(run) == tmp_path / "encoders" / "mine"


def test_the_pictures_that_are_there_come_in_the_order_to_show_them(run: TrainingRun) -> None:
    assert run_pictures(run) == []
    folder = drawn(run, "strips.png", "loss.png", "confusion.png", "checkpoint.pt", "other.png")
    assert run_pictures(run) == ["loss.png", "strips.png", "confusion.png"]
    assert run_picture(run, "strips.png") == folder / "strips.png"


@pytest.mark.parametrize("name", ["map.png", "checkpoint.pt", "../run/loss.png", "/etc/passwd", "", ".", "a\0.png"])
def test_any_other_name_is_no_picture(run: TrainingRun, name: str) -> None:
    drawn(run, "loss.png", "checkpoint.pt")
    with pytest.raises(FileNotFoundError):
        run_picture(run, name)


def test_every_curve_that_the_training_draws_is_known() -> None:
    assert set(curves.PICTURES) <= set(PICTURES)


@pytest.mark.parametrize("ending", ["the photo is deleted", "the account is deleted", "the permission is taken back"])
def test_no_run_keeps_a_copy_of_a_photo_that_its_owner_takes_back(run: TrainingRun, ending: str) -> None:
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
        "the permission is taken back": lambda: user_consent_set(user=owner, may_train=False),
    }[ending]()
    assert [file.name for file in folder.iterdir()] == [f"{shown.pk}.jpg"]
