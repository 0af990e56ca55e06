import numpy as np
import pytest
import torch
from torch import nn

from ml.data.view_cache import ViewCache
from ml.training import task
from ml.training.model import build_encoder
from ml.training.task import RunningMeans, TrainingFailed, compute_features, compute_outputs
from tests.helpers.errors import raises_code
from tests.helpers.tiny_training import metric_options


class TestTally:
    def test_numbers_are_averaged_by_weight_and_triplets_are_summed(self):
        running_means = RunningMeans()
        running_means.add({"train_loss": 1.0, "mined_triplets": 10, "active_triplets": 4}, weight=3)
        running_means.add({"train_loss": 5.0, "mined_triplets": 20, "active_triplets": 0}, weight=1)
        assert running_means.means() == {"train_loss": 2.0, "mined_triplets": 30, "active_triplets": 4}

    def test_an_empty_tally_has_no_means(self):
        assert RunningMeans().means() == {}


@pytest.fixture(scope="module")
def encoder():
    return build_encoder(metric_options(freeze_stages=0, pretrained=False), 3)


@pytest.fixture(scope="module")
def store() -> ViewCache:
    return ViewCache(np.random.default_rng(0).integers(0, 256, (5, 2, 64, 64, 3)).astype(np.uint8))


class TestOutputs:
    def test_outputs_in_batches_equal_those_at_once(self, encoder, store, monkeypatch):
        monkeypatch.setattr(task, "EVALUATION_BATCH", 2)
        pictures = torch.from_numpy(store.array[:, 1].copy()).permute(0, 3, 1, 2)
        with torch.inference_mode():
            expected = encoder.eval()(pictures).numpy()
            features = encoder.features(encoder.frozen_features(pictures)).numpy()
        assert compute_outputs(encoder, store, 5, 1) == pytest.approx(expected, abs=1e-5)
        assert compute_features(encoder, store, 5, 1) == pytest.approx(features, abs=1e-4)
        assert compute_outputs(encoder, store, 3, 1) == pytest.approx(expected[:3], abs=1e-5)

    def test_the_network_is_in_evaluation_mode_and_stays_unchanged(self, encoder, store):
        encoder.train()
        first, second = (compute_outputs(encoder, store, 5, 0) for _ in range(2))
        assert np.array_equal(first, second)
        assert not encoder.training

    def test_a_network_with_weights_that_are_not_finite_fails(self, store):
        broken = build_encoder(metric_options(freeze_stages=0, pretrained=False), 3)
        nn.init.constant_(broken.network.head.layer.bias, float("nan"))
        with raises_code(TrainingFailed, "outputs_not_finite"):
            compute_outputs(broken, store, 5, 0)
