"""Small encoder folders for tests: a ResNet-18 with random weights for pictures of 32 x 32 pixels."""

from pathlib import Path

import numpy as np
import torch

from ml.encoder.backbones import backbone_preprocessing, build_backbone
from ml.encoder.card import Card
from ml.encoder.folder import write_encoder
from ml.encoder.network import (
    EncoderNetwork,
    OodLayers,
    build_head,
    export_onnx,
    network_weights,
    round_filters,
)
from ml.encoder.onnx_export import halve_exact_weights
from ml.formats.encoder_folder import Head
from ml.scoring.ood import OodThreshold, fit_ood_layers
from ml.vectors import Floats

SIDE = 32
AXES = 4


def small_network(dim: int, *, head: Head = "linear", has_ood: bool = False) -> EncoderNetwork:
    """Return a network with random, rounded weights; with `has_ood` it has OOD layers."""
    torch.manual_seed(0)
    backbone = build_backbone("resnet18", pretrained=False)
    network = EncoderNetwork(backbone, backbone.channels, "gem", build_head(head, backbone.channels, dim)).eval()
    if has_ood:
        layers = OodLayers(backbone.channels, AXES)
        layers.load_state_dict({name: torch.from_numpy(values) for name, values in fit_ood_weights(network).items()})
        network.strangeness = layers
    return round_filters(network)


def fit_ood_weights(network: EncoderNetwork) -> dict[str, Floats]:
    """Return the weights of OOD layers fitted on random pictures."""
    with torch.inference_mode():
        return fit_ood_layers(network.pooled(torch.from_numpy(random_pixels(40, seed=1))).numpy(), AXES)


def random_pixels(count: int, seed: int = 0) -> Floats:
    """Return random preprocessed pictures (count, 3, 32, 32)."""
    return np.random.default_rng(seed).normal(size=(count, 3, SIDE, SIDE)).astype(np.float32)


def small_encoder(folder: Path, labels: tuple[str, ...] = (), *, head: Head = "linear", has_ood: bool = False) -> Card:
    """Write a classifier of `labels`, or without labels a metric encoder of five dimensions, to `folder`."""
    dim = len(labels) or 5
    network = small_network(dim, head=head, has_ood=has_ood)
    card = Card(
        name="small",
        kind="classifier" if labels else "metric",
        backbone="resnet18",
        pooling="gem",
        dim=dim,
        preprocessing=backbone_preprocessing("resnet18", SIDE),
        labels=labels,
        head=head,
        ood_threshold=OodThreshold(3.0, 0.99) if has_ood else None,
    )
    return write_encoder(folder, card, network_weights(network), halve_exact_weights(export_onnx(network, SIDE, SIDE)))
