"""The network of an encoder: trunk, pooling, head and, if it has one, its sense of what is strange.

From a card and back, and out to ONNX. Names of the weights: `trunk.…`, `head.…`, `strangeness.…`.
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

from ml.encoder.backbones import build_backbone, known_backbone
from ml.encoder.card import Card, EncoderCorrupt, EncoderIncompatible, Pooling

ONNX_OPSET = 17
GEM_POWER = 3.0
HIDDEN = 512


class EncoderNetwork(nn.Module):
    """Pictures (n, 3, h, w) to outputs (n, dim). The outputs are not normalised: `ml.vectors.unit_rows` does that.

    `trunk` makes maps of `channels` channels, all values 0 or above. `pooling` "mean" averages each channel over the
    picture; "gem" is generalised-mean pooling with the power 3 (Radenovic, Tolias and Chum, "Fine-tuning CNN Image
    Retrieval with No Human Annotation", 2018, equation 3), which gives the places where a channel fires strongly more
    say than the background. `head` turns the pooled features (n, channels) into the outputs. `strangeness`, if the
    encoder has it, turns the same features into one number per picture.
    """

    def __init__(
        self,
        trunk: nn.Module,
        channels: int,
        pooling: Pooling,
        head: nn.Module,
        strangeness: "StrangenessLayers | None" = None,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.channels = channels
        self.pooling = pooling
        self.head = head
        self.strangeness = strangeness

    def pool(self, maps: Tensor) -> Tensor:
        """Return the features (n, channels) of the trunk's maps (n, channels, h, w)."""
        if self.pooling == "mean":
            return maps.mean(dim=(2, 3))
        # Plain products: ONNX Runtime's Pow is many times slower. A ReLU keeps the maps at zero and above.
        cubes = (maps * maps * maps).mean(dim=(2, 3))
        return (cubes + 1e-12) ** (1.0 / GEM_POWER)

    def pooled(self, images: Tensor) -> Tensor:
        """Return the features (n, channels) of pictures, before the head."""
        return self.pool(self.trunk(images))

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.pooled(images))
        return outputs

    def judged(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the outputs (n, dim) and the strangeness (n), None for an encoder that does not judge it."""
        features = self.pooled(images)
        return self.head(features), None if self.strangeness is None else self.strangeness(features)


class StrangenessLayers(nn.Module):
    """Features (n, channels) to their strangeness (n); what it is and how it is fitted stands in `ml.scoring.ood`."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.mean = _fixed(channels)
        self.axes = _fixed(dim, channels)
        self.scale = _fixed(dim)
        self.rest_scale = _fixed(1)

    def forward(self, features: Tensor) -> Tensor:
        centred = nn.functional.normalize(features) - self.mean
        along = nn.functional.linear(centred, self.axes)  # (n, dim)
        rest = centred - along @ self.axes
        return (along * self.scale).square().sum(dim=1) + (rest * self.rest_scale).square().sum(dim=1)


def _fixed(*shape: int) -> nn.Parameter:
    """What is fitted and not trained: a parameter and no buffer, so that `round_filters` finds the matrix."""
    return nn.Parameter(torch.zeros(shape), requires_grad=False)


class PartsHead(nn.Module):
    """One layer whose first `label_size` numbers speak of the label and whose others tell items of a label apart.

    Both parts are made unit vectors and weighed, so that a cosine of two outputs is label_share x the cosine of the
    first parts + (1 - label_share) x the cosine of the second.

    With `prototypes` (labels, label_size), unit vectors that stand for the labels, the first part is drawn towards
    them: it becomes the mean of the prototypes, weighed by a softmax of `sharpness` x its cosines with them. Photos
    that are surely of one label then have nearly the same first part, while one between two labels stays between them.
    (Attention over stored patterns, as in Ramsauer et al., "Hopfield Networks is All You Need", 2021, equation 3.)

    `split` holds label_size, label_share and sharpness; what training does not change.
    """

    def __init__(self, channels: int, dim: int, label_size: int, label_share: float, labels: int = 0) -> None:
        super().__init__()
        self.layer = nn.Linear(channels, dim)
        self.split = nn.Parameter(torch.tensor([label_size, label_share, 0.0]), requires_grad=False)
        self.prototypes = nn.Parameter(torch.zeros(labels, label_size), requires_grad=False)
        self.label_size = label_size

    def parts(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two parts of features (n, channels) as unit vectors, as they come out of the layer."""
        return unit_parts(self.layer(features), self.label_size)

    def forward(self, features: Tensor) -> Tensor:
        label, item = self.parts(features)
        share, sharpness = self.split[1], self.split[2]
        if len(self.prototypes):
            weights = (sharpness * label @ self.prototypes.T).softmax(dim=1)
            label = nn.functional.normalize(weights @ self.prototypes)
        return torch.cat([label * share.sqrt(), item * (1 - share).sqrt()], dim=1)

    def sharpen(self, prototypes: Tensor, sharpness: float, label_share: float) -> None:
        """Draw the first part towards `prototypes` (labels, label_size) from now on."""
        self.prototypes = nn.Parameter(prototypes, requires_grad=False)
        self.split.copy_(torch.tensor([self.label_size, label_share, sharpness]))


def unit_parts(outputs: Tensor, label_size: int) -> tuple[Tensor, Tensor]:
    """Return the first `label_size` numbers and the others, each as unit vectors; the whole twice where that is 0."""
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

    Raises `EncoderIncompatible` for an unknown backbone, `EncoderCorrupt` where the weights do not fit it.
    """
    if not known_backbone(card.backbone):
        raise EncoderIncompatible(f"This version does not know the backbone {card.backbone!r}.")
    trunk = build_backbone(card.backbone, pretrained=False)
    head = _empty_head(card, trunk.channels, weights)
    strangeness = _empty_strangeness(trunk.channels, weights) if card.strangeness else None
    network = EncoderNetwork(trunk, trunk.channels, card.pooling, head, strangeness)
    state = {key: torch.from_numpy(array.astype(np.float32)) for key, array in weights.items()}
    try:
        network.load_state_dict(state | _batch_counters(network))
    except RuntimeError as error:
        raise EncoderCorrupt("The weights do not fit the network that the card describes.") from error
    return network.eval()


def _empty_head(card: Card, channels: int, weights: Mapping[str, npt.NDArray[np.floating]]) -> nn.Module:
    """A head to be filled with `weights`, which alone say where the parts of a "parts" head meet."""
    if card.head != "parts":
        return build_head(card.head, channels, card.dim)
    split, prototypes = (weights.get(f"head.{name}", np.zeros(0)) for name in ("split", "prototypes"))
    whole = split.shape == (3,) and float(split[0]).is_integer()
    if not whole or not 0 < split[0] < card.dim or not 0 < split[1] < 1 or not 0 <= split[2] < np.inf:
        raise EncoderCorrupt("The weights do not say how the vector is divided between label and item.")
    labels = len(prototypes) if prototypes.shape[1:] == (int(split[0]),) else 0  # an empty array may claim any length
    return PartsHead(channels, card.dim, int(split[0]), float(split[1]), labels)


def _empty_strangeness(channels: int, weights: Mapping[str, npt.NDArray[np.floating]]) -> StrangenessLayers:
    """Layers to be filled with `weights`, which alone say how many axes there are; none where they do not fit."""
    shape = weights["strangeness.axes"].shape if "strangeness.axes" in weights else ()
    return StrangenessLayers(channels, shape[0] if shape[1:] == (channels,) else 0)


def round_filters(network: EncoderNetwork) -> EncoderNetwork:
    """Return a copy whose filters and matrices hold only values that float16 can hold, still as float32.

    Vectors and statistics stay as they are: they are small, and a variance may lie outside the range of float16.
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
    """BatchNorm counts its batches in an integer that plays no part in evaluation; it is not stored."""
    return {key: tensor for key, tensor in network.state_dict().items() if not tensor.is_floating_point()}


class _Judged(nn.Module):
    """What is exported of a network that judges strangeness: the exporter calls `forward` and nothing else."""

    def __init__(self, network: EncoderNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.network.judged(images)


def export_onnx(network: EncoderNetwork, height: int, width: int) -> bytes:
    """Return the network as an ONNX model from `images` (n, 3, height, width) to `outputs` (n, dim); n is free.

    A network that judges strangeness has it as a second output, `strangeness` (n).
    The exporter based on TorchScript is used: the newer one needs onnxscript, another dependency.
    """
    judges = network.strangeness is not None
    outputs = ["outputs", "strangeness"] if judges else ["outputs"]
    exported = _Judged(network) if judges else network
    buffer = io.BytesIO()
    example = torch.zeros(2, 3, height, width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns that it is the older one
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
