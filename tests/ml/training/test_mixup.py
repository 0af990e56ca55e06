"""Mixup, by hand."""

import numpy as np
import pytest
import torch

from ml.training.losses import MetricLoss
from ml.training.mixup import draw_mixing
from ml.training.options import OptionsError
from tests.helpers.errors import raises_code
from tests.helpers.tiny_training import metric_options


def test_the_first_photo_of_a_mixture_has_at_least_half():
    shares = [draw_mixing(1.0, 4, 1, np.random.default_rng(seed)).share for seed in range(50)]
    assert all(0.5 <= share <= 1 for share in shares)
    assert max(shares) - min(shares) > 0.3


def test_all_views_of_a_photo_are_mixed_with_views_of_the_same_other_photo():
    mixing = draw_mixing(0.4, 5, 2, np.random.default_rng(3))
    photos = torch.arange(5).repeat(2)
    first, second = mixing.partners(photos).split(5)
    assert first.tolist() == second.tolist()
    assert sorted(first.tolist()) == [0, 1, 2, 3, 4]
    views = torch.tensor([0] * 5 + [1] * 5)
    assert mixing.partners(views).tolist() == views.tolist()


def test_rows_are_mixed_by_the_share():
    mixing = draw_mixing(0.4, 3, 1, np.random.default_rng(1))
    maps = torch.rand(3, 2, 2, 2)
    expected = [mixing.share * maps[at] + (1 - mixing.share) * maps[other] for at, other in enumerate(mixing.partner)]
    assert torch.allclose(mixing.mix(maps), torch.stack(expected))


def test_the_label_loss_of_a_mixture_is_that_of_both_labels_and_its_identity_its_own():
    loss = MetricLoss(metric_options(), 3)
    outputs, labels, items = torch.randn(6, 24), torch.tensor([0, 1, 2] * 2), torch.tensor([0, 1, 2] * 2)
    mixing = draw_mixing(0.4, 3, 2, np.random.default_rng(0))
    assert mixing.partner.tolist() != list(range(6))
    mixed = loss(outputs, labels, items, mixing)
    first, partners = loss(outputs, labels, items), loss(outputs, mixing.partners(labels), items)
    assert first.label != pytest.approx(partners.label)
    assert mixed.label == pytest.approx(mixing.share * first.label + (1 - mixing.share) * partners.label)
    assert mixed.identity == first.identity


@pytest.mark.parametrize("label_loss", ["triplet", "multi-similarity", "supcon"])
def test_losses_over_pairs_exclude_mixup(label_loss):
    with raises_code(OptionsError, "options_conflict", "mixup", label_loss):
        metric_options(label_loss=label_loss, mixup=0.2)
