"""Out-of-distribution scores: the formula, the threshold and the area under the ROC curve."""

import numpy as np
import pytest

from ml.formats.errors import InputError
from ml.scoring.ood import OodError, OodThreshold, auroc, fit_ood_layers, fit_ood_threshold, ood_scores
from ml.vectors import VectorError


def clothes(count: int, seed: int = 0, channels: int = 20) -> np.ndarray:
    """Return features that vary along three directions, and slightly along all, positive as after a ReLU."""
    directions = np.random.default_rng(99).normal(size=(3, channels))
    rng = np.random.default_rng(seed)
    spread = rng.normal(size=(count, 3)) * (1.0, 0.7, 0.4)
    return (8 + spread @ directions + 0.1 * rng.normal(size=(count, channels))).astype(np.float32)


def scores_by_loop(fitted: np.ndarray, tested: np.ndarray, dim: int) -> list[float]:
    """Compute the module's formula axis by axis, with a singular value decomposition instead of eigenvalues."""
    unit = [row / np.sqrt((row**2).sum()) for row in fitted.astype(np.float64)]
    mean = sum(unit) / len(unit)
    _, _, axes = np.linalg.svd(np.array(unit) - mean)
    rests, along = [], [[] for _ in range(dim)]
    for row in unit:
        left = row - mean
        for at in range(dim):
            along[at].append(axes[at] @ (row - mean))
            left = left - (axes[at] @ (row - mean)) * axes[at]
        rests.append((left**2).sum())
    variances, rest = [np.mean(np.square(values)) for values in along], np.mean(rests)
    scores = []
    for row in tested.astype(np.float64):
        z = row / np.sqrt((row**2).sum()) - mean
        left, distance = z, 0.0
        for at in range(dim):
            distance += (axes[at] @ z) ** 2 / variances[at] / dim
            left = left - (axes[at] @ z) * axes[at]
        scores.append((distance + (left**2).sum() / rest) / 2)
    return scores


@pytest.mark.parametrize("dim", [1, 3, 7])
def test_the_ood_score_equals_a_loop_over_the_formula(dim):
    fitted, tested = clothes(60), clothes(5, seed=1)
    layers = fit_ood_layers(fitted, dim)
    assert ood_scores(tested, layers) == pytest.approx(np.array(scores_by_loop(fitted, tested, dim)), rel=1e-3)


def test_the_fitted_photos_have_a_mean_score_of_one():
    fitted = clothes(500)
    assert ood_scores(fitted, fit_ood_layers(fitted, 3)).mean() == pytest.approx(1, abs=1e-3)


def test_the_weights_have_the_shapes_of_the_ood_layers():
    layers = fit_ood_layers(clothes(50), 3)
    assert {name: array.shape for name, array in layers.items()} == {
        "mean": (20,),
        "axes": (3, 20),
        "scale": (3,),
        "rest_scale": (1,),
    }
    assert all(array.dtype == np.float32 for array in layers.values())
    assert layers["axes"] @ layers["axes"].T == pytest.approx(np.eye(3), abs=1e-6)


def test_the_length_of_the_features_does_not_matter():
    """Features twice as large have the same direction."""
    layers = fit_ood_layers(clothes(200), 3)
    photos = clothes(5, seed=1)
    assert ood_scores(2 * photos, layers) == pytest.approx(ood_scores(photos, layers), rel=1e-4)


def test_features_far_along_an_axis_or_outside_all_axes_score_high():
    fitted = clothes(300)
    layers = fit_ood_layers(fitted, 3)
    centre = fitted.mean(axis=0)
    far_along = centre + 6 * (fitted[0] - centre)
    outside = centre.copy()
    outside[4] += 6
    usual, along, off = ood_scores(np.stack([centre, far_along, outside]), layers)
    assert usual < 1
    assert along > 5
    assert off > 5


def test_other_things_are_separated_from_unseen_clothes():
    layers = fit_ood_layers(clothes(300), 3)
    normal = ood_scores(clothes(400, seed=1), layers)
    other = ood_scores(np.random.default_rng(5).gamma(2.0, size=(100, 20)), layers)
    limit = fit_ood_threshold(normal)
    assert auroc(normal, other) > 0.99
    assert limit.not_clothes(other).mean() > 0.95
    assert limit.not_clothes(normal).mean() <= 0.01


@pytest.mark.parametrize(
    ("features", "dim"),
    [
        (clothes(4), 3),  # too few photos
        (clothes(50), 0),
        (clothes(50), 20),  # no rest
        (np.repeat(clothes(1), 50, axis=0), 3),  # all alike
    ],
)
def test_too_few_or_equal_photos_are_refused(features, dim):
    with pytest.raises(OodError):
        fit_ood_layers(features, dim)


@pytest.mark.parametrize("features", [np.full((50, 20), np.nan), np.zeros((50, 20)), np.ones(20)])
def test_malformed_features_are_refused(features):
    with pytest.raises(VectorError):
        fit_ood_layers(features, 3)


# --- the threshold


def test_the_threshold_accepts_the_given_share():
    values = np.random.default_rng(0).permutation(np.arange(1, 201)).astype(np.float32)
    limit = fit_ood_threshold(values, 0.99)
    assert limit.accepted_share == 0.99
    assert 0.99 <= 1 - limit.not_clothes(values).mean() < 1


def test_a_photo_at_the_threshold_is_accepted():
    limit = OodThreshold(2.0, 0.99)
    assert limit.not_clothes(np.array([1.9, 2.0, 2.1], dtype=np.float32)).tolist() == [False, False, True]


@pytest.mark.parametrize("values", [[], [1.0, np.nan], [np.inf]])
def test_a_threshold_needs_finite_values(values):
    with pytest.raises(OodError):
        fit_ood_threshold(values)


@pytest.mark.parametrize(
    ("threshold", "share"), [(0.0, 0.9), (-1.0, 0.9), (float("nan"), 0.9), (float("inf"), 0.9), (1.0, 0.0), (1.0, 1.1)]
)
def test_a_threshold_out_of_range_is_refused(threshold, share):
    with pytest.raises(InputError):
        OodThreshold(threshold, share)


# --- the area under the curve


def area_by_loop(normal: list[float], other: list[float]) -> float:
    wins = [1.0 if high > low else 0.5 if high == low else 0.0 for low in normal for high in other]
    return sum(wins) / len(wins)


def test_auroc_of_small_examples():
    assert auroc([1, 2], [3, 4]) == 1
    assert auroc([3, 4], [1, 2]) == 0
    assert auroc([1, 1], [1, 1]) == 0.5
    assert auroc([1, 3], [2]) == 0.5
    assert auroc([1, 2, 2], [2, 3]) == pytest.approx((1 + 0.5 + 0.5 + 3) / 6)


def test_auroc_equals_a_loop_over_all_pairs():
    rng = np.random.default_rng(0)
    normal, other = rng.integers(0, 9, 30).tolist(), rng.integers(3, 12, 20).tolist()
    assert auroc(normal, other) == pytest.approx(area_by_loop(normal, other))


def test_auroc_equals_that_of_scikit_learn():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(1)
    normal, other = rng.normal(size=200), rng.normal(1, 1, size=50)
    truths = [0] * len(normal) + [1] * len(other)
    assert auroc(normal, other) == pytest.approx(roc_auc_score(truths, np.concatenate([normal, other])))


def test_auroc_of_an_empty_side_is_refused():
    for sides in (([], [1]), ([1], [])):
        with pytest.raises(OodError):
            auroc(*sides)
