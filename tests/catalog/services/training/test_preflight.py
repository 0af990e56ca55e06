"""The preflight check of a training run: problems, notes and the estimate of resources."""

from pathlib import Path
from typing import Any

import pytest

from catalog.models import EvaluationSet, RunSource, RunState
from catalog.services.training import preflight as module
from catalog.services.training import resources
from catalog.services.training.options import all_options
from catalog.services.training.preflight import Preflight, preflight
from catalog.services.training.resources import ResourceEstimate, estimate_resources, free_disk_bytes, free_memory_bytes
from tests.helpers.factories import make_encoder, make_run
from tests.helpers.training_catalogue import make_accepted_triplet, make_catalogue, make_clothes, make_evaluation_set

pytestmark = pytest.mark.django_db

HEAD = "path,label,item,split"


@pytest.fixture(autouse=True)
def free_space(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough disk and memory, since the machine that runs the tests may be full."""
    monkeypatch.setattr(module, "free_disk_bytes", lambda folder: 10**12)
    monkeypatch.setattr(module, "free_memory_bytes", lambda: 10**12)


def check(**arguments: Any) -> Preflight:
    return preflight(**{"kind": "metric", "source": RunSource.CATALOGUE, "options": {}} | arguments)


def test_a_sufficient_catalogue_has_no_problem_and_is_counted() -> None:
    make_catalogue(20)
    result = check()
    assert result.problems == ()
    assert result.counts["labels"] == {"Hat": 15, "Shirt": 15}
    assert result.counts["val"] == 4
    assert any(note.startswith("6 photos ") for note in result.notes)
    assert any("minutes" in note for note in result.notes)


def test_the_check_writes_nothing() -> None:
    make_catalogue(20)
    check()
    assert not EvaluationSet.objects.exists()


@pytest.mark.parametrize(
    ("of_each", "labels", "says"),
    [
        (0, (), "There are no photos to train on"),
        (20, ("Hat",), "Found: 1."),
        (2, ("Hat", "Shirt"), "too few items to hold some out"),
    ],
)
def test_too_few_photos_or_categories_are_a_problem(of_each: int, labels: tuple[str, ...], says: str) -> None:
    make_catalogue(of_each, labels)
    assert any(says in problem for problem in check().problems)


def test_labels_with_few_photos_and_left_out_photos_are_noted() -> None:
    photos = make_catalogue(20)
    make_clothes("Glove", 1)
    make_clothes("Scarf", 4)
    make_evaluation_set(*photos["Hat"][:3])
    make_accepted_triplet(photos["Hat"][4], photos["Shirt"][0])
    notes = check().notes
    assert "Few training photos, so these labels may be recognised badly: Scarf." in notes
    assert "Left out: 3 photos of items of an evaluation set." in notes
    assert "Left out: 1 photos that are the only one of their category." in notes
    assert "Photos of people whose feedback was accepted: 1." in notes


@pytest.mark.parametrize("options", [{"epochs": 0}, {"speed": 1}, {"label_size": 100}])
def test_invalid_options_are_the_only_problem(options: dict[str, Any]) -> None:
    result = check(options=options)
    assert len(result.problems) == 1
    assert result.counts == {}


def test_start_from_must_name_an_encoder_with_the_same_backbone(settings: Any, tmp_path: Path) -> None:
    make_catalogue(20)
    settings.ENCODER_DIRS = [tmp_path]
    assert check(options={"start_from": "none"}).problems == ("There is no encoder 'none' to start from.",)
    make_encoder("old", card={"backbone": "resnet18"})
    assert check(options={"start_from": "old"}).problems == ("There is no encoder 'old' to start from.",)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "card.json").touch()
    assert "has the backbone resnet18" in check(options={"start_from": "old"}).problems[0]
    assert check(options={"start_from": "old", "backbone": "resnet18"}).problems == ()


def test_too_little_disk_or_memory_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    make_catalogue(20)
    monkeypatch.setattr(module, "free_disk_bytes", lambda folder: 2 * 10**8)
    monkeypatch.setattr(module, "free_memory_bytes", lambda: 3 * 10**8)
    disk, memory = check().problems
    assert disk == "The run needs about 0.3 GB of disk, and 0.2 GB are free. Fewer views need less."
    assert memory == "The run needs about 1.2 GB of memory, and 0.3 GB are free. A smaller side needs less."
    monkeypatch.setattr(module, "free_memory_bytes", lambda: None)
    assert check().problems == (disk,)


def test_another_active_run_is_noted(settings: Any) -> None:
    make_catalogue(20)
    note = "Another run is under way; this one will wait for it."
    make_run(state=RunState.DONE)
    assert note not in check().notes
    make_run(state=RunState.RUNNING)
    assert note in check().notes


class TestManifests:
    @pytest.fixture(autouse=True)
    def folder(self, settings: Any, tmp_path: Path) -> Path:
        settings.TRAINING_DATA_DIR = tmp_path
        for number in range(6):
            (tmp_path / f"{number}.jpg").touch()
        return tmp_path

    def write(self, folder: Path, *labels: str, head: str = HEAD) -> None:
        splits = ["train"] * 4 + ["val"] * 2
        lines = [f"{number}.jpg,{label},{number},{splits[number]}" for number, label in enumerate(labels)]
        (folder / "shop.csv").write_text("\n".join((head, *lines)) + "\n")

    def test_a_correct_manifest_is_counted(self, folder: Path) -> None:
        self.write(folder, "Hat", "Hat", "Sock", "Sock", "Hat", "Sock")
        result = check(source=RunSource.MANIFEST, manifest="shop.csv")
        assert result.problems == ()
        assert result.counts == {
            "train": 4,
            "val": 2,
            "labels": {"Hat": 2, "Sock": 2},
            "left_out": {},
            "pairs": 0,
        }

    def test_a_manifest_is_counted_together_with_the_catalogue(self, folder: Path) -> None:
        make_catalogue(20)
        self.write(folder, "Hat", "Hat", "Sock", "Sock", "Hat", "Sock")
        result = check(source=RunSource.BOTH, manifest="shop.csv")
        assert result.problems == ()
        assert result.counts["labels"] == {"Hat": 17, "Shirt": 15, "Sock": 2}

    def test_a_label_with_one_photo_is_a_problem(self, folder: Path) -> None:
        self.write(folder, "Hat", "Hat", "Sock", "Sock", "Tie", "Tie")
        options = {"train_splits": "train,val"}
        (folder / "shop.csv").write_text(
            (folder / "shop.csv").read_text().replace("5.jpg,Tie,5,val", "5.jpg,Tie,5,test")
        )
        result = check(source=RunSource.MANIFEST, manifest="shop.csv", options=options)
        assert result.problems == ("Some labels have only one training photo, and two are needed: Tie.",)

    def test_a_missing_or_broken_manifest_is_the_only_problem(self, folder: Path) -> None:
        assert check(source=RunSource.MANIFEST, manifest="none.csv").problems == (
            "There is no such manifest in the folder for training data.",
        )
        self.write(folder, "Hat", "Hat")
        (folder / "0.jpg").unlink()
        assert check(source=RunSource.MANIFEST, manifest="shop.csv").problems == (
            "'0.jpg' is listed, but there is no such file.",
        )

    def test_labels_may_come_from_another_column_of_a_manifest_alone(self, folder: Path) -> None:
        self.write(folder, "Hat,a", "Hat,a", "Hat,b", "Hat,b", "Hat,a", "Hat,b", head="path,label,kind,item,split")
        lines = (folder / "shop.csv").read_text()
        arguments: dict[str, Any] = {"manifest": "shop.csv", "options": {"label_column": "kind"}}
        result = check(source=RunSource.MANIFEST, **arguments)
        assert result.counts["labels"] == {"a": 2, "b": 2}, lines
        assert "for runs that take a manifest alone" in check(source=RunSource.BOTH, **arguments).problems[0]
        arguments["options"] = {"label_column": "none"}
        assert check(source=RunSource.MANIFEST, **arguments).problems == ("The manifest has no column 'none'.",)


# --- resources


def estimate(**options: Any) -> ResourceEstimate:
    return estimate_resources(options=all_options("metric", options), train=3500, held=500)


def test_the_estimated_disk_agrees_with_measurements() -> None:
    assert estimate(views=12, freeze_stages=6).disk == pytest.approx(2.6e9 + 0.4e9, rel=0.15)
    assert estimate(views=12).disk > 2 * estimate(views=12, freeze_stages=6).disk
    assert estimate(views=0).disk < 1.2e9


def test_larger_pictures_and_more_epochs_need_more() -> None:
    small, large = estimate(side=160, views=4), estimate(side=320, views=4)
    assert large.disk > 2 * small.disk
    assert large.memory > 2 * small.memory
    assert 3 * small.minutes < large.minutes < 4 * small.minutes  # pictures and files take the same time for both
    assert estimate(epochs=24).minutes > 1.5 * estimate(epochs=12).minutes


def test_free_disk_and_memory_are_measured(tmp_path: Path) -> None:
    assert free_disk_bytes(tmp_path / "not" / "there") > 0
    assert (free_memory_bytes() or 0) > 0


def test_the_memory_limit_of_the_container_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "_free_in_container", lambda: 5)
    assert free_memory_bytes() == 5
    monkeypatch.setattr(resources, "_free_in_system", lambda: None)
    assert free_memory_bytes() == 5
    monkeypatch.setattr(resources, "_free_in_container", lambda: None)
    assert free_memory_bytes() is None
