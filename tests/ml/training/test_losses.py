"""Each loss against the plainest loops over its formula, and against cases small enough to work out by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from pytorch_metric_learning.distances import CosineSimilarity

from ml.training.losses import MetricLoss, build_identity_loss, build_label_loss, build_miner
from ml.training.options import PAIR_LOSSES, MetricOptions
from tests.helpers.naive_losses import OPTIONS, mean_of_losses_above_zero, unit

LABELS = [0, 0, 0, 1, 1, 1, 2, 2, 1, 0]
ITEMS = [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]
"""Five photos, each seen twice: some labels here differ between the views of an item, so that no loss mixes them up."""


@pytest.fixture
def vectors() -> np.ndarray:
    """Ten unit vectors that are neither near each other nor opposite."""
    raw = np.random.default_rng(4).normal(size=(10, 8)) + 0.4
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


def value_of(options: MetricOptions, outputs, labels=LABELS, items=ITEMS, classes: int = 3):
    loss = MetricLoss(options, classes)
    return loss(torch.tensor(outputs, dtype=torch.float32), torch.tensor(labels), torch.tensor(items)), loss


def of_label(options: MetricOptions, vectors, labels=LABELS) -> float:
    """The label loss over whole vectors."""
    return value_of(replace(options, label_size=0), vectors, labels)[0].label


def triplets(labels) -> list[tuple[int, int, int]]:
    every = range(len(labels))
    return [
        (a, p, n)
        for a in every
        for p in every
        for n in every
        if a != p and labels[a] == labels[p] and labels[a] != labels[n]
    ]


# --- triplets


CHOSEN = {
    "none": lambda gap, margin: True,
    "all": lambda gap, margin: gap <= margin,
    "hard": lambda gap, margin: gap <= 0,
    "semihard": lambda gap, margin: 0 < gap <= margin,
    "easy": lambda gap, margin: gap > margin,
}
"""By the gap between the cosine with the positive and the one with the negative."""


@pytest.mark.parametrize("kind", CHOSEN)
def test_the_triplet_loss_is_the_mean_violation_of_the_margin(vectors, kind):
    cosines = vectors @ vectors.T
    gaps = [cosines[a, p] - cosines[a, n] for a, p, n in triplets(LABELS)]
    chosen = [gap for gap in gaps if CHOSEN[kind](gap, 0.2)]
    value, _ = value_of(replace(OPTIONS, label_size=0, miner=kind), vectors)
    assert value.label == pytest.approx(mean_of_losses_above_zero([0.2 - gap for gap in chosen]), abs=1e-5)
    assert value.mined == len(chosen)
    assert value.active == sum(gap < 0.2 for gap in chosen)
    assert 0 < len(chosen) < len(gaps) or kind == "none"


def test_one_triplet_by_hand():
    """cos(a, p) = 0.8 and cos(a, n) = 0.6; p and n are each other's mirror image at a, so cos(p, n) = 0."""
    outputs = [[1.0, 0.0], [0.8, 0.6], [0.6, -0.8]]
    options = replace(OPTIONS, embedding_size=2, label_size=0, margin=0.3)
    value, _ = value_of(options, outputs, [0, 0, 1], [0, 1, 2], classes=2)
    assert (value.mined, value.active) == (2, 1)  # from a: 0.3 - 0.8 + 0.6 = 0.1; from p: 0.3 - 0.8 + 0 < 0
    assert value.label == pytest.approx(0.1, abs=1e-6)


@pytest.mark.parametrize("loss", ["softmax", "none", "proxy-anchor"])
@pytest.mark.parametrize("margin", [0.0, 0.1, 1.5])
def test_without_a_miner_all_triplets_are_counted(vectors, loss, margin):
    cosines = vectors @ vectors.T
    gaps = [cosines[a, p] - cosines[a, n] for a, p, n in triplets(LABELS)]
    value, _ = value_of(replace(OPTIONS, label_size=0, label_loss=loss, miner="semihard", margin=margin), vectors)
    assert (value.mined, value.active) == (len(gaps), sum(gap < margin for gap in gaps))


