import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.data.sampling import epoch_batches, view_numbers

CLASSES = st.lists(st.integers(1, 30), min_size=1, max_size=6)
BALANCES = st.sampled_from(("none", "root", "full"))


def labels_of(counts, seed: int = 0):
    """Labels 0, 1 … with these counts, in random order."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(seed).permutation(labels)


def count_draws(labels, epochs: int, batch_size: int, per_label: int, balance):
    """How often each photo is drawn in `epochs` epochs."""
    drawn = np.zeros(len(labels), dtype=int)
    for epoch in range(1, epochs + 1):
        for batch in epoch_batches(labels, batch_size, per_label, balance, 7, epoch):
            drawn[batch] += 1
    return drawn


# --- every batch


@given(CLASSES, st.integers(2, 40), st.integers(1, 6), BALANCES, st.integers(0, 5))
def test_batches_are_full_and_hold_no_photo_twice(counts, batch_size, per_label, balance, seed):
    labels = labels_of(counts)
    batches = epoch_batches(labels, batch_size, per_label, balance, seed, 1)
    size = min(batch_size, len(labels))
    full, rest = divmod(len(labels), size)
    assert [len(batch) for batch in batches] == [size] * full + ([rest] if rest >= size / 2 else [])
    for batch in batches:
        assert batch.dtype == np.int64
        assert len(set(batch.tolist())) == len(batch)
        assert ((batch >= 0) & (batch < len(labels))).all()


@given(CLASSES, st.integers(2, 40), st.integers(1, 6), BALANCES)
def test_the_same_seed_and_epoch_give_the_same_batches(counts, batch_size, per_label, balance):
    labels = labels_of(counts)
    first, again = (epoch_batches(labels, batch_size, per_label, balance, 3, 2) for _ in range(2))
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))


def test_another_seed_or_another_epoch_gives_other_batches():
    labels = labels_of([40, 40])
    drawn = {
        tuple(np.concatenate(epoch_batches(labels, 16, 4, "none", seed, epoch)).tolist())
        for seed in range(3)
        for epoch in range(1, 4)
    }
    assert len(drawn) == 9


@pytest.mark.parametrize(
    ("photos", "sizes"),
    [(8, [8]), (10, [8]), (11, [8]), (12, [8, 4]), (16, [8, 8]), (19, [8, 8]), (20, [8, 8, 4]), (5, [5]), (2, [2])],
)
def test_a_last_batch_smaller_than_half_is_left_out(photos, sizes):
    batches = epoch_batches(np.arange(photos) % 2, 8, 2, "none", 0, 1)
    assert [len(batch) for batch in batches] == sizes


# --- labels


def test_the_photos_of_a_label_are_consecutive():
    """Labels of 40 photos, 4 in a row; 8 if a label is drawn twice in a row."""
    labels = labels_of([40, 40, 40])
    for batch in epoch_batches(labels, 24, 4, "none", 0, 1):
        rows = labels[batch].reshape(-1, 4)
        assert (rows == rows[:, :1]).all()


def test_a_small_label_gives_each_of_its_photos_at_most_once_per_batch():
    labels = labels_of([50, 3, 1])
    for epoch in range(1, 30):
        for batch in epoch_batches(labels, 16, 4, "full", 1, epoch):
            counts = np.bincount(labels[batch], minlength=3)
            assert counts[1] <= 3
            assert counts[2] <= 1


def test_a_batch_as_large_as_the_data_holds_every_photo():
    labels = labels_of([6, 2, 1])
    for batch in epoch_batches(labels, 100, 4, "full", 0, 1):
        assert sorted(batch.tolist()) == list(range(9))


def test_without_balance_each_photo_is_drawn_about_once_an_epoch():
    labels = labels_of([120, 60, 20])
    drawn = count_draws(labels, epochs=40, batch_size=20, per_label=4, balance="none")
    assert drawn.sum() == 40 * 200
    assert drawn.mean() == 40
    assert drawn.min() >= 30
    assert drawn.max() <= 50


@given(st.integers(1, 12), st.integers(1, 5))
def test_a_label_deals_all_its_photos_before_any_is_dealt_again(photos, per_label):
    """With a single label the batches show the order of the deck; each batch is smaller than the deck."""
    labels = np.zeros(photos, dtype=int)
    order = np.concatenate(epoch_batches(labels, max(1, photos // 2), per_label, "none", 0, 1))
    drawn = np.bincount(order, minlength=photos)
    assert drawn.max() - drawn.min() <= 1


@pytest.mark.parametrize(("balance", "power"), [("none", 1.0), ("root", 0.5), ("full", 0.0)])
def test_a_label_is_drawn_in_proportion_to_a_power_of_its_size(balance, power):
    counts = np.array([400, 100, 25])
    labels = labels_of(counts)
    drawn = count_draws(labels, epochs=30, batch_size=25, per_label=1, balance=balance)
    shares = np.array([drawn[labels == label].sum() for label in range(3)]) / drawn.sum()
    expected = counts**power / (counts**power).sum()
    assert shares == pytest.approx(expected, abs=0.025)


def test_the_numbers_of_labels_may_have_gaps():
    labels = np.array([7, 7, 3, 3, 900, 900])
    assert sorted(np.concatenate(epoch_batches(labels, 6, 2, "root", 0, 1)).tolist()) == list(range(6))


# --- views


@given(st.integers(1, 20), st.integers(2, 9), st.integers(1, 9), st.integers(1, 5), st.integers(0, 5))
def test_cached_views_of_a_photo_are_distinct_if_there_are_enough(photos, views, copies, epoch, step):
    numbers = view_numbers(np.arange(photos), views, copies, 0, epoch, step)
    assert numbers.shape == (copies, photos)
    assert numbers.dtype == np.int64
    assert ((numbers >= 0) & (numbers < views)).all()
    for photo in numbers.T:
        assert len(set(photo.tolist())) == min(copies, views)


@given(st.integers(1, 4), st.integers(1, 30))
def test_new_views_are_never_the_photo_itself_and_never_repeated(copies, epochs):
    used: set[int] = set()
    for epoch in range(1, epochs + 1):
        numbers = view_numbers(np.arange(3), 0, copies, 0, epoch, 0)
        assert numbers.shape == (copies, 3)
        assert (numbers == numbers[:, :1]).all()  # the generator seeds each view with its photo, too
        assert 0 not in numbers
        assert used.isdisjoint(numbers[:, 0].tolist())
        used |= set(numbers[:, 0].tolist())
    assert len(used) == copies * epochs


def test_all_cached_views_are_used_equally_and_photos_get_different_ones():
    numbers = np.concatenate([view_numbers(np.arange(50), 4, 2, 0, 1, step) for step in range(20)])
    assert np.bincount(numbers.ravel(), minlength=4) / numbers.size == pytest.approx(np.full(4, 0.25), abs=0.04)
    assert len({tuple(photo) for photo in numbers.T.tolist()}) == 50


def test_the_numbers_of_views_depend_on_seed_epoch_and_step():
    drawn = {
        view_numbers(np.arange(30), 5, 2, seed, epoch, step).tobytes()
        for seed in range(2)
        for epoch in range(2)
        for step in range(2)
    }
    assert len(drawn) == 8
    again = view_numbers(np.arange(30), 5, 2, 1, 1, 1)
    assert again.tobytes() in drawn
