import numpy as np
import pytest

from ml.evaluation.comparing import Difference, differences
from ml.evaluation.intervals import Figure, Scored, estimates

NAN = np.nan


def scored(scores, clusters, name="it"):
    return Scored(np.asarray(clusters), {name: Figure.of_queries(np.asarray(scores, dtype=np.float64))})


def difference(ours, theirs, clusters, resamples=400) -> Difference:
    return differences(scored(ours, clusters), scored(theirs, clusters), resamples)["it"]


def test_an_encoder_is_no_better_than_itself():
    rng = np.random.default_rng(0)
    scores, clusters = rng.random(50), rng.integers(0, 8, 50)
    assert difference(scores, scores, clusters) == Difference(0.0, 0.0, 0.0, 0.0)


def test_one_that_is_better_by_the_same_everywhere_is_certainly_so():
    rng = np.random.default_rng(0)
    scores, clusters = rng.random(50), rng.integers(0, 8, 50)
    found = difference(scores + 0.1, scores, clusters)
    assert (found.value, found.low, found.high, found.above_zero) == pytest.approx((0.1, 0.1, 0.1, 1.0))


def test_the_other_way_round_the_sign_turns():
    rng = np.random.default_rng(2)
    ours, theirs, clusters = rng.random(60), rng.random(60), rng.integers(0, 9, 60)
    there, back = difference(ours, theirs, clusters), difference(theirs, ours, clusters)
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))
    assert back.above_zero == pytest.approx(1 - there.above_zero)


def test_pairs_tell_apart_what_two_intervals_do_not():
    """Hard and easy contributors make both figures uncertain, but in each of them one encoder is a little better."""
    rng = np.random.default_rng(3)
    level = np.repeat(rng.random(20), 6)
    clusters = np.repeat(np.arange(20), 6)
    ours, theirs = level + 0.05 + rng.normal(0, 0.02, 120), level + rng.normal(0, 0.02, 120)
    alone = [estimates(scored(scores, clusters))["it"] for scores in (ours, theirs)]
    assert alone[1].high > alone[0].low  # they overlap
    assert difference(ours, theirs, clusters).low > 0.03


def test_the_difference_is_that_of_the_two_figures():
    ours, theirs, clusters = [1, 0, NAN, 1], [0, 0, 1, NAN], [0, 1, 2, 3]
    assert difference(ours, theirs, clusters).value == pytest.approx(2 / 3 - 1 / 3)


def test_resamples_are_shared_between_the_two():
    """Two contributors, one right in each encoder: whoever is drawn, the difference is +1, 0 or -1, half of it 0."""
    found = difference([1, 0], [0, 1], [0, 1], resamples=1000)
    assert (found.value, found.low, found.high) == (0, -1, 1)
    assert 0.2 < found.above_zero < 0.3


def test_one_contributor_tells_the_difference_but_not_how_certain_it_is():
    found = difference([1, 1], [0, 1], [7, 7])
    assert found.value == pytest.approx(0.5)
    assert np.isnan([found.low, found.high, found.above_zero]).all()


def test_only_figures_that_both_have_are_compared():
    assert differences(scored([1.0], [0], "a"), scored([1.0], [0], "b")) == {}
    assert differences(scored([NAN, NAN], [0, 1]), scored([NAN, NAN], [0, 1])) == {}


def test_macro_averages_are_compared_after_their_labels_are_averaged():
    clusters = np.array([0, 1, 2])
    ours = Scored(clusters, {"macro": Figure(np.array([[1, NAN], [0, NAN], [NAN, 1]]))})
    theirs = Scored(clusters, {"macro": Figure(np.array([[0, NAN], [0, NAN], [NAN, 1]]))})
    assert differences(ours, theirs, 50)["macro"].value == pytest.approx(3 / 4 - 1 / 2)
