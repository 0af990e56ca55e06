import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from ml.training.classifier import ClassifierTask
from ml.training.dataset import CLEAN, PHONE, Batch, TrainingData
from ml.training.model import TrainableEncoder, build_encoder
from tests.helpers.tiny_training import classifier_options, load_run_data


@pytest.fixture(scope="module")
def data(manifest, cache) -> TrainingData:
    return load_run_data(manifest, classifier_options(), cache)


@pytest.fixture(scope="module")
def encoder(data) -> TrainableEncoder:
    return build_encoder(data.options, 3).eval()


@pytest.fixture(scope="module")
def batch(data) -> Batch:
    return next(data.batches([np.array([0, 13, 25, 1])], 1, 1))


def test_the_loss_is_the_smoothed_cross_entropy_by_its_definition(data, encoder, batch):
    loss, figures = ClassifierTask(data, classifier_options(smoothing=0.3)).batch_loss(
        encoder, batch, np.random.default_rng(0)
    )
    logits = encoder(batch.inputs).detach().numpy().astype(np.float64)
    expected = []
    for row, label in zip(logits, batch.labels.tolist(), strict=True):
        log_shares = row - np.log(np.exp(row).sum())
        wanted = [0.3 / 3 + (0.7 if at == label else 0) for at in range(3)]
        expected.append(-sum(share * log for share, log in zip(wanted, log_shares, strict=True)))
    assert loss.item() == pytest.approx(np.mean(expected), rel=1e-4)
    assert figures == {"train_accuracy": np.mean(logits.argmax(axis=1) == batch.labels.numpy())}


def test_mixup_mixes_maps_and_losses_by_one_share(data, encoder, batch):
    mixing = ClassifierTask(data, classifier_options(mixup=0.4, smoothing=0.0))
    loss, figures = mixing.batch_loss(encoder, batch, np.random.default_rng(5))
    draw = np.random.default_rng(5)
    share = draw.beta(0.4, 0.4)
    share, partner = max(share, 1 - share), draw.permutation(4).tolist()
    maps = encoder.frozen_features(batch.inputs)
    mixed = torch.stack([share * maps[at] + (1 - share) * maps[partner[at]] for at in range(4)])
    logits, labels = encoder.outputs(mixed), batch.labels
    expected = sum(
        share * cross_entropy(logits[at], labels[at]) + (1 - share) * cross_entropy(logits[at], labels[partner[at]])
        for at in range(4)
    )
    assert loss.item() == pytest.approx(expected.item() / 4, rel=1e-4)
    assert figures["train_accuracy"] == (logits.argmax(dim=1) == labels).float().mean().item()


def test_validation_has_the_plain_loss_and_the_accuracy_of_both_views(data, encoder):
    task = ClassifierTask(data, classifier_options(smoothing=0.5))
    figures = task.validate(encoder)
    truths = data.held_out.labels
    clean, phone = (task.held_out_logits(encoder, view) for view in (CLEAN, PHONE))
    assert figures["val_accuracy"] == np.mean([row.argmax() == truth for row, truth in zip(clean, truths, strict=True)])
    assert figures["phone_accuracy"] == np.mean(
        [row.argmax() == truth for row, truth in zip(phone, truths, strict=True)]
    )
    shares = [np.exp(row)[truth] / np.exp(row).sum() for row, truth in zip(clean, truths, strict=True)]
    assert figures["val_loss"] == pytest.approx(-np.mean(np.log(shares)), rel=1e-4)


def test_the_score_is_the_mean_of_both_accuracies(data):
    assert ClassifierTask(data, classifier_options()).score({"val_accuracy": 0.9, "phone_accuracy": 0.5}) == 0.7


@pytest.mark.parametrize("head", ["linear", "hidden512"])
def test_either_head_has_an_output_for_each_label(data, head):
    options = classifier_options(head=head)
    outputs = ClassifierTask(data, options).held_out_logits(build_encoder(options, 3), CLEAN)
    assert outputs.shape == (18, 3)
