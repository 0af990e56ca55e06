"""The network that a run starts from: a trunk with ImageNet's weights, random ones, or those of another encoder."""

from pathlib import Path

import torch
from torch import nn

from ml.encoder.backbones import build_backbone, preprocessing_of
from ml.encoder.card import Head
from ml.encoder.folder import read_card, read_weights
from ml.encoder.network import EncoderNetwork, PartsHead, build_head, network_from_card
from ml.training.model import Body
from ml.training.options import ClassifierOptions, MetricOptions, OptionsError, TrainingOptions


def build_body(options: ClassifierOptions | MetricOptions, labels: int) -> Body:
    """Return the network of a run on `labels` labels. The seed decides the random weights.

    Raises `OptionsError`, `PretrainedWeightsError` or an `EncoderError` of the encoder to start from.
    """
    torch.manual_seed(options.seed)
    trunk = build_backbone(options.backbone, pretrained=options.pretrained and not options.start_from)
    if options.start_from:
        _take_over(trunk, options)
    network = EncoderNetwork(trunk, trunk.channels, options.pooling, _head(options, trunk.channels, labels))
    preprocess = preprocessing_of(options.backbone, options.side, options.resize)
    return Body(network, preprocess, options, head_kind(options))


def head_kind(options: TrainingOptions) -> Head:
    """Return what the card will say of the head."""
    if isinstance(options, ClassifierOptions):
        return options.head
    return "parts" if isinstance(options, MetricOptions) and options.label_size else "linear"


def _head(options: ClassifierOptions | MetricOptions, channels: int, labels: int) -> nn.Module:
    if isinstance(options, ClassifierOptions):
        return build_head(options.head, channels, labels, options.drop)
    if options.label_size:
        return PartsHead(channels, options.embedding_size, options.label_size, options.label_share)
    return build_head("linear", channels, options.embedding_size)


def _take_over(trunk: nn.Module, options: TrainingOptions) -> None:
    """Fill `trunk` with that of a trained encoder of the same backbone, whatever its head is for."""
    folder = Path(options.start_from)
    card = read_card(folder)
    if card.backbone != options.backbone:
        raise OptionsError(f"{options.start_from!r} has the backbone {card.backbone}, not {options.backbone}.")
    trunk.load_state_dict(network_from_card(card, read_weights(folder, card)).trunk.state_dict())
