import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ml.data.manifest import Manifest
from ml.progress import Step
from ml.training.checkpoints import CheckpointError
from ml.training.loop import BEST_FILE, CHECKPOINT_FILE, COLLAPSED_SPREAD, Run
from ml.training.metric import MetricTask
from ml.training.model import TrainableEncoder
from ml.training.task import TrainingFailed
from tests.helpers.errors import raises_code
from tests.helpers.tiny_backbone import STAGES
from tests.helpers.tiny_training import RecordingWatcher, classifier_options, metric_options, prepare_run

Weights = Mapping[str, torch.Tensor]


class Killed(Exception):
    """Stands for a killed process, which leaves the same files."""


class KilledAfter(RecordingWatcher):
    """Raises `Killed` at the end of an epoch, or at a step of it."""

    def __init__(self, epoch: int, step: int | None = None) -> None:
        super().__init__()
        self._last = (epoch, step)

    def step(self, step: Step) -> None:
        if (step.epoch, step.step) == self._last:
            raise Killed

    def epoch(self, row: Mapping[str, float]) -> None:
        if (row["epoch"], None) == self._last:
            raise Killed


def weights(encoder: TrainableEncoder) -> Weights:
    return {name: tensor.clone() for name, tensor in encoder.state_dict().items()}


def same(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def timeless(rows: list[dict]) -> list[dict]:
    """The rows without their times; NaN is made equal to itself."""
    return [
        {name: repr(value) for name, value in row.items() if name not in ("seconds", "photos_per_second")}
        for row in rows
    ]


def finished(manifest: Manifest, options: object, folder: Path, cache: Path) -> tuple[Run, Weights]:
    run = prepare_run(manifest, options, folder, cache)
    return run, weights(run.train(RecordingWatcher()))


class TestSameSeed:
    @pytest.fixture(scope="class")
    def first(self, manifest, cache, tmp_path_factory) -> tuple[Run, Weights]:
        return finished(manifest, metric_options(), tmp_path_factory.mktemp("first"), cache)

    def test_the_same_seed_gives_the_same_bits(self, first, manifest, cache, tmp_path):
        run, again = finished(manifest, metric_options(), tmp_path, cache)
        assert same(first[1], again)
        assert timeless(first[0].folder.rows()) == timeless(run.folder.rows())

    def test_another_seed_gives_other_weights(self, first, manifest, tmp_path):
        _, other = finished(manifest, metric_options(seed=1), tmp_path, tmp_path / "cache")
        assert not same(first[1], other)

    def test_a_row_has_all_figures_of_its_epoch(self, first):
        for number, row in enumerate(first[0].folder.rows(), start=1):
            assert row["epoch"] == number
            assert set(row) >= {
                *("train_loss", "val_loss", "mined_triplets", "active_triplets", "spread", "near10", "map_at_r", "lr"),
                *("recall_at_1", "recall_at_5", "recall_at_10", "garment_at_1", "garment_at_5"),
                *("seconds", "photos_per_second"),
            }
            assert all(math.isfinite(value) for value in row.values())

    def test_frozen_stages_stay_and_the_others_are_trained(self, first, manifest, cache, tmp_path):
        start = prepare_run(manifest, metric_options(), tmp_path, cache).encoder
        learned = first[0].encoder
        for before, after in zip(start.frozen_stages, learned.frozen_stages, strict=True):
            assert same(weights(before), weights(after))
        for before, after in zip(start.trained_stages, learned.trained_stages, strict=True):
            assert not same(weights(before), weights(after))
        means = [name for name in weights(start) if name.endswith("running_mean")]
        assert all(torch.equal(weights(start)[name], weights(learned)[name]) for name in means)


RESUMED = {
    "as it is": metric_options(),
    "the last weights": metric_options(ema=0.0),
    "a memory of earlier batches": metric_options(label_loss="triplet", memory=64),
    "proxies": metric_options(label_loss="proxy-anchor", label_size=0, mixup=0.4),
    "trained statistics and fresh views": metric_options(statistics="trained", views=0, freeze_stages=4),
    "a classifier": classifier_options(mixup=0.4, optimizer="adam", l2=1e-4, head="hidden512"),
}


class TestResumed:
    @pytest.mark.parametrize("options", RESUMED.values(), ids=RESUMED)
    def test_a_run_killed_twice_ends_with_the_same_weights_and_figures(self, options, manifest, cache, tmp_path):
        run, expected = finished(manifest, options, tmp_path / "whole", cache)
        for watcher in (KilledAfter(1), KilledAfter(2, step=2)):
            with pytest.raises(Killed):
                prepare_run(manifest, options, tmp_path / "killed", cache).train(watcher)
        resumed, actual = finished(manifest, options, tmp_path / "killed", cache)
        assert same(expected, actual)
        assert timeless(resumed.folder.rows()) == timeless(run.folder.rows())
        assert [row["epoch"] for row in resumed.folder.rows()] == [1, 2]

    def test_a_finished_run_trains_no_more(self, manifest, cache, tmp_path):
        _, expected = finished(manifest, metric_options(), tmp_path, cache)
        watcher = RecordingWatcher()
        assert same(weights(prepare_run(manifest, metric_options(), tmp_path, cache).train(watcher)), expected)
        assert (watcher.steps, watcher.rows) == ([], [])

    def test_a_row_whose_checkpoint_was_never_written_is_dropped(self, manifest, cache, tmp_path):
        for epoch, left in ((1, []), (2, [1])):
            run = prepare_run(manifest, metric_options(), tmp_path, cache)
            run.folder.append({"epoch": epoch, "train_loss": 0.0})
            assert [
                row["epoch"] for row in prepare_run(manifest, metric_options(), tmp_path, cache).folder.rows()
            ] == left
            if epoch == 1:
                with pytest.raises(Killed):
                    run.train(KilledAfter(1))

    def test_another_option_is_refused_by_name(self, manifest, cache, tmp_path):
        with pytest.raises(Killed):
            prepare_run(manifest, metric_options(), tmp_path, cache).train(KilledAfter(1))
        with raises_code(CheckpointError, "checkpoint_mismatch", "lr", 0.001, 0.002):
            prepare_run(manifest, metric_options(lr=0.002), tmp_path, cache)


class Scripted(MetricTask):
    """Scores that the test sets."""

    scores = (0.5, 0.9, 0.7, 0.8)

    def score(self, figures: Mapping[str, float]) -> float:
        return self.scores[int(figures["epoch"]) - 1]


class TestBestEpoch:
    @pytest.fixture
    def scripted(self, manifest, cache, tmp_path):
        def started(**changes: object) -> Run:
            options = metric_options(epochs=4, **changes)
            run = prepare_run(manifest, options, tmp_path, cache)
            run.task = Scripted(run.data, options)
            return run

        return started

    def test_the_network_of_the_best_epoch_is_returned(self, scripted):
        run, states = scripted(), []

        class Keeping(RecordingWatcher):
            def epoch(self, row: Mapping[str, float]) -> None:
                states.append(weights(run.average.network))

        best = weights(run.train(Keeping()))
        assert run.best_epoch == 2
        assert [same(best, each) for each in states] == [False, True, False, False]
        assert not run.best_encoder().training

    @pytest.mark.parametrize(("patience", "epochs"), [(0, 4), (1, 3), (2, 4)])
    def test_patience_ends_after_so_many_epochs_without_a_better_figure(self, scripted, patience, epochs):
        run = scripted(patience=patience)
        run.train(RecordingWatcher())
        assert len(run.folder.rows()) == epochs


class TestFailed:
    @pytest.fixture
    def alike(self, manifest, tmp_path) -> Manifest:
        """The drawn manifest with the same picture in every file."""
        folder = tmp_path / "alike"
        folder.mkdir()
        picture = manifest.file(manifest.photos[0]).read_bytes()
        for photo in manifest.photos:
            (folder / photo.path).write_bytes(picture)
        return Manifest(folder, manifest.photos)

    def test_collapsed_vectors_stop_the_run(self, alike, tmp_path):
        with raises_code(TrainingFailed, "vectors_collapsed", "epoch 1", "0.0000"):
            prepare_run(alike, metric_options(augment="none"), tmp_path / "run").train(RecordingWatcher())
        assert not (tmp_path / "run" / CHECKPOINT_FILE).exists()

    @pytest.mark.parametrize(
        ("options", "spreads", "stops"),
        [
            ({}, [0.9], True),
            ({}, [1.1], False),
            ({}, [1.1, 0.9], True),
            ({"pretrained": False}, [0.1, 0.5, 2.0], False),
            ({"pretrained": False}, [0.5, 0.5], True),
            ({"pretrained": False}, [3.0, 0.9], True),
        ],
        ids=["alike", "not yet", "gone back", "from random weights", "no progress", "from there and back"],
    )
    def test_a_spread_near_zero_that_does_not_rise_is_a_collapse(self, manifest, tmp_path, options, spreads, stops):
        run = prepare_run(manifest, metric_options(freeze_stages=0, views=1, **options), tmp_path)
        *earlier, last = [
            {"epoch": at, "spread": COLLAPSED_SPREAD * share, "map_at_r": 1.0, "garment_at_1": 1.0}
            for at, share in enumerate(spreads, start=1)
        ]
        for row in earlier:
            run._keep_best(row["epoch"], row)
            run.folder.append(row)
        if stops:
            with raises_code(TrainingFailed, "vectors_collapsed", f"epoch {last['epoch']}"):
                run._keep_best(last["epoch"], last)
        else:
            run._keep_best(last["epoch"], last)
        assert (tmp_path / BEST_FILE).exists() is bool(earlier or not stops)

    @pytest.mark.parametrize("kind", [metric_options, classifier_options], ids=["metric", "classifier"])
    def test_a_loss_that_is_not_finite_stops_the_run(self, kind, manifest, cache, tmp_path):
        options = kind(lr=1e30, head_lr=1e30, warmup=0.0)
        with pytest.raises(TrainingFailed) as caught:
            prepare_run(manifest, options, tmp_path, cache).train(RecordingWatcher())
        assert caught.value.code in ("loss_not_finite", "outputs_not_finite")
        assert not (tmp_path / CHECKPOINT_FILE).exists()


METRIC = {
    "no augmentation": {"augment": "none"},
    "flipped": {"augment": "flip", "views": 0},
    "randaugment": {"augment": "randaugment", "views": 0},
    "fresh views by a worker process": {"views": 0, "workers": 1},
    "nothing frozen": {"freeze_stages": 0, "backbone": "resnet18", "pretrained": False, "statistics": "trained"},
    "all frozen": {"freeze_stages": STAGES},
    "adam with both penalties": {"optimizer": "adam", "l1": 1e-5, "l2": 1e-4},
    "no average": {"ema": 0.0},
    "trained statistics": {"statistics": "trained"},
    "bfloat16": {"precision": "bfloat16"},
    "mean pooling, padded": {"pooling": "mean", "resize": "pad"},
    "no warm-up, no clipping": {"warmup": 0.0, "clip": 0.0},
    "triplets": {"label_loss": "triplet", "miner": "hard", "identity_loss": "triplet"},
    "a memory": {"label_loss": "supcon", "memory": 64},
    "labels alone": {"identity_loss": "none", "label_loss": "multi-similarity", "miner": "multi-similarity"},
    "identity alone": {"label_loss": "none", "label_size": 0},
    "arcface": {"label_loss": "arcface", "sub_centres": 2, "balance": "full", "mixup": 0.2},
    "a batch above all photos": {"batch_size": 500, "balance": "none", "warmup": 1.0},
}
CLASSIFIER = {
    "mixup": {"mixup": 0.4},
    "the old head": {"head": "hidden512"},
    "no smoothing": {"smoothing": 0.0, "precision": "bfloat16"},
    "fresh views by a worker process": {"views": 0, "workers": 1, "augment": "randaugment"},
}
EVERY = [pytest.param(metric_options(epochs=1, **changes), id=name) for name, changes in METRIC.items()]
EVERY += [pytest.param(classifier_options(epochs=1, **changes), id=name) for name, changes in CLASSIFIER.items()]


@pytest.mark.parametrize("options", EVERY)
def test_an_epoch_can_be_trained_with_each_option(options, manifest, tmp_path):
    run = prepare_run(manifest, options, tmp_path)
    before = weights(run.encoder)
    watcher = RecordingWatcher()
    best = run.train(watcher)
    assert np.isfinite(watcher.losses).all()
    assert [row["epoch"] for row in watcher.rows] == [1]
    assert not same(before, weights(run.encoder))
    assert not same(before, weights(best))


def test_the_first_epochs_can_train_the_head_alone(manifest, cache, tmp_path):
    run = prepare_run(manifest, metric_options(head_epochs=1), tmp_path, cache)
    before = weights(run.encoder)
    with pytest.raises(Killed):
        run.train(KilledAfter(1))
    learned = {name for name, tensor in weights(run.encoder).items() if not torch.equal(tensor, before[name])}
    assert learned == {"network.head.layer.weight", "network.head.layer.bias"}
    run.train(RecordingWatcher())
    assert any(not torch.equal(weights(run.encoder)[name], before[name]) for name in before if ".trunk." in name)


def test_a_watcher_receives_every_step_and_epoch(manifest, cache, tmp_path):
    watcher = RecordingWatcher()
    prepare_run(manifest, metric_options(), tmp_path, cache).train(watcher)
    assert watcher.steps == [(epoch, step, 3) for epoch in (1, 2) for step in (1, 2, 3)]
    assert [row["epoch"] for row in watcher.rows] == [1, 2]
    assert watcher.rows[1]["train_loss"] == pytest.approx(np.mean(watcher.losses[3:]))


def test_the_held_out_photos_may_have_a_single_label(manifest, tmp_path):
    photos = tuple(photo for photo in manifest.photos if photo.split == "train" or photo.label == "Top")
    run = prepare_run(replace(manifest, photos=photos), metric_options(epochs=1), tmp_path)
    run.train(RecordingWatcher())
    assert run.best_epoch == 1
