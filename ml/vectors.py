"""Normalise vectors to unit length, and check unit vectors before they enter an index or a search."""

import numpy as np
import numpy.typing as npt

from ml.formats.errors import InputError

Floats = npt.NDArray[np.float32]

UNIT_TOLERANCE = 1e-3
"""How far a length may be from 1: float16 storage changes it by up to 5e-4, a missing normalisation by far more."""


class VectorError(InputError):
    """Base of the errors about vectors."""

    code = "vector_invalid"


class ShapeError(VectorError):
    """The array does not have the expected dimensions."""

    code = "vector_shape"


class NotFiniteError(VectorError):
    """A vector holds NaN or infinity."""

    code = "vector_not_finite"


class ZeroVectorError(VectorError):
    """A vector of length zero cannot be normalised."""

    code = "vector_zero"


class NotUnitError(VectorError):
    """A vector that must have length one has another length."""

    code = "vector_not_unit"


def unit_rows(rows: npt.ArrayLike) -> Floats:
    """Scale each row of `rows` (n, d) to length one (L2 normalisation); the only function that normalises vectors.

    The length is taken in float64, so that tiny float32 values do not underflow.
    Raises `ShapeError`, `NotFiniteError` or `ZeroVectorError`.
    """
    doubles = np.asarray(rows, dtype=np.float64)
    if doubles.ndim != 2:
        raise ShapeError(f"Vectors must come as rows (n, d), not in the shape {doubles.shape}.")
    _require_finite(doubles)
    lengths = np.linalg.norm(doubles, axis=1, keepdims=True)
    if not lengths.all():
        raise ZeroVectorError(f"Vector {int(np.argmin(lengths))} has length zero and cannot be normalised.")
    unit: Floats = (doubles / lengths).astype(np.float32)
    return unit


def require_unit_rows(rows: npt.ArrayLike, dim: int) -> Floats:
    """Return `rows` as float32 (n, dim) after checking shape, finiteness and unit length.

    Raises `ShapeError`, `NotFiniteError` or `NotUnitError`.
    """
    checked = np.asarray(rows, dtype=np.float32)
    if checked.ndim != 2 or checked.shape[1] != dim:
        raise ShapeError(f"Vectors must have the shape (n, {dim}), not {checked.shape}.")
    lengths = np.sqrt(np.einsum("nd,nd->n", checked, checked))
    if not (np.abs(lengths - 1.0) <= UNIT_TOLERANCE).all():  # also true for NaN
        _require_finite(checked)
        worst = int(np.argmax(np.abs(lengths - 1.0)))
        raise NotUnitError(f"Vector {worst} has length {np.linalg.norm(checked[worst]):.4g} instead of 1.")
    return checked


def _require_finite(rows: npt.NDArray[np.floating]) -> None:
    if not np.isfinite(rows).all():
        first = int(np.argmin(np.isfinite(rows).all(axis=1)))
        raise NotFiniteError(f"Vector {first} holds a value that is not a finite number.")
