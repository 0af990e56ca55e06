from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from PIL import Image

from ml.data.manifest import Manifest
from ml.reporting.curves import draw_curves
from ml.training import run_pictures
from ml.training.classifier import ClassifierTask
from ml.training.metric import MetricTask
from ml.training.model import build_encoder
from ml.training.run_pictures import draw_classifier_pictures, draw_metric_pictures
from tests.helpers.tiny_training import classifier_options, load_run_data, metric_options

OF_AN_EPOCH = ["confusion.png", "predictions.png", "strips.png", "worst.png"]


@pytest.fixture(scope="module")
def metric(manifest, cache):
    data = load_run_data(manifest, metric_options(), cache)
    return MetricTask(data, data.options), build_encoder(data.options, 3), data


@pytest.fixture
def drawn(monkeypatch) -> dict[str, tuple]:
    """The arguments of the drawing functions by file name; the pictures are drawn too."""
    calls: dict[str, tuple] = {}
    for name in ("draw_confusion_matrix", "draw_predictions_sheet", "draw_result_strips", "draw_embedding_map"):

        def remembered(draw: Callable[..., None], *args: object) -> None:
            calls[args[-1].name] = args
            draw(*args)

        monkeypatch.setattr(run_pictures, name, partial(remembered, getattr(run_pictures, name)))
    return calls


def shown(files, folder) -> list[str]:
    for file in files:
        with Image.open(file) as picture:
            assert min(picture.size) > 100
    assert sorted(path.name for path in folder.iterdir()) == sorted(file.name for file in files)
    return [file.name for file in files]


def test_an_epoch_of_a_metric_run_is_four_pictures(metric, tmp_path):
    assert shown(draw_metric_pictures(*metric, tmp_path, last=False), tmp_path) == OF_AN_EPOCH


def test_the_last_one_has_the_map_too(metric, tmp_path, drawn):
    assert shown(draw_metric_pictures(*metric, tmp_path, last=True), tmp_path) == [*OF_AN_EPOCH, "map.png"]
    vectors, labels, _ = drawn["map.png"]
    assert vectors.shape == (54, 24)
    assert labels == [name for each in (12, 4, 2) for name in ("Dress", "Top", "Trousers") for _ in range(each)]


def test_a_strip_holds_the_nearest_of_other_contributors_by_falling_cosine(metric, tmp_path, drawn):
    task, encoder, data = metric
    draw_metric_pictures(task, encoder, data, tmp_path, last=False)
    strips, title, _ = drawn["strips.png"]
    assert title == "Held-out photos and their nearest of other contributors"
    assert len(strips) == 8
    gallery = np.concatenate([task.embed_train(encoder), task.embed_held_out(encoder, 0)])
    groups = data.train.groups + data.held_out.groups
    for strip, query in zip(strips, np.linspace(0, 17, 8).round().astype(int), strict=True):
        query_row = 36 + int(query)
        others = [row for row in range(54) if groups[row] != groups[query_row]]
        cosines = sorted((float(gallery[query_row] @ gallery[row]) for row in others), reverse=True)[:7]
        assert strip.scores == pytest.approx(cosines, abs=1e-6)
        assert strip.query_label == data.held_out.photos[query].label
        assert strip.right == [label == strip.query_label for label in strip.labels]
        assert np.array_equal(strip.query, data.held_out.manifest.read(data.held_out.photos[query]))


def test_the_worst_queries_come_first_the_one_with_the_fewest_right_ones(metric, tmp_path, drawn):
    draw_metric_pictures(*metric, tmp_path, last=False)
    rights = [sum(strip.right) for strip in drawn["worst.png"][0]]
    assert rights == sorted(rights)
    assert sum(rights) <= sum(sum(strip.right) for strip in drawn["strips.png"][0])


def test_the_strips_of_a_single_contributor_are_empty(manifest, tmp_path, drawn):
    photos = tuple(replace(photo, extra={"contributor": "shop"}) for photo in manifest.photos)
    data = load_run_data(Manifest(manifest.folder, photos), metric_options(), tmp_path / "cache")
    (tmp_path / "run").mkdir()
    task, encoder = MetricTask(data, data.options), build_encoder(data.options, 3)
    assert shown(draw_metric_pictures(task, encoder, data, tmp_path / "run", last=True), tmp_path / "run") == [
        "strips.png",
        "worst.png",
        "map.png",
    ]
    assert all(strip.results == [] for strip in drawn["strips.png"][0])


def test_an_epoch_of_a_classifier_has_confusions_and_predictions(manifest, cache, tmp_path, drawn):
    data = load_run_data(manifest, classifier_options(), cache)
    task, encoder = ClassifierTask(data, data.options), build_encoder(data.options, 3)
    assert shown(draw_classifier_pictures(task, encoder, data, tmp_path), tmp_path) == [
        "confusion.png",
        "predictions.png",
    ]
    logits = task.held_out_logits(encoder, 0).astype(np.float64)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truths, predictions, labels, _ = drawn["confusion.png"]
    assert (truths.tolist(), predictions.tolist()) == (data.held_out.labels.tolist(), chances.argmax(axis=1).tolist())
    pictures, truths_shown, guesses_shown, scores, _ = drawn["predictions.png"]
    assert len(pictures) == 18
    assert (truths_shown, guesses_shown) == ([labels[at] for at in truths], [labels[at] for at in predictions])
    assert scores == pytest.approx(chances.max(axis=1), abs=1e-5)


def test_large_photos_are_shrunk_and_many_are_sampled_evenly(metric, monkeypatch, tmp_path, drawn):
    monkeypatch.setattr(run_pictures, "SHEET", 6)
    monkeypatch.setattr(run_pictures, "THUMBNAIL", 40)
    _, _, data = metric
    draw_metric_pictures(*metric, tmp_path, last=False)
    pictures, truths_shown, *_ = drawn["predictions.png"]
    assert [picture.size for picture in pictures] == [(32, 40)] * 6
    assert truths_shown == [data.held_out.photos[at].label for at in (0, 3, 7, 10, 14, 17)]


def test_the_curves_are_drawn_from_the_existing_columns(tmp_path):
    rows = [{"epoch": 1, "train_loss": 1.0, "lr": 0.1}, {"epoch": 2, "train_loss": 0.5, "lr": 0.1}]
    assert shown(draw_curves(rows, tmp_path), tmp_path) == ["loss.png"]
