"""Trainable network: frozen stages, cached feature maps, construction from options, ONNX export."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ml.encoder.backbones import backbone_preprocessing, build_backbone
from ml.encoder.folder import read_card, read_weights
from ml.encoder.network import ONNX_OPSET, EncoderNetwork, PartsHead, build_head, network_from_card
from ml.formats.encoder_folder import Head
from ml.images.preprocess import Preprocess
from ml.training.options import ClassifierOptions, MetricOptions, OptionsError, TrainingOptions

Floats = npt.NDArray[np.float32]


class TrainableEncoder(nn.Module):
    """An encoder's network of which the first `freeze_stages` stages are not trained.

    Takes uint8 pictures (n, 3, side, side), or the float16 maps that `run_frozen_stages` returned for them, and returns
    outputs (n, dim).
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: EncoderNetwork, preprocess: Preprocess, options: TrainingOptions, head_kind: Head = "linear"
    ) -> None:
        super().__init__()
        stages = list(network.trunk.stages)  # type: ignore[arg-type] # every backbone has stages
        if options.freeze_stages > len(stages):
            message = f"freeze_stages is {options.freeze_stages}, but {options.backbone} has {len(stages)}."
            raise OptionsError(message, code="too_many_frozen_stages")
        self.network = network
        self.preprocess = preprocess
        self.head_kind = head_kind
        self._stages = stages  # a plain list, so that torch does not register their weights twice
        self._frozen = options.freeze_stages
        self._freeze_statistics = options.statistics == "frozen"
        self.drop = nn.Dropout(0.0 if head_kind == "hidden512" else options.drop)  # that head has its own dropout
        self.register_buffer("mean", torch.tensor(preprocess.mean).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(preprocess.std).reshape(1, 3, 1, 1), persistent=False)
        for stage in stages[: self._frozen]:
            stage.requires_grad_(False)

    @property
    def frozen_stages(self) -> list[nn.Module]:
        """The stages that are not trained."""
        return self._stages[: self._frozen]

    @property
    def trained_stages(self) -> list[nn.Module]:
        """The stages that are trained, first to last, without the head."""
        return self._stages[self._frozen :]

    def run_frozen_stages(self, pictures: Tensor) -> Tensor:
        """Normalise uint8 pictures (n, 3, h, w) and return the maps (n, c, h', w') of the frozen stages."""
        maps = (pictures.to(self.mean.dtype) - self.mean) / self.std
        with torch.no_grad():
            for stage in self.frozen_stages:
                maps = stage(maps)
        return maps

    def frozen_features(self, inputs: Tensor) -> Tensor:
        """Return the maps (n, c, h, w) that enter the trained stages, for uint8 pictures or for cached maps."""
        return self.run_frozen_stages(inputs) if inputs.dtype == torch.uint8 else inputs.to(self.mean.dtype)

    def features(self, maps: Tensor) -> Tensor:
        """Return the pooled features (n, channels) of maps from `frozen_features`."""
        for stage in self.trained_stages:
            maps = stage(maps)
        return self.network.pool(maps.float())

    def outputs(self, maps: Tensor) -> Tensor:
        """Return the outputs (n, dim) of maps from `frozen_features`."""
        outputs: Tensor = self.network.head(self.drop(self.features(maps)))
        return outputs

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs (n, dim) of uint8 pictures or of cached feature maps."""
        return self.outputs(self.frozen_features(inputs))

    def compile_parts(self) -> None:
        """Compile `frozen_features` and `outputs` separately, because mixup calls them instead of `forward`."""
        self.frozen_features = torch.compile(self.frozen_features)  # type: ignore[method-assign]
        self.outputs = torch.compile(self.outputs)  # type: ignore[method-assign]

    def set_training(self, *, head_only: bool) -> None:
        """Set training mode, except for frozen stages (`head_only`: all stages) and frozen batch normalisation."""
        self.train()
        for stage in self._stages if head_only else self.frozen_stages:
            stage.eval()
        if self._freeze_statistics:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        for stage in self.trained_stages:
            stage.requires_grad_(not head_only)


def build_encoder(options: ClassifierOptions | MetricOptions, labels: int) -> TrainableEncoder:
    """Return the network of a run on `labels` labels. The seed decides the random weights.

    Raises `OptionsError`, `PretrainedWeightsError` or an `EncoderError` of the encoder to start from.
    """
    torch.manual_seed(options.seed)
    backbone = build_backbone(options.backbone, pretrained=options.pretrained and not options.start_from)
    if options.start_from:
        _load_backbone(backbone, options)
    head = _build_head(options, backbone.channels, labels)
    network = EncoderNetwork(backbone, backbone.channels, options.pooling, head)
    preprocess = backbone_preprocessing(options.backbone, options.side, options.resize)
    return TrainableEncoder(network, preprocess, options, head_kind(options))


def head_kind(options: TrainingOptions) -> Head:
    """Return the kind of head that the options ask for, as the card names it."""
    if isinstance(options, ClassifierOptions):
        return options.head
    return "parts" if isinstance(options, MetricOptions) and options.label_size else "linear"


def _build_head(options: ClassifierOptions | MetricOptions, channels: int, labels: int) -> nn.Module:
    if isinstance(options, ClassifierOptions):
        return build_head(options.head, channels, labels, options.drop)
    if options.label_size:
        return PartsHead(channels, options.embedding_size, options.label_size, options.label_share)
    return build_head("linear", channels, options.embedding_size)


def _load_backbone(backbone: nn.Module, options: TrainingOptions) -> None:
    """Copy the backbone of the encoder in `options.start_from`, of either kind, into `backbone`."""
    folder = Path(options.start_from)
    card = read_card(folder)
    if card.backbone != options.backbone:
        message = f"{options.start_from!r} has the backbone {card.backbone}, not {options.backbone}."
        raise OptionsError(message, code="backbone_mismatch")
    backbone.load_state_dict(network_from_card(card, read_weights(folder, card)).trunk.state_dict())


def export_frozen_stages(encoder: TrainableEncoder, side: int, threads: int) -> Callable[[Tensor], Tensor]:
    """Return `run_frozen_stages` on ONNX Runtime for a CPU: equal to six digits, three times as fast."""
    import io
    import warnings

    import onnxruntime

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the TorchScript exporter warns that it is deprecated
        torch.onnx.export(
            _FrozenStages(encoder).eval(),
            (torch.zeros(2, 3, side, side, dtype=torch.uint8),),
            buffer,  # type: ignore[arg-type] # the TorchScript exporter writes to a buffer, the stub knows paths only
            input_names=["pictures"],
            output_names=["maps"],
            dynamic_axes={"pictures": {0: "n"}, "maps": {0: "n"}},
            opset_version=ONNX_OPSET,
            dynamo=False,
        )
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(buffer.getvalue(), settings, providers=["CPUExecutionProvider"])

    def run(pictures: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"pictures": pictures.contiguous().numpy()})[0])

    return run


class _FrozenStages(nn.Module):
    """Adapter for the exporter, which calls `forward`: runs `run_frozen_stages`."""

    def __init__(self, encoder: TrainableEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pictures: Tensor) -> Tensor:
        return self.encoder.run_frozen_stages(pictures)
