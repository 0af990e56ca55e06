import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from ml.data.manifest import Manifest
from ml.training.dataset import CLEAN, PHONE, TrainingData
from ml.training.metric import MetricTask
from ml.training.model import TrainableEncoder, build_encoder
from ml.training.task import compute_outputs
from ml.vectors import unit_rows
from tests.helpers.tiny_training import load_run_data, metric_options


@pytest.fixture(scope="module")
def data(manifest, cache) -> TrainingData:
    return load_run_data(manifest, metric_options(), cache)


@pytest.fixture(scope="module")
def encoder(data) -> TrainableEncoder:
    return build_encoder(data.options, 3)


@pytest.fixture(scope="module")
def task(data) -> MetricTask:
    return MetricTask(data, data.options)


def some_vectors(count: int, seed: int) -> np.ndarray:
    return unit_rows(np.random.default_rng(seed).normal(size=(count, 6)) + 0.7)


def by_loops(data: TrainingData, train: np.ndarray, clean: np.ndarray, phone: np.ndarray) -> dict[str, float]:
    """The figures, photo by photo, as their definitions say."""
    gallery = [*train, *clean]
    labels = [*data.train.labels, *data.held_out.labels]
    groups = [*data.train.groups, *data.held_out.groups]
    results: dict[str, list[float]] = {name: [] for name in ("1", "5", "10", "near10", "map", "garment1", "garment5")}
    for at in range(len(clean)):
        query = len(train) + at
        others = [row for row in range(len(gallery)) if groups[row] != groups[query]]
        nearest = sorted(others, key=lambda row: -float(clean[at] @ gallery[row]))
        right = [bool(labels[row] == labels[query]) for row in nearest]
        for k in (1, 5, 10):
            results[str(k)].append(any(right[:k]))
        results["near10"].append(sum(right[:10]) / 10)
        total = sum(right)
        precisions = [sum(right[: rank + 1]) / (rank + 1) for rank in range(total) if right[rank]]
        results["map"].append(sum(precisions) / total)
        scores = [float(phone[at] @ row) for row in gallery]
        rank = sum(score >= scores[query] for score in scores)
        results["garment1"].append(rank <= 1)
        results["garment5"].append(rank <= 5)
    means = {name: float(np.mean(values)) for name, values in results.items()}
    return {
        **{f"recall_at_{k}": means[str(k)] for k in (1, 5, 10)},
        **{"near10": means["near10"], "map_at_r": means["map"]},
        **{"garment_at_1": means["garment1"], "garment_at_5": means["garment5"]},
    }


def test_the_figures_equal_those_of_plain_loops(task, data):
    train, clean = some_vectors(36, 0), some_vectors(18, 1)
    phone = unit_rows(clean + 0.4 * some_vectors(18, 2))
    assert task.figures(train, clean, phone) == pytest.approx(by_loops(data, train, clean, phone))


def test_validation_uses_clean_and_phone_views(task, data, encoder):
    figures = task.validate(encoder)
    train = unit_rows(compute_outputs(encoder, data.train_cache, 36, CLEAN))
    clean, phone = (unit_rows(compute_outputs(encoder, data.held_out_cache, 18, view)) for view in (CLEAN, PHONE))
    assert figures == pytest.approx(
        by_loops(data, train, clean, phone) | {"spread": figures["spread"], "val_loss": figures["val_loss"]}
    )
    assert np.array_equal(train, task.embed_train(encoder))
    assert np.array_equal(phone, task.embed_held_out(encoder, PHONE))


def test_the_spread_is_the_mean_of_one_minus_cosine_over_all_pairs(task, encoder):
    vectors = np.concatenate([task.embed_train(encoder), task.embed_held_out(encoder, CLEAN)]).astype(np.float64)
    pairs = [1 - one @ other for one in vectors for other in vectors]
    assert task.validate(encoder)["spread"] == pytest.approx(np.mean(pairs), abs=1e-5)


def test_the_held_out_loss_is_that_of_clean_and_phone_views_together(manifest, cache, encoder):
    data = load_run_data(manifest, metric_options(batch_size=64), cache)
    task = MetricTask(data, data.options)
    both = torch.from_numpy(np.concatenate([task.embed_held_out(encoder, view) for view in (CLEAN, PHONE)]))
    labels, items = (torch.from_numpy(np.tile(numbers, 2)) for numbers in (data.held_out.labels, data.held_out.items))
    expected = task.loss.local_loss(both, labels, items).total.item()
    assert task.validate(encoder)["val_loss"] == pytest.approx(expected, rel=1e-5)


def test_a_cross_batch_memory_gets_no_held_out_photos(data, encoder):
    options = metric_options(label_loss="triplet", memory=64)
    task = MetricTask(data, options)
    before = task.loss.state_dict()["label.embedding_memory"].clone()
    assert math.isnan(task.validate(encoder)["val_loss"])
    assert torch.equal(task.loss.state_dict()["label.embedding_memory"], before)


def test_the_loss_of_a_batch_is_the_weighted_sum_of_label_and_identity(data, encoder):
    batch = next(data.batches([np.arange(12)], 2, 1))
    task = MetricTask(data, metric_options(label_weight=2.0, identity_weight=0.5))
    encoder.eval()
    loss, figures = task.batch_loss(encoder, batch, np.random.default_rng(0))
    assert loss.requires_grad
    assert loss.item() == pytest.approx(2 * figures["label_loss"] + 0.5 * figures["identity_loss"], rel=1e-5)
    assert 0 <= figures["active_triplets"] <= figures["mined_triplets"]


class TestScore:
    def test_the_score_is_the_mean_of_label_and_garment(self, task):
        assert task.score({"map_at_r": 0.4, "garment_at_1": 0.8, "recall_at_1": 0.1}) == pytest.approx(0.6)

    def test_the_score_is_the_garment_alone_where_the_label_is_nan(self, manifest, tmp_path):
        """One contributor gave all photos, so that no label has a result of another one."""
        photos = tuple(replace(photo, extra={"contributor": "shop"}) for photo in manifest.photos)
        data = load_run_data(Manifest(manifest.folder, photos), metric_options(), tmp_path)
        task = MetricTask(data, data.options)
        figures = task.figures(some_vectors(36, 0), some_vectors(18, 1), some_vectors(18, 1))
        assert math.isnan(figures["map_at_r"])
        assert task.score(figures) == figures["garment_at_1"] == 1


@pytest.mark.parametrize(
    ("changes", "refines"), [({}, True), ({"sharpen": False}, False), ({"label_size": 0}, False)], ids=str
)
def test_only_vectors_of_two_parts_are_refined_and_only_if_chosen(data, changes, refines):
    assert MetricTask(data, metric_options(**changes)).refines_prototypes is refines