def test_mined_pairs_are_counted_as_their_triplets(vectors):
    options = replace(OPTIONS, label_size=0, label_loss="multi-similarity", miner="multi-similarity")
    positives, negatives = mined_pairs(vectors @ vectors.T, LABELS, 0.2)
    triplets = [(a, p, n) for a, p in positives for b, n in negatives if a == b]
    cosines = vectors @ vectors.T
    value, _ = value_of(options, vectors)
    assert value.mined == len(triplets) > 0
    assert value.active == sum(cosines[a, p] - cosines[a, n] < 0.2 for a, p, n in triplets)


def test_a_batch_without_triplets_has_no_loss_and_no_gradient():
    outputs = torch.rand(4, 8, requires_grad=True)
    for labels in ([0, 1, 2, 3], [0, 0, 0, 0]):
        options = replace(OPTIONS, label_size=0, miner="semihard", identity_loss="none")
        value = MetricLoss(options, 4)(outputs, torch.tensor(labels), torch.arange(4))
        value.total.backward()
        assert (value.label, value.mined, value.active) == (0.0, 0, 0)
        assert not outputs.grad.any()


# --- pairs


def mined_pairs(cosines, labels, epsilon):
    """Wang et al., "Multi-Similarity Loss", 2019, section 3.3: positives worse than the best negative, and back."""
    positives, negatives = [], []
    for a in range(len(labels)):
        same_label = [p for p in range(len(labels)) if p != a and labels[p] == labels[a]]
        others = [n for n in range(len(labels)) if labels[n] != labels[a]]
        positives += [(a, p) for p in same_label if cosines[a, p] - epsilon < max(cosines[a, n] for n in others)]
        negatives += [(a, n) for n in others if cosines[a, n] + epsilon > min(cosines[a, p] for p in same_label)]
    return positives, negatives


@pytest.mark.parametrize("mined", [False, True])
def test_multi_similarity_follows_its_formula(vectors, mined):
    """The same paper, equation 7 with alpha 2, beta `scale`, lambda 0.5."""
    cosines, n = vectors @ vectors.T, len(LABELS)
    every = [(a, b) for a in range(n) for b in range(n) if a != b]
    positives, negatives = (
        mined_pairs(cosines, LABELS, 0.2)
        if mined
        else (
            [(a, b) for a, b in every if LABELS[a] == LABELS[b]],
            [(a, b) for a, b in every if LABELS[a] != LABELS[b]],
        )
    )
    total = 0.0
    for anchor in range(n):
        pull = sum(math.exp(-2 * (cosines[a, p] - 0.5)) for a, p in positives if a == anchor)
        push = sum(math.exp(10 * (cosines[a, b] - 0.5)) for a, b in negatives if a == anchor)
        total += math.log1p(pull) / 2 + math.log1p(push) / 10
    options = replace(OPTIONS, label_loss="multi-similarity", miner="multi-similarity" if mined else "none")
    assert of_label(options, vectors) == pytest.approx(total / n, rel=1e-4)


def test_supcon_follows_its_formula(vectors):
    """Khosla et al., "Supervised Contrastive Learning", 2020, equation 2, averaged over the anchors."""
    cosines, n = vectors @ vectors.T, len(LABELS)
    losses = []
    for a in range(n):
        others = [b for b in range(n) if b != a]
        whole = sum(math.exp(cosines[a, b] / 0.3) for b in others)
        same_label = [p for p in others if LABELS[p] == LABELS[a]]
        losses.append(-sum(math.log(math.exp(cosines[a, p] / 0.3) / whole) for p in same_label) / len(same_label))
    assert of_label(replace(OPTIONS, label_loss="supcon"), vectors) == pytest.approx(np.mean(losses), rel=1e-4)


def contrast(cosines, items, temperature) -> float:
    """Chen et al., 2020, equation 1: of each pair of views against all rows of other items."""
    losses = []
    for a in range(len(items)):
        negatives = [math.exp(cosines[a, n] / temperature) for n in range(len(items)) if items[n] != items[a]]
        for p in range(len(items)):
            if p != a and items[p] == items[a]:
                positive = math.exp(cosines[a, p] / temperature)
                losses.append(-math.log(positive / (positive + sum(negatives))))
    return sum(losses) / len(losses)


def test_the_identity_loss_contrasts_views_with_other_photos(vectors):
    value, _ = value_of(replace(OPTIONS, label_size=0), vectors)
    assert value.identity == pytest.approx(contrast(vectors @ vectors.T, ITEMS, 0.3), rel=1e-4)


