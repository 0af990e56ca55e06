"""Normalising and checking unit vectors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ml.vectors import NotFiniteError, NotUnitError, ShapeError, ZeroVectorError, require_unit_rows, unit_rows
from tests.helpers.errors import raises_code


def test_a_row_is_divided_by_its_length():
    assert unit_rows([[3.0, 4.0], [0.0, -2.0]]).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0.0, -1.0]]


def test_no_rows_are_valid():
    assert unit_rows(np.empty((0, 5))).shape == (0, 5)


def test_the_smallest_float32_does_not_underflow():
    assert unit_rows(np.array([[1e-40, 0]], dtype=np.float32))[0, 0] == 1.0


@given(arrays.arrays(np.float32, (3, 4), elements=st.floats(-(2.0**90), 2.0**90, width=32).filter(lambda x: x != 0)))
def test_normalised_rows_pass_the_check(rows):
    unit = unit_rows(rows)
    assert unit.dtype == np.float32
    assert np.linalg.norm(unit, axis=1) == pytest.approx(np.ones(3), abs=1e-6)
    assert np.array_equal(require_unit_rows(unit, 4), unit)


def test_a_zero_row_is_named():
    with raises_code(ZeroVectorError, "vector_zero", "Vector 1 "):
        unit_rows([[1.0, 0.0], [0.0, 0.0]])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(bad):
    with raises_code(NotFiniteError, "vector_not_finite", "Vector 1 "):
        unit_rows([[1.0, 0.0], [bad, 1.0]])
    with pytest.raises(NotFiniteError):
        require_unit_rows([[bad, 1.0]], 2)


@pytest.mark.parametrize("rows", [[1.0, 0.0], [[1.0, 0.0, 0.0]], 1.0])
def test_a_wrong_shape_is_refused(rows):
    with pytest.raises(ShapeError):
        require_unit_rows(rows, 2)


def test_a_vector_that_is_not_normalised_is_refused():
    with raises_code(NotUnitError, "vector_not_unit", 2):
        require_unit_rows([[1.0, 0.0], [0.0, 2.0]], 2)


def test_a_unit_vector_stored_as_float16_is_accepted():
    rows = unit_rows(np.random.default_rng(0).normal(size=(50, 100)))
    require_unit_rows(rows.astype(np.float16), 100)
