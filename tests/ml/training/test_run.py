import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ml.data.manifest import Manifest
from ml.data.photos import UnfitDataError
from ml.encoder.card import Card
from ml.encoder.folder import read_weights
from ml.formats.atomic_files import UnwritableError
from ml.formats.encoder_folder import EncoderCorrupt, EncoderError
from ml.images.pictures import PictureError
from ml.training.checkpoints import CheckpointError
from ml.training.options import OptionsError
from ml.training.run import train_and_publish
from tests.helpers.errors import raises_code
from tests.helpers.tiny_backbone import STAGES
from tests.helpers.tiny_training import Options, RecordingWatcher, classifier_options, make_job, metric_options

CURVES = {"loss.png", "mined.png", "spread.png", "retrieval.png"}
SHEETS = {"confusion.png", "predictions.png", "strips.png", "worst.png", "map.png"}


def run(
    manifest: Manifest, folder: Path, options: Options, watcher: RecordingWatcher | None = None, **place: object
) -> Card:
    card = train_and_publish(manifest, options, make_job(folder, **place), watcher or RecordingWatcher())
    assert card is not None
    return card


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}


class TestWhole:
    def test_a_metric_run_leaves_its_encoder_its_figures_its_checkpoint_and_its_pictures(self, metric_run):
        assert files(metric_run.out) == {"card.json", "model.onnx", "weights.safetensors"}
        assert files(metric_run.run) == {"metrics.jsonl", "checkpoint.pt", "best.pt"} | CURVES | SHEETS
        rows = [json.loads(line) for line in (metric_run.run / "metrics.jsonl").read_text().splitlines()]
        assert rows == metric_run.watcher.rows
        assert [row["epoch"] for row in rows] == [1, 2]

    def test_a_classifier_s_run_has_pictures_of_its_own(self, classifier_run):
        pictures = {"loss.png", "accuracy.png", "confusion.png", "predictions.png"}
        assert files(classifier_run.run) == {"metrics.jsonl", "checkpoint.pt", "best.pt"} | pictures
        row = classifier_run.watcher.rows[-1]
        assert {"train_loss", "val_loss", "train_accuracy", "val_accuracy", "phone_accuracy", "lr"} <= set(row)

    def test_without_pictures_there_are_figures_alone_and_the_encoder_is_the_same(
        self, metric_run, manifest, cache, tmp_path
    ):
        card = run(manifest, tmp_path, metric_options(), cache=cache, pictures=False)
        assert files(tmp_path / "tiny.run") == {"metrics.jsonl", "checkpoint.pt", "best.pt"}
        assert card.files["weights.safetensors"] == metric_run.card.files["weights.safetensors"]
        assert card.metrics == metric_run.card.metrics

    def test_a_finished_run_only_publishes(self, metric_run, manifest, cache, tmp_path):
        watcher = RecordingWatcher()
        card = run(manifest, tmp_path, metric_options(), watcher, run=metric_run.run, cache=cache)
        assert watcher.steps == []
        assert card == metric_run.card

    def test_labels_may_come_from_another_column(self, manifest, tmp_path):
        card = run(manifest, tmp_path, classifier_options(label_column="season", epochs=1), pictures=False)
        assert card.labels == ("summer", "winter")

    def test_a_classifier_s_backbone_may_be_where_a_metric_run_starts(self, classifier_run, manifest, tmp_path):
        options = metric_options(start_from=str(classifier_run.out), lr=0.0, epochs=1)
        card = run(manifest, tmp_path, options, pictures=False)
        ours, theirs = read_weights(tmp_path / "tiny", card), read_weights(classifier_run.out, classifier_run.card)
        backbone = [name for name in theirs if name.startswith("trunk.")]
        assert len(backbone) == 5 * STAGES  # a filter and four vectors of batch normalisation each
        assert all((ours[name] == theirs[name]).all() for name in backbone)

    def test_a_catalogue_of_one_contributor_can_be_trained_on(self, manifest, tmp_path):
        photos = tuple(replace(photo, extra={"contributor": "shop"}) for photo in manifest.photos)
        card = run(replace(manifest, photos=photos), tmp_path, metric_options(epochs=1), pictures=True)
        assert "map_at_r" not in card.metrics
        assert 0 <= card.metrics["garment_at_1"] <= 1

    def test_tensorboard_has_the_figures_and_pictures(self, manifest, cache, tmp_path):
        pytest.importorskip("tensorboard")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        watcher = RecordingWatcher()
        place = {"cache": cache, "tracker": "tensorboard", "pictures": True}
        run(manifest, tmp_path, classifier_options(), watcher, **place)
        events = EventAccumulator(str(tmp_path / "tiny.run" / "tensorboard")).Reload()
        logged = [event.value for event in events.Scalars("val_accuracy")]
        assert logged == pytest.approx([row["val_accuracy"] for row in watcher.rows])
        assert [event.step for event in events.Images("confusion")] == [1, 2]


