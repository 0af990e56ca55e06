import numpy as np
import pytest

from ml.formats.errors import InputError
from ml.training.pretrained import TooFewPhotosError, whitened_pca
from ml.vectors import unit_rows
from tests.helpers.errors import raises_code


def some_views(photos=400, views=3, channels=10, seed=0):
    """Photos differ in all channels; views of one photo differ a hundred times as much in the first two."""
    rng = np.random.default_rng(seed)
    noise = np.full(channels, 0.1)
    noise[:2] = 10.0
    shown = rng.normal(size=(photos, 1, channels)) + rng.normal(size=(photos, views, channels)) * noise
    return (shown + 3.0).astype(np.float32)


def test_the_noise_comes_out_white_where_nothing_is_shrunk():
    views = some_views()
    projection = whitened_pca(views, 10, shrinkage=0.0)
    out = projection(views.reshape(-1, 10)).reshape(views.shape).astype(np.float64)
    noise = (out - out.mean(axis=1, keepdims=True)).reshape(-1, 10)
    covariance = noise.T @ noise / len(noise)
    assert covariance / covariance[0, 0] == pytest.approx(np.eye(10), abs=2e-3)


def test_components_are_centred_uncorrelated_and_sorted_by_variance():
    views = some_views()
    means = views.mean(axis=1)
    out = whitened_pca(views, 6, shrinkage=1.0)(means).astype(np.float64)
    covariance = out.T @ out / len(out)
    variances = np.diag(covariance)
    assert out.mean(axis=0) == pytest.approx(np.zeros(6), abs=1e-4)
    assert covariance - np.diag(variances) == pytest.approx(np.zeros((6, 6)), abs=1e-4)
    assert (np.diff(variances) <= 1e-6).all()


def test_whitening_makes_other_views_find_their_photo_far_more_often():
    views = some_views()
    projection = whitened_pca(views, 8, shrinkage=0.1)

    def recall(first, second) -> float:
        return float(((unit_rows(first) @ unit_rows(second).T).argmax(axis=1) == np.arange(400)).mean())

    assert recall(projection(views[:, 0]), projection(views[:, 1])) > 0.5
    assert recall(views[:, 0] - 3, views[:, 1] - 3) < 0.3


def test_it_agrees_with_the_generalised_eigenvalue_problem():
    """Without rotation and scale: the components span the leading solutions of S_means v = w (S_noise + r I) v."""
    views = some_views().astype(np.float64)
    means = views.mean(axis=1)
    noise = (views - means[:, None]).reshape(-1, 10)
    within, between = noise.T @ noise / len(noise), np.cov(means.T, bias=True)
    ridge = 2.0 * np.linalg.eigvalsh(within).mean() * np.eye(10)
    values, vectors = np.linalg.eig(np.linalg.solve(within + ridge, between))
    expected = np.linalg.qr(vectors[:, np.argsort(-values.real)[:4]].real)[0]
    got = np.linalg.qr(whitened_pca(views, 4, shrinkage=2.0).weight.T.astype(np.float64))[0]
    assert np.linalg.svd(expected.T @ got)[1] == pytest.approx(np.ones(4), abs=1e-5)


def test_signs_and_scale_are_fixed():
    views = some_views()
    weight = whitened_pca(views, 5, shrinkage=1.0).weight
    assert (np.take_along_axis(weight, np.abs(weight).argmax(axis=1)[:, None], axis=1) > 0).all()
    ten_times = whitened_pca(10 * views, 5, shrinkage=1.0)
    assert ten_times(10 * views[:, 0]) == pytest.approx(whitened_pca(views, 5, shrinkage=1.0)(views[:, 0]), abs=1e-3)


@pytest.mark.parametrize(("photos", "dim"), [(5, 5), (400, 11)])
def test_too_few_photos_or_channels_are_refused(photos, dim):
    with pytest.raises(TooFewPhotosError if photos == 5 else InputError):
        whitened_pca(some_views(photos), dim, shrinkage=1.0)


def test_identical_views_are_refused():
    with raises_code(InputError, "views_identical"):
        whitened_pca(np.repeat(some_views(views=1), 3, axis=1), 5, shrinkage=1.0)
