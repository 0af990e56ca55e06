"""The network of an encoder: backbone, pooling, head and optional out-of-distribution (OOD) layers; export to ONNX.

Names of the weights: `trunk.…`, `head.…`, `strangeness.…`.
"""

import copy
import io
import warnings
from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ml.encoder.backbones import build_backbone, is_backbone
from ml.encoder.card import Card
from ml.formats.encoder_folder import EncoderCorrupt, EncoderIncompatible, Pooling

ONNX_OPSET = 17
GEM_POWER = 3.0
HIDDEN = 512


class EncoderNetwork(nn.Module):
    """Pictures (n, 3, h, w) to outputs (n, dim). The outputs are not normalised: `ml.vectors.unit_rows` does that.

    `trunk` (the backbone, under the name of its stored weights) returns feature maps of `channels` channels, all
    values 0 or above. `pooling` "mean" averages each channel over the picture; "gem" is generalised-mean pooling with
    the power 3 (Radenovic, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", 2018, equation
    3), which weights places with strong activations more than the background. `head` maps the pooled features (n,
    channels) to the outputs. `strangeness`, or None, maps the same features to the OOD score (n); like `trunk`, the
    name is that of the stored weights.
    """

    def __init__(
        self,
        backbone: nn.Module,
        channels: int,
        pooling: Pooling,
        head: nn.Module,
        strangeness: "OodLayers | None" = None,
    ) -> None:
        super().__init__()
        self.trunk = backbone
        self.channels = channels
        self.pooling = pooling
        self.head = head
        self.strangeness = strangeness

    def pool(self, maps: Tensor) -> Tensor:
        """Return the features (n, channels) of the backbone's maps (n, channels, h, w)."""
        if self.pooling == "mean":
            return maps.mean(dim=(2, 3))
        # Plain products: ONNX Runtime's Pow is many times slower. A ReLU keeps the maps at zero and above.
        cubes = (maps * maps * maps).mean(dim=(2, 3))
        return (cubes + 1e-12) ** (1.0 / GEM_POWER)

    def pooled(self, images: Tensor) -> Tensor:
        """Return the features (n, channels) of pictures, before the head."""
        return self.pool(self.trunk(images))

    def forward(self, images: Tensor) -> Tensor:
        """Return the outputs (n, dim) of pictures."""
        outputs: Tensor = self.head(self.pooled(images))
        return outputs

    def with_ood(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the outputs (n, dim) and the OOD scores (n), None without OOD layers."""
        features = self.pooled(images)
        return self.head(features), None if self.strangeness is None else self.strangeness(features)


class OodLayers(nn.Module):
    """Features (n, channels) to OOD scores (n); `ml.scoring.ood` gives the formula and fits the weights."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.mean = _fitted_weight(channels)
        self.axes = _fitted_weight(dim, channels)
        self.scale = _fitted_weight(dim)
        self.rest_scale = _fitted_weight(1)

    def forward(self, features: Tensor) -> Tensor:
        """Return the OOD scores (n) of features (n, channels)."""
        centred = nn.functional.normalize(features) - self.mean
        along = nn.functional.linear(centred, self.axes)  # (n, dim)
        rest = centred - along @ self.axes
        return (along * self.scale).square().sum(dim=1) + (rest * self.rest_scale).square().sum(dim=1)


def _fitted_weight(*shape: int) -> nn.Parameter:
    """Return a weight without gradient: a parameter, not a buffer, so that `round_filters` rounds it."""
    return nn.Parameter(torch.zeros(shape), requires_grad=False)


class PartsHead(nn.Module):
    """A linear layer whose first `label_size` numbers encode the label and whose others tell items of a label apart.

    Both parts are normalised and weighted, so that a cosine of two outputs is label_share x the cosine of the
    first parts + (1 - label_share) x the cosine of the second.

    With `prototypes` (labels, label_size), one unit vector per label, the first part becomes the mean of the
    prototypes, weighted by a softmax of `inverse_temperature` x its cosines with the prototypes. Photos clearly of one
    label then have nearly the same first part; the first part of a photo between two labels stays between both.
    (Attention over stored patterns, as in Ramsauer et al., "Hopfield Networks is All You Need", 2021, equation 3.)

    `split` holds label_size, label_share and inverse_temperature; training does not change `split`.
    """

    def __init__(self, channels: int, dim: int, label_size: int, label_share: float, labels: int = 0) -> None:
        super().__init__()
        self.layer = nn.Linear(channels, dim)
        self.split = nn.Parameter(torch.tensor([label_size, label_share, 0.0]), requires_grad=False)
        self.prototypes = nn.Parameter(torch.zeros(labels, label_size), requires_grad=False)
        self.label_size = label_size

    def parts(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two parts of features (n, channels) as unit vectors, before prototypes and weighting."""
        return unit_parts(self.layer(features), self.label_size)

    def forward(self, features: Tensor) -> Tensor:
        """Return the outputs (n, dim) of features (n, channels)."""
        label, item = self.parts(features)
        share, inverse_temperature = self.split[1], self.split[2]
        if len(self.prototypes):
            weights = (inverse_temperature * label @ self.prototypes.T).softmax(dim=1)
            label = nn.functional.normalize(weights @ self.prototypes)
        return torch.cat([label * share.sqrt(), item * (1 - share).sqrt()], dim=1)

    def refine(self, prototypes: Tensor, inverse_temperature: float, label_share: float) -> None:
        """Set `prototypes` (labels, label_size), `inverse_temperature` and `label_share` of the later outputs."""
        self.prototypes = nn.Parameter(prototypes, requires_grad=False)
        self.split.copy_(torch.tensor([self.label_size, label_share, inverse_temperature]))


def unit_parts(outputs: Tensor, label_size: int) -> tuple[Tensor, Tensor]:
    """Return the first `label_size` numbers and the others, each normalised; with `label_size` 0 the whole twice."""
    if not label_size:
        whole = nn.functional.normalize(outputs)
        return whole, whole
    label, item = outputs[:, :label_size], outputs[:, label_size:]
    return nn.functional.normalize(label), nn.functional.normalize(item)


def build_head(kind: Literal["linear", "hidden512"], channels: int, dim: int, dropout: float = 0.0) -> nn.Module:
    """Return the layers from features (n, channels) to outputs (n, dim), with random weights.

    "linear": one layer. "hidden512": a layer to 512, ReLU, dropout with the rate `dropout`, a layer to `dim`. The plain
    layer has no dropout.
    """
    if kind == "linear":
        return nn.Linear(channels, dim)
    return nn.Sequential(nn.Linear(channels, HIDDEN), nn.ReLU(), nn.Dropout(dropout), nn.Linear(HIDDEN, dim))


def network_from_card(card: Card, weights: Mapping[str, npt.NDArray[np.floating]]) -> EncoderNetwork:
    """Rebuild the network of a card, in evaluation mode and float32.

    Raises `EncoderIncompatible` for an unknown backbone, `EncoderCorrupt` if the weights do not fit it.
    """
    if not is_backbone(card.backbone):
        raise EncoderIncompatible(
            f"This version does not support the backbone {card.backbone!r}.", code="backbone_unknown"
        )
    backbone = build_backbone(card.backbone, pretrained=False)
    head = _build_empty_head(card, backbone.channels, weights)
    ood_layers = _build_empty_ood_layers(backbone.channels, weights) if card.ood_threshold else None
    network = EncoderNetwork(backbone, backbone.channels, card.pooling, head, ood_layers)
    state = {key: torch.from_numpy(array.astype(np.float32)) for key, array in weights.items()}
    try:
        network.load_state_dict(state | _batch_counters(network))
    except RuntimeError as error:
        raise EncoderCorrupt(
            "The weights do not fit the network that the card describes.", code="weights_mismatch"
        ) from error
    return network.eval()


def _build_empty_head(card: Card, channels: int, weights: Mapping[str, npt.NDArray[np.floating]]) -> nn.Module:
    """Return an untrained head for `weights`, whose `head.split` gives the sizes of a "parts" head."""
    if card.head != "parts":
        return build_head(card.head, channels, card.dim)
    split, prototypes = (weights.get(f"head.{name}", np.zeros(0)) for name in ("split", "prototypes"))
    whole = split.shape == (3,) and float(split[0]).is_integer()
    if not whole or not 0 < split[0] < card.dim or not 0 < split[1] < 1 or not 0 <= split[2] < np.inf:
        raise EncoderCorrupt(
            f"head.split of the weights is {split.tolist()}, not label_size, label_share and inverse_temperature.",
            code="weights_mismatch",
        )
    labels = len(prototypes) if prototypes.shape[1:] == (int(split[0]),) else 0  # an empty array may claim any length
    return PartsHead(channels, card.dim, int(split[0]), float(split[1]), labels)


def _build_empty_ood_layers(channels: int, weights: Mapping[str, npt.NDArray[np.floating]]) -> OodLayers:
    """Return untrained OOD layers with the number of axes of `strangeness.axes`; 0 axes if that array does not fit."""
    shape = weights["strangeness.axes"].shape if "strangeness.axes" in weights else ()
    return OodLayers(channels, shape[0] if shape[1:] == (channels,) else 0)


def round_filters(network: EncoderNetwork) -> EncoderNetwork:
    """Return a copy whose filters and matrices hold only values that float16 can hold, still as float32.

    Vectors and statistics keep their values: they are small, and a variance may lie outside the range of float16.
    """
    rounded = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in rounded.parameters():
            if parameter.ndim > 1:
                parameter.copy_(parameter.half().float())
    return rounded


def network_weights(network: nn.Module) -> dict[str, npt.NDArray[np.floating]]:
    """Return the weights by name for `write_encoder`: float16 for what `round_filters` rounds, float32 for the rest."""
    return {
        key: tensor.detach().cpu().numpy().astype(np.float16 if tensor.ndim > 1 else np.float32)
        for key, tensor in network.state_dict().items()
        if tensor.is_floating_point()
    }


def _batch_counters(network: nn.Module) -> dict[str, Tensor]:
    """Return the integer counters of BatchNorm, which are not stored, because evaluation does not use them."""
    return {key: tensor for key, tensor in network.state_dict().items() if not tensor.is_floating_point()}


class _WithOod(nn.Module):
    """A network whose `forward` also returns the OOD scores: the exporter calls only `forward`."""

    def __init__(self, network: EncoderNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.network.with_ood(images)


def export_onnx(network: EncoderNetwork, height: int, width: int) -> bytes:
    """Return the network as an ONNX model from `images` (n, 3, height, width) to `outputs` (n, dim); n is free.

    A network with OOD layers has a second output `strangeness` (n), which holds the OOD scores.
    The TorchScript exporter is used: the dynamo exporter needs onnxscript, another dependency.
    """
    has_ood = network.strangeness is not None
    outputs = ["outputs", "strangeness"] if has_ood else ["outputs"]
    exported = _WithOod(network) if has_ood else network
    buffer = io.BytesIO()
    example = torch.zeros(2, 3, height, width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the TorchScript exporter warns that it is deprecated
        torch.onnx.export(
            exported.eval(),
            (example,),
            buffer,  # type: ignore[arg-type] # the TorchScript exporter writes to a buffer, the stub knows paths only
            input_names=["images"],
            output_names=outputs,
            dynamic_axes={name: {0: "n"} for name in ("images", *outputs)},
            opset_version=ONNX_OPSET,
            dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE,  # else the exporter folds the batch norms into rounded filters
        )
    return buffer.getvalue()
