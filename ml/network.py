"""The network of an encoder: a trunk, a pooling and one linear head; from a card and back, and out to ONNX."""

import copy
import io
import warnings
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ml.backbones import build_backbone, known_backbone
from ml.card import Card, EncoderCorrupt, EncoderIncompatible, Pooling

ONNX_OPSET = 17
GEM_POWER = 3.0


class EncoderNetwork(nn.Module):
    """Pictures (n, 3, h, w) to outputs (n, dim). The outputs are not normalised: `ml.vectors.unit_rows` does that.

    `pooling` "mean" averages each channel over the picture; "gem" is generalised-mean pooling with the power 3
    (Radenovic, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", 2018, equation 3), which
    gives the places where a channel fires strongly more say than the background.
    """

    def __init__(self, trunk: nn.Module, channels: int, pooling: Pooling, dim: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.pooling = pooling
        self.head = nn.Linear(channels, dim)

    def pooled(self, images: Tensor) -> Tensor:
        """Return the trunk's features (n, channels), before the head."""
        maps: Tensor = self.trunk(images)
        if self.pooling == "mean":
            return maps.mean(dim=(2, 3))
        # Plain products: ONNX Runtime's Pow is many times slower. ReLU6 keeps the maps at zero and above.
        cubes = (maps * maps * maps).mean(dim=(2, 3))
        return (cubes + 1e-12) ** (1.0 / GEM_POWER)

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.pooled(images))
        return outputs


def network_from_card(card: Card, weights: Mapping[str, npt.NDArray[np.floating]]) -> EncoderNetwork:
    """Rebuild the network of a card, in evaluation mode and float32.

    Raises `EncoderIncompatible` for an unknown backbone, `EncoderCorrupt` where the weights do not fit it.
    """
    if not known_backbone(card.backbone):
        raise EncoderIncompatible(f"This version does not know the backbone {card.backbone!r}.")
    trunk = build_backbone(card.backbone, pretrained=False)
    network = EncoderNetwork(trunk, trunk.channels, card.pooling, card.dim)
    state = {key: torch.from_numpy(array.astype(np.float32)) for key, array in weights.items()}
    try:
        network.load_state_dict(state | _batch_counters(network))
    except RuntimeError as error:
        raise EncoderCorrupt("The weights do not fit the network that the card describes.") from error
    return network.eval()


def round_filters(network: EncoderNetwork) -> EncoderNetwork:
    """Return a copy whose filters and head matrix hold only values that float16 can hold, still as float32.

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


def export_onnx(network: nn.Module, height: int, width: int) -> bytes:
    """Return the network as an ONNX model from `images` (n, 3, height, width) to `outputs` (n, dim); n is free.

    The exporter based on TorchScript is used: the newer one needs onnxscript, another dependency.
    """
    buffer = io.BytesIO()
    example = torch.zeros(2, 3, height, width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns that it is the older one
        torch.onnx.export(
            network.eval(),
            (example,),
            buffer,  # type: ignore[arg-type] # the TorchScript exporter writes to a buffer, the stub knows paths only
            input_names=["images"],
            output_names=["outputs"],
            dynamic_axes={"images": {0: "n"}, "outputs": {0: "n"}},
            opset_version=ONNX_OPSET,
            dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE,  # else the exporter folds the batch norms into rounded filters
        )
    return buffer.getvalue()
