"""The committed encoder: whole, small enough, and honest in its card."""

import numpy as np

from ml.encoder_folder import check_folder
from tests.ml.drawing import drawn_picture

LIMIT = 25_000_000


def test_every_byte_is_the_one_that_the_card_names(shipped_folder):
    assert check_folder(shipped_folder).name == shipped_folder.name


def test_the_encoders_in_git_stay_small(shipped_folder):
    files = [path for path in shipped_folder.parent.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < LIMIT


def test_the_card_has_what_a_reader_asks_for(shipped):
    card = shipped.card
    assert (card.kind, card.dim, card.distance, card.labels) == ("metric", 100, "cosine", ())
    assert card.command.startswith("python -m ml fit-pretrained --data ")
    assert card.data == "clothing-dataset (CC0), train split"
    assert len(card.data_sha256) == 64
    assert card.notes


def test_the_card_s_figures_beat_the_plain_baseline(shipped):
    """The baseline of frozen features and a plain whitened PCA, in the same order."""
    baseline = {"garment_at_1": 0.683, "garment_at_5": 0.836, "near10": 0.583, "map_at_r": 0.223}
    assert all(shipped.card.metrics[name] > value for name, value in baseline.items())
    assert shipped.card.metrics["cosine_to_torch"] >= 0.9999
    assert shipped.card.metrics["cosine_to_float32"] >= 0.9999


def test_colour_and_shape_both_count(shipped):
    vectors = shipped.embed([drawn_picture(seed, (200, 200)) for seed in (1, 1, 2, 3)])
    cosines = vectors @ vectors.T
    assert cosines[0, 1] > 0.999
    assert np.max(cosines[0, 2:]) < 0.9
