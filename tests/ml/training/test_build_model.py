import shutil

import pytest
import torch

from ml.encoder.backbones import PretrainedWeightsError
from ml.encoder.network import PartsHead
from ml.formats.encoder_folder import EncoderCorrupt
from ml.training.model import TrainableEncoder, build_encoder, head_kind
from ml.training.options import OptionsError
from tests.helpers.errors import raises_code
from tests.helpers.tiny_backbone import STAGES
from tests.helpers.tiny_training import classifier_options, metric_options


def same_backbone(one: TrainableEncoder, other: TrainableEncoder) -> bool:
    ours, theirs = (encoder.network.trunk.state_dict() for encoder in (one, other))
    return all(torch.equal(ours[name], theirs[name]) for name in ours if ours[name].is_floating_point())


@pytest.mark.parametrize(
    ("options", "kind", "outputs"),
    [
        (metric_options(), "parts", 24),
        (metric_options(label_size=0), "linear", 24),
        (classifier_options(), "linear", 5),
        (classifier_options(head="hidden512"), "hidden512", 5),
    ],
    ids=["two parts", "one part", "classifier", "the old head"],
)
def test_the_head_is_what_the_options_ask_for(options, kind, outputs):
    encoder = build_encoder(options, 5).eval()
    assert head_kind(options) == encoder.head_kind == kind
    with torch.inference_mode():
        assert encoder(torch.zeros(2, 3, 64, 64, dtype=torch.uint8)).shape == (2, outputs)


def test_the_parts_have_their_shares_of_a_cosine():
    head = build_encoder(metric_options(label_share=0.3), 5).network.head
    assert isinstance(head, PartsHead)
    assert head.split.tolist() == pytest.approx([8, 0.3, 0])


def test_the_seed_decides_the_random_weights_whatever_was_drawn_before():
    options = metric_options(pretrained=False)
    first = build_encoder(options, 3).state_dict()
    torch.rand(5)
    again, other = build_encoder(options, 3).state_dict(), build_encoder(metric_options(pretrained=False, seed=1), 3)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["network.head.layer.weight"], other.state_dict()["network.head.layer.weight"])


def test_more_frozen_stages_than_there_are_is_refused():
    with raises_code(OptionsError, "too_many_frozen_stages", STAGES + 1, STAGES, "efficientnet-lite0"):
        build_encoder(metric_options(freeze_stages=STAGES + 1), 3)


def test_weights_that_cannot_be_downloaded_are_refused_with_an_alternative(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # no server listens there
    with raises_code(PretrainedWeightsError, "weights_not_downloaded", "resnet18", "--no-pretrained"):
        build_encoder(metric_options(backbone="resnet18", freeze_stages=0), 3)


class TestStartFrom:
    def test_the_backbone_of_a_classifier_becomes_that_of_a_metric_encoder(self, classifier_run):
        started = build_encoder(metric_options(start_from=str(classifier_run.out)), 3)
        again = build_encoder(classifier_options(start_from=str(classifier_run.out)), 7)
        assert same_backbone(started, again)
        assert not same_backbone(started, build_encoder(metric_options(), 3))
        assert started.network.head.layer.out_features == 24

    def test_another_backbone_is_refused(self, classifier_run):
        options = metric_options(start_from=str(classifier_run.out), backbone="resnet18", freeze_stages=0)
        with raises_code(OptionsError, "backbone_mismatch", "efficientnet-lite0", "resnet18"):
            build_encoder(options, 3)

    def test_tampered_weights_are_refused(self, classifier_run, tmp_path):
        folder = tmp_path / "tampered"
        shutil.copytree(classifier_run.out, folder)
        weights = bytearray((folder / "weights.safetensors").read_bytes())
        weights[-1] ^= 1
        (folder / "weights.safetensors").write_bytes(weights)
        with raises_code(EncoderCorrupt, "sha256", "weights.safetensors"):
            build_encoder(metric_options(start_from=str(folder)), 3)

    def test_a_missing_folder_is_refused(self, tmp_path):
        with raises_code(EncoderCorrupt, "folder_missing", "none"):
            build_encoder(metric_options(start_from=str(tmp_path / "none")), 3)