def test_two_items_by_hand():
    """Views at right angles to the other item's: each pair has a cosine of 1 against two of 0."""
    outputs = [[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 3.0]]
    options = replace(OPTIONS, embedding_size=2, label_size=0, label_loss="none", temperature=0.5)
    value, _ = value_of(options, outputs, [0, 0, 0, 0], [0, 1, 0, 1])
    assert value.identity == pytest.approx(math.log(1 + 2 * math.exp(-2)), rel=1e-5)
    assert value.total.item() == pytest.approx(value.identity)


def test_the_identity_loss_of_triplets_has_items_as_its_labels(vectors):
    cosines = vectors @ vectors.T
    losses = [0.2 - cosines[a, p] + cosines[a, n] for a, p, n in triplets(ITEMS)]
    value, _ = value_of(replace(OPTIONS, label_size=0, identity_loss="triplet", miner="hard"), vectors)
    assert value.identity == pytest.approx(mean_of_losses_above_zero(losses), rel=1e-4)


# --- proxies


def test_softmax_is_cross_entropy_over_scaled_cosines_with_the_proxies(vectors):
    value, loss = value_of(replace(OPTIONS, label_size=0, label_loss="softmax"), vectors)
    proxies = unit(loss.label.W.detach().numpy().T)
    total = 0.0
    for vector, label in zip(vectors, LABELS, strict=True):
        powers = [math.exp(10 * float(vector @ proxy)) for proxy in proxies]
        total -= math.log(powers[label] / sum(powers))
    assert value.label == pytest.approx(total / len(LABELS), rel=1e-4)


def test_proxy_anchor_follows_its_formula(vectors):
    """Kim et al., "Proxy Anchor Loss", 2020, equation 4, with the third label absent from the batch."""
    labels = [0, 0, 0, 1, 1, 1, 0, 1, 1, 0]
    value, loss = value_of(replace(OPTIONS, label_size=0, label_loss="proxy-anchor"), vectors, labels)
    cosines = vectors @ unit(loss.label.proxies.detach().numpy()).T
    pull = push = 0.0
    for proxy in range(3):
        same_label = [math.exp(-10 * (cosines[row, proxy] - 0.2)) for row in range(10) if labels[row] == proxy]
        others = [math.exp(10 * (cosines[row, proxy] + 0.2)) for row in range(10) if labels[row] != proxy]
        pull += math.log1p(sum(same_label)) if same_label else 0.0
        push += math.log1p(sum(others))
    assert value.label == pytest.approx(pull / 2 + push / 3, rel=1e-4)


def test_arcface_adds_the_margin_to_the_angle_with_the_nearest_centre_of_the_label(vectors):
    """Deng et al., "Sub-center ArcFace", 2020, equation 3."""
    options = replace(OPTIONS, label_size=0, label_loss="arcface", sub_centres=2, margin=0.4)
    value, loss = value_of(options, vectors)
    centres = unit(loss.label.W.detach().numpy().T).reshape(3, 2, 8)
    total = 0.0
    for vector, label in zip(vectors, LABELS, strict=True):
        nearest = [max(float(vector @ centre) for centre in of_one) for of_one in centres]
        assert math.acos(nearest[label]) + 0.4 < math.pi
        nearest[label] = math.cos(math.acos(nearest[label]) + 0.4)
        powers = [math.exp(10 * cosine) for cosine in nearest]
        total -= math.log(powers[label] / sum(powers))
    assert value.label == pytest.approx(total / len(LABELS), rel=1e-4)


def test_the_first_proxies_follow_from_the_seed_alone():
    """In a distributed run one process draws more than the others before it gets here."""
    proxies = []
    for seed in (0, 0, 1):
        torch.rand(len(proxies) + 1)
        proxies.append(MetricLoss(replace(OPTIONS, label_loss="softmax", seed=seed), 3).label.W.detach())
    assert torch.equal(proxies[0], proxies[1])
    assert not torch.equal(proxies[0], proxies[2])


# --- the whole