class TestRefused:
    @pytest.fixture
    def nothing_left(self, tmp_path):
        """After the test there is no encoder, no partial file and no checkpoint."""
        yield
        left = {path.name for path in tmp_path.rglob("*")}
        assert not left & {"tiny", "tiny.part", "checkpoint.pt"}
        assert not [name for name in left if name.endswith(".part")]

    @pytest.mark.usefixtures("nothing_left")
    @pytest.mark.parametrize(
        ("changes", "error", "named"),
        [
            ({"label_column": "colour"}, UnfitDataError, "'colour'"),
            ({"label_column": "contributor"}, UnfitDataError, ""),
            ({"freeze_stages": 40}, OptionsError, "40"),
            ({"start_from": "nowhere"}, EncoderCorrupt, "'nowhere'"),
        ],
        ids=["unknown column", "labels of one split", "too many stages", "nowhere to start"],
    )
    def test_options_that_do_not_fit_the_photos_or_the_network(self, manifest, tmp_path, changes, error, named):
        with pytest.raises(error, match=named):
            run(manifest, tmp_path, metric_options(**changes))

    @pytest.mark.usefixtures("nothing_left")
    def test_a_broken_picture(self, manifest, tmp_path):
        folder = tmp_path / "photos"
        folder.mkdir()
        for photo in manifest.photos:
            (folder / photo.path).write_bytes(manifest.file(photo).read_bytes()[:-40])
        with raises_code(PictureError, "picture_unreadable", ".png"):
            run(Manifest(folder, manifest.photos), tmp_path, metric_options())

    @pytest.mark.usefixtures("nothing_left")
    def test_a_disk_that_is_full_before_the_first_checkpoint(self, manifest, cache, tmp_path, file_size_limit):
        run_of_cache = make_job(tmp_path, cache=cache)
        with file_size_limit(60_000), raises_code(UnwritableError, "unwritable", ".pt"):
            train_and_publish(manifest, metric_options(), run_of_cache, RecordingWatcher())

    def test_a_disk_that_is_full_at_the_end_costs_no_epoch(
        self, metric_run, manifest, cache, tmp_path, file_size_limit
    ):
        place = {"run": metric_run.run, "cache": cache}
        with file_size_limit(20_000), raises_code(EncoderError, "folder_unwritable"):
            run(manifest, tmp_path, metric_options(), **place)
        assert list(tmp_path.iterdir()) == []
        watcher = RecordingWatcher()
        assert run(manifest, tmp_path, metric_options(), watcher, **place) == metric_run.card
        assert watcher.rows == []

    def test_a_run_of_other_options_or_photos_is_refused_before_its_views_are_spoiled(
        self, metric_run, manifest, cache, tmp_path
    ):
        stamps = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
        fewer = replace(manifest, photos=manifest.photos[1:])
        for photos, options, named in (
            (manifest, metric_options(side=96), ["side", 64, 96]),
            (fewer, metric_options(), ["data"]),
        ):
            with raises_code(CheckpointError, "checkpoint_mismatch", *named):
                run(photos, tmp_path, options, run=metric_run.run, cache=cache)
        assert stamps == {path: path.stat().st_mtime_ns for path in cache.iterdir()}


class Failing(RecordingWatcher):
    """A watcher whose pipe is closed by its reader."""

    def epoch(self, row: Mapping[str, float]) -> None:
        raise BrokenPipeError


def test_a_run_whose_watcher_fails_can_be_resumed(manifest, cache, tmp_path, metric_run):
    with pytest.raises(BrokenPipeError):
        run(manifest, tmp_path, metric_options(), Failing(), cache=cache, pictures=False)
    card = run(manifest, tmp_path, metric_options(), cache=cache, pictures=False)
    assert card.files == metric_run.card.files
