"""Publishing a network that was not trained: which photos are evaluated, and that writing is atomic."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from ml.data.manifest import Manifest
from ml.encoder.folder import read_weights
from ml.formats.encoder_folder import EncoderError
from ml.formats.errors import InputError
from ml.inference.classifier import load_classifier
from ml.inference.embedder import load_embedder
from ml.training.classifier import ClassifierTask
from ml.training.metric import MetricTask
from ml.training.model import build_encoder
from ml.training.publish import CardText, publish_classifier, publish_metric
from tests.helpers.errors import raises_code
from tests.helpers.tiny_training import classifier_options, load_run_data, metric_options

CARD_TEXT = CardText("tiny", "drawn garments", "python -m ml train-metric", ("A further note.",))


class TestEvaluationPhotos:
    """The figures are over exactly the photos that the card's note names."""

    @staticmethod
    def published(manifest: Manifest, folder, **changes: object):
        options = metric_options(epochs=1, **changes)
        data = load_run_data(manifest, options, folder / "cache")
        encoder = build_encoder(options, len(data.train.classes))
        return publish_metric(encoder, MetricTask(data, options), data, CARD_TEXT, folder / "tiny")

    def test_train_photos_are_no_queries_whatever_their_split_is_called(self, manifest, tmp_path):
        card = self.published(manifest, tmp_path, train_splits="test,train")
        assert card.metrics["queries"] == 12
        assert "over 12 photos (val)" in " ".join(card.notes)

    def test_the_train_split_can_be_held_out(self, manifest, tmp_path):
        card = self.published(manifest, tmp_path, train_splits="val")
        assert card.metrics["queries"] == 36 + 6
        assert "Trained on 12 photos (val)" in " ".join(card.notes)

    def test_photos_of_untrained_labels_are_left_out(self, manifest, tmp_path):
        photos = [photo for photo in manifest.photos if photo.label != "Top" or photo.split == "val"]
        card = self.published(replace(manifest, photos=tuple(photos)), tmp_path)
        assert (card.metrics["queries"], card.metrics["gallery"]) == (12, 36)

    def test_too_few_photos_give_no_ood_threshold_and_one_contributor_no_calibration(self, manifest, tmp_path):
        few = [photo for photo in manifest.photos if photo.split == "train"][::3]
        held_out = [replace(photo, extra={"contributor": "one"}) for photo in manifest.photos if photo.split == "val"]
        card = self.published(replace(manifest, photos=(*few, *held_out)), tmp_path)
        assert (card.ood_threshold, card.calibration) == (None, None)
        assert "A further note." in card.notes
        load_embedder(tmp_path / "tiny", "onnx", threads=1)

    def test_without_prototypes_the_card_does_not_mention_them(self, manifest, tmp_path):
        card = self.published(manifest, tmp_path, sharpen=False)
        assert "of a cosine come" not in " ".join(card.notes)
        assert read_weights(tmp_path / "tiny", card)["head.prototypes"].shape == (0, 8)

    def test_a_vector_of_one_part_has_a_plain_head(self, manifest, tmp_path):
        assert self.published(manifest, tmp_path, label_size=0).head == "linear"


class TestNothingHalfWritten:
    @pytest.fixture
    def metric(self, manifest, cache):
        data = load_run_data(manifest, metric_options(), cache)
        return build_encoder(metric_options(), 3), MetricTask(data, metric_options()), data

    def test_a_full_disk_leaves_no_folder(self, metric, tmp_path, file_size_limit):
        with file_size_limit(20_000), raises_code(EncoderError, "folder_unwritable"):
            publish_metric(*metric, CARD_TEXT, tmp_path / "tiny")
        assert list(tmp_path.iterdir()) == []

    def test_an_existing_folder_is_left_unchanged(self, metric, tmp_path):
        (tmp_path / "tiny").mkdir()
        with raises_code(EncoderError, "folder_exists", "tiny"):
            publish_metric(*metric, CARD_TEXT, tmp_path / "tiny")
        assert list(tmp_path.rglob("*")) == [tmp_path / "tiny"]

    @pytest.mark.parametrize("kind", ["metric", "classifier"])
    def test_a_network_with_weights_that_are_not_finite_is_not_written(self, manifest, cache, tmp_path, kind):
        options = metric_options() if kind == "metric" else classifier_options()
        data, encoder = load_run_data(manifest, options, cache), deepcopy(build_encoder(options, 3))
        with torch.no_grad():
            next(weight for weight in encoder.network.head.parameters() if weight.ndim > 1 and len(weight)).fill_(
                np.nan
            )
        with pytest.raises(InputError):
            if kind == "metric":
                publish_metric(encoder, MetricTask(data, options), data, CARD_TEXT, tmp_path / "tiny")
            else:
                publish_classifier(encoder, data, CARD_TEXT, tmp_path / "tiny")
        assert list(tmp_path.iterdir()) == []

    def test_a_classifier_is_published_without_its_task(self, manifest, cache, tmp_path):
        options = classifier_options(head="hidden512")
        data = load_run_data(manifest, options, cache)
        card = publish_classifier(build_encoder(options, 3), data, CARD_TEXT, tmp_path / "tiny")
        assert card.head == "hidden512"
        assert ClassifierTask(data, options).score({"val_accuracy": 1.0, "phone_accuracy": 1.0}) == 1
        load_classifier(tmp_path / "tiny", "torch", threads=1)