@pytest.mark.parametrize("label_size", [0, 3])
def test_the_total_is_the_weighted_sum_of_the_two_parts(vectors, label_size):
    options = replace(OPTIONS, label_size=label_size, label_loss="supcon", label_weight=0.7, identity_weight=2.5)
    label = unit(vectors[:, :label_size]) if label_size else vectors
    item = unit(vectors[:, label_size:])
    value, _ = value_of(options, 5 * vectors)  # lengths say nothing
    whole = replace(options, label_size=0, embedding_size=label.shape[1])
    assert value.label == pytest.approx(of_label(whole, label), rel=1e-4)
    assert value.identity == pytest.approx(contrast(item @ item.T, ITEMS, 0.3), rel=1e-4)
    assert value.total.item() == pytest.approx(0.7 * value.label + 2.5 * value.identity, rel=1e-5)


@pytest.mark.parametrize(("weights", "moved"), [((1.0, 0.0), slice(0, 3)), ((0.0, 1.0), slice(3, 8))])
def test_each_loss_has_gradients_in_its_own_part_alone(vectors, weights, moved):
    outputs = torch.tensor(vectors, dtype=torch.float32, requires_grad=True)
    options = replace(OPTIONS, label_loss="supcon", label_weight=weights[0], identity_weight=weights[1])
    MetricLoss(options, 3)(outputs, torch.tensor(LABELS), torch.tensor(ITEMS)).total.backward()
    still = torch.ones(8, dtype=torch.bool)
    still[moved] = False
    assert outputs.grad[:, moved].any(dim=0).all()
    assert not outputs.grad[:, still].any()


@pytest.mark.parametrize("without", ["label_loss", "identity_loss"])
def test_a_loss_named_none_adds_nothing(vectors, without):
    value, _ = value_of(replace(OPTIONS, **{without: "none"}), vectors)
    left = value.identity if without == "label_loss" else value.label
    assert value.total.item() == pytest.approx(left, rel=1e-6) != 0
    assert 0.0 in (value.label, value.identity)


def test_the_local_loss_equals_the_joint_loss_of_one_process(vectors):
    value, loss = value_of(OPTIONS, vectors)
    again = loss.local_loss(torch.tensor(vectors, dtype=torch.float32), torch.tensor(LABELS), torch.tensor(ITEMS))
    assert again.total.item() == value.total.item()


# --- one distance, and explicit margins


@pytest.mark.parametrize("name", ["softmax", "triplet", "multi-similarity", "proxy-anchor", "supcon", "arcface"])
def test_every_distance_in_a_loss_is_the_cosine(name):
    options = replace(OPTIONS, label_loss=name, miner="semihard", memory=10 if name in PAIR_LOSSES else 0)
    parts = [part for part in MetricLoss(options, 3).modules() if hasattr(part, "distance")]
    assert len(parts) == 3  # label, miner, identity
    assert all(type(part.distance) is CosineSimilarity for part in parts)


@pytest.mark.parametrize("margin", [0.05, 0.7])
def test_every_margin_is_that_of_the_options(margin):
    options = replace(OPTIONS, margin=margin, identity_loss="triplet")
    for name in ("triplet", "proxy-anchor", "arcface"):
        assert build_label_loss(replace(options, label_loss=name), 3, 8).margin == pytest.approx(margin), name
    assert build_identity_loss(options).margin == margin
    for name in ("all", "hard", "semihard", "easy"):
        assert (
            build_miner(replace(options, miner=name)).margin,
            build_miner(replace(options, miner=name)).type_of_triplets,
        ) == (
            margin,
            name,
        )
    assert build_miner(replace(options, miner="multi-similarity")).epsilon == margin


def test_scale_and_temperature_reach_each_softmax_and_exponential():
    options = replace(OPTIONS, scale=12.0, temperature=0.05)
    by_name = {
        name: build_label_loss(replace(options, label_loss=name), 3, 8) for name in ("softmax", "supcon", "arcface")
    }
    assert by_name["softmax"].temperature == pytest.approx(1 / 12)
    assert by_name["supcon"].temperature == 0.05
    assert by_name["arcface"].scale == 12.0
    assert build_label_loss(replace(options, label_loss="multi-similarity"), 3, 8).beta == 12.0
    assert build_label_loss(replace(options, label_loss="proxy-anchor"), 3, 8).alpha == 12.0
    assert build_identity_loss(options).temperature == 0.05


def test_none_builds_no_loss_and_no_miner():
    options = replace(OPTIONS, label_loss="none")
    assert (build_label_loss(options, 3, 8), build_miner(options)) == (None, None)
    assert build_identity_loss(replace(OPTIONS, identity_loss="none")) is None
