from pathlib import Path

import numpy as np
import pytest

from ml.data.manifest import Manifest, Photo, read_manifest
from ml.encoder.card import Card, card_from_json, card_to_json
from ml.evaluation.dataset import EvaluationError, build_dataset
from ml.evaluation.intervals import estimate_metrics, nan_mean
from ml.evaluation.metric_encoder import measure_metric_encoder, score_queries, split_scores_by_label
from ml.evaluation.retrieval import label_scores
from ml.evaluation.views import read_clean, read_phone_view
from ml.formats.metric_names import CARD_METRICS
from ml.images.pictures import PictureError
from ml.inference.embedder import Embedder, load_embedder
from tests.helpers.colour_encoder import COLOURS, colour_encoder, coloured_manifest
from tests.helpers.drawn_pictures import drawn_folder
from tests.helpers.errors import raises_code


@pytest.fixture(scope="module")
def embedder(tmp_path_factory) -> Embedder:
    return load_embedder(colour_encoder(tmp_path_factory.mktemp("encoder") / "colours"), "onnx", threads=1)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Manifest:
    """36 photos of three colours, two photos an item, four contributors; the labels are the colours."""
    photos = [
        Photo(f"{at}.png", list(COLOURS)[at // 2 % 3], f"item {at // 2}", "test" if at % 12 < 6 else "train",
              {"contributor": str(at // 6 % 4)})
        for at in range(36)
    ]  # fmt: skip
    return read_manifest(coloured_manifest(tmp_path_factory.mktemp("photos") / "m.csv", photos))


def embed_view(embedder, manifest, view) -> np.ndarray:
    pixels = [view(manifest, embedder.card.preprocessing, photo) for photo in manifest.photos]
    return embedder.embed_batches([np.stack(pixels)])


# --- the metrics of a card


def test_an_encoder_of_colours_retrieves_labels_that_are_colours(embedder, manifest):
    metrics = measure_metric_encoder(embedder, manifest)
    assert metrics["recall_at_1"] == metrics["map_at_r"] == metrics["r_precision"] == 1.0
    assert metrics["near10"] < 1  # of another contributor there are fewer than ten photos of a colour
    assert metrics["map_at_r_low"] == metrics["map_at_r_high"] == 1.0
    assert (metrics["queries"], metrics["gallery"]) == (18, 36)


def test_every_metric_of_a_card_has_an_interval_around_it(embedder, manifest):
    metrics = measure_metric_encoder(embedder, manifest)
    for name in CARD_METRICS:
        assert 0 <= metrics[f"{name}_low"] <= metrics[name] <= metrics[f"{name}_high"] <= 1
    assert metrics["recall_at_1"] <= metrics["recall_at_5"] <= metrics["recall_at_10"]
    assert metrics["garment_at_1"] <= metrics["garment_at_5"]


def test_the_metrics_can_be_stored_in_a_card(embedder, manifest):
    metrics = measure_metric_encoder(embedder, manifest)
    card = Card(**{**embedder.card.__dict__, "metrics": metrics})
    assert card_from_json(card_to_json(card)).metrics == metrics


def test_the_split_is_chosen(embedder, manifest):
    assert measure_metric_encoder(embedder, manifest, split="train")["queries"] == 18
    with raises_code(EvaluationError, "no_queries", "val"):
        measure_metric_encoder(embedder, manifest, split="val")


def test_metrics_without_queries_are_left_out(embedder, manifest, tmp_path):
    """One contributor: no photo of another owner to retrieve, and no interval for garment_at_1."""
    photos = [Photo(f"{at}.png", ["red", "blue"][at % 2], str(at), "val", {"contributor": "1"}) for at in range(6)]
    metrics = measure_metric_encoder(embedder, read_manifest(coloured_manifest(tmp_path / "m.csv", photos)))
    assert set(metrics) == {"garment_at_1", "garment_at_5", "queries", "gallery"}


def test_a_manifest_of_one_label_still_has_garment_metrics(embedder, tmp_path):
    photos = [Photo(f"{at}.png", "red", str(at), "val") for at in range(6)]
    metrics = measure_metric_encoder(embedder, read_manifest(coloured_manifest(tmp_path / "m.csv", photos)))
    assert metrics["recall_at_1"] == 1.0
    assert metrics["garment_at_1"] < 1.0  # six plain reds, and a phone that shifts colours


def test_both_views_report_progress(embedder, manifest):
    reported = []

    def progress(jobs, label):
        reported.append((label, len(jobs)))
        return jobs

    measure_metric_encoder(embedder, manifest, progress)
    assert reported == [("photos", 36), ("phone photos", 18)]


def test_a_broken_picture_is_an_error_that_names_it(embedder, tmp_path):
    coloured_manifest(tmp_path / "m.csv", [Photo(f"{at}.png", "red", str(at), "val") for at in range(3)])
    (tmp_path / "1.png").write_text("no picture")
    with raises_code(PictureError, "picture_unreadable", "1.png"):
        measure_metric_encoder(embedder, read_manifest(tmp_path / "m.csv"))


# --- query by query


def test_queries_of_both_views_search_the_clean_gallery(embedder, manifest):
    dataset = build_dataset(manifest)
    metrics = score_queries(embedder, dataset).metrics
    gallery = embed_view(embedder, manifest, read_clean)
    for prefix, view in (("", read_clean), ("phone_", read_phone_view)):
        query_vectors = embed_view(embedder, manifest, view)[dataset.queries]
        keys = (dataset.labels[dataset.queries], dataset.labels)
        owners = (dataset.owners[dataset.queries], dataset.owners)
        expected = label_scores(query_vectors, gallery, *keys, *owners)
        assert metrics[f"{prefix}map_at_r"].columns[:, 0] == pytest.approx(expected.map_at_r)
        assert metrics[f"{prefix}recall_at_5"].columns[:, 0] == pytest.approx(expected.recall_at_5)


def test_garment_at_k_finds_the_same_photo_and_item_at_k_another_one_of_the_item(embedder, manifest):
    dataset = build_dataset(manifest)
    metrics = score_queries(embedder, dataset).metrics
    gallery, query_vectors = embed_view(embedder, manifest, read_clean), embed_view(embedder, manifest, read_phone_view)
    for at, query in enumerate(dataset.queries):
        nearest = np.argsort(-(gallery @ query_vectors[query]), kind="stable")
        assert metrics["garment_at_1"].columns[at, 0] == (nearest[0] == query)
        others = [row for row in nearest if row != query]
        same_item = manifest.photos[others[0]].item == manifest.photos[query].item
        assert metrics["phone_item_at_1"].columns[at, 0] == same_item


def test_the_gap_is_clean_minus_phone(embedder, manifest):
    scores = score_queries(embedder, build_dataset(manifest))
    values = {name: nan_mean(metric.columns.T)[0] for name, metric in scores.metrics.items()}
    assert values["gap_map_at_r"] == pytest.approx(values["map_at_r"] - values["phone_map_at_r"])
    gap = estimate_metrics(scores, 100)["gap_near10"]
    assert gap.low <= gap.value <= gap.high


def test_queries_outside_the_gallery_have_item_but_no_garment_metrics(embedder, tmp_path):
    photos = [
        Photo(
            f"{at}.png", ["red", "blue"][at % 2], f"item {at % 4}", "test", {"role": "query" if at < 4 else "gallery"}
        )
        for at in range(8)
    ]
    dataset = build_dataset(read_manifest(coloured_manifest(tmp_path / "m.csv", photos)), "test")
    estimates = estimate_metrics(score_queries(embedder, dataset), 50)
    assert "garment_at_1" not in estimates
    assert estimates["item_at_5"].value == 1.0
    assert estimates["item_at_1"].queries == 4


def test_the_metrics_of_a_label_are_over_its_queries(embedder, manifest):
    dataset = build_dataset(manifest)
    scores = score_queries(embedder, dataset)
    by_label = split_scores_by_label(scores, dataset)
    assert list(by_label) == ["blue", "green", "red"]
    query_labels = dataset.labels[dataset.queries]
    for at, label in enumerate(dataset.label_names):
        expected = scores.metrics["garment_at_1"].columns[query_labels == at]
        assert np.array_equal(by_label[label].metrics["garment_at_1"].columns, expected)
        assert len(by_label[label].clusters) == (query_labels == at).sum()


def test_the_shipped_encoder_finds_drawn_garments_again(shipped, tmp_path):
    paths = drawn_folder(tmp_path, 12)
    photos = tuple(Photo(path.name, "odd" if at % 2 else "even", path.stem, "val") for at, path in enumerate(paths))
    metrics = measure_metric_encoder(shipped, Manifest(Path(tmp_path), photos))
    assert metrics["garment_at_5"] >= 0.75
