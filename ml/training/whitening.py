"""Whitened principal components, learned from several views of each photo. Linear algebra in numpy, float64."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.formats.errors import InputError
from ml.vectors import Floats

Doubles = npt.NDArray[np.float64]


class TooFewPhotosError(InputError):
    """Fewer photos than dimensions: the principal components are not determined."""


@dataclass(frozen=True)
class Projection:
    """features (n, c) to components (n, dim): `features @ weight.T + bias`, the weights of a linear layer."""

    weight: Floats  # (dim, c)
    bias: Floats  # (dim,)

    def __call__(self, features: Floats) -> Floats:
        return np.asarray(features @ self.weight.T + self.bias, dtype=np.float32)


def whitened_pca(views: Floats, dim: int, shrinkage: float) -> Projection:
    """Fit on the features of `views` (photos, views per photo, c) and keep `dim` principal components.

    What changes between views of one photo is noise; what differs between photos is what a search looks for. So the
    noise is whitened first (its covariance becomes, up to shrinkage, the identity), and the principal components are
    those of the photos' means after that: the "learned whitening" of Mikolajczyk and Matas, "Improving Descriptors for
    Fast Tree Matching by Optimal Linear Projection", 2007, in the form of Radenovic, Tolias and Chum, "Fine-tuning CNN
    Image Retrieval with No Human Annotation", 2018, section 3.4. `shrinkage` adds that many times the mean eigenvalue
    to each eigenvalue of the noise, so that directions which happen to be quiet in few views are not blown up.

    Signs are fixed (the largest entry of each component is positive), so that two machines agree.
    Raises `TooFewPhotosError`, or `InputError` for more components than features or views that are all alike.
    """
    stacked = np.asarray(views, dtype=np.float64)
    photos, _, channels = stacked.shape
    require_photos(photos, dim)
    if channels < dim:
        raise InputError(f"{channels} features cannot be reduced to {dim} components.")
    means = stacked.mean(axis=1)  # (photos, c)
    centre = means.mean(axis=0)
    quiet = _inverse_root(_covariance((stacked - means[:, None]).reshape(-1, channels)), shrinkage)  # (c, c)
    _, vectors = np.linalg.eigh(_covariance((means - centre) @ quiet))
    components = (quiet @ vectors[:, ::-1][:, :dim]).T  # (dim, c); eigh sorts upwards
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    components *= np.sign(largest)
    # The length of all vectors together is free, as they are normalised later: about one suits float16 and float32.
    components /= np.sqrt(np.mean(np.square((means - centre) @ components.T)))
    return Projection(components.astype(np.float32), (-components @ centre).astype(np.float32))


def require_photos(photos: int, dim: int) -> None:
    """Raise `TooFewPhotosError` where `photos` photos do not determine `dim` components."""
    if photos <= dim:
        raise TooFewPhotosError(f"{dim} components need more than {dim} train photos, and there are {photos}.")


def _covariance(centred: Doubles) -> Doubles:
    return centred.T @ centred / len(centred)


def _inverse_root(covariance: Doubles, shrinkage: float) -> Doubles:
    """Return (covariance + shrinkage * mean eigenvalue)^(-1/2), a symmetric matrix."""
    values, vectors = np.linalg.eigh(covariance)
    raised = np.maximum(values, 0.0) + shrinkage * values.mean()
    if not (raised > 0).all():
        raise InputError("The views of each photo are all alike, so there is no noise to whiten.")
    return np.asarray((vectors / np.sqrt(raised)) @ vectors.T)
