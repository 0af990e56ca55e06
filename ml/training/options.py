"""Hyperparameters of a training run: typed, validated dataclasses from which the command line is generated."""

import argparse
import math
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from ml.data.augment import Augment
from ml.data.sampling import Balance
from ml.formats.encoder_folder import BackboneName, Pooling
from ml.formats.errors import InputError
from ml.images.preprocess import Resize

Optimizer = Literal["adamw", "adam"]
Statistics = Literal["frozen", "trained"]
Precision = Literal["auto", "float32", "bfloat16"]
LabelLoss = Literal["softmax", "triplet", "multi-similarity", "proxy-anchor", "supcon", "arcface", "none"]
ClassifierHead = Literal["linear", "hidden512"]
IdentityLoss = Literal["ntxent", "triplet", "none"]
MinerName = Literal["none", "all", "hard", "semihard", "easy", "multi-similarity"]

PAIR_LOSSES: tuple[LabelLoss, ...] = ("triplet", "multi-similarity", "supcon")
"""Losses over pairs or triplets of a batch: a miner and a cross-batch memory apply to them. The others use proxies."""

T = TypeVar("T", bound="TrainingOptions")


class OptionsError(InputError):
    """A hyperparameter has an impossible value (`invalid_option`), or two exclude each other (`options_conflict`)."""

    code = "invalid_option"


def conflict(message: str) -> OptionsError:
    """Return the error for options that exclude each other."""
    return OptionsError(message, code="options_conflict")


def option(default: Any, description: str, low: float = -math.inf, high: float = math.inf) -> Any:
    """Return a dataclass field with its help text and the range of its numbers."""
    return field(default=default, metadata={"help": description, "low": low, "high": high})


@dataclass(frozen=True)
class TrainingOptions:
    """The options of both kinds of run. Raises `OptionsError` for impossible values."""

    backbone: BackboneName = option("efficientnet-lite0", "the backbone")
    pretrained: bool = option(True, "start from ImageNet's weights instead of random ones")
    start_from: str = option("", "an encoder folder whose backbone to start from, such as a trained classifier's")
    pooling: Pooling = option("gem", "pooling of the backbone's maps to features: generalised mean or mean")
    side: int = option(224, "side of the network's input in pixels, a multiple of 32", 32, 1024)
    resize: Resize = option("squash", "how a photo becomes a square")
    train_splits: str = option("train", "the splits to train on, separated by commas; the others validate")
    label_column: str = option("label", "the column of the manifest that holds the labels")

    epochs: int = option(12, "passes over the train photos", 1, 10_000)
    batch_size: int = option(64, "photos per batch", 2, 65_536)
    optimizer: Optimizer = option("adamw", "the optimizer")
    lr: float = option(1e-3, "the highest learning rate of the backbone's last stage", 0)
    head_lr: float = option(3e-3, "the highest learning rate of the head and of proxies", 0)
    lr_decay: float = option(0.85, "learning rate of each earlier stage, as a share of the next one's", 0.01, 1)
    warmup: float = option(0.08, "share of the run in which the rate rises; then it falls along a cosine", 0, 1)
    weight_decay: float = option(0.02, "AdamW's decoupled decay", 0)
    l1: float = option(0.0, "penalty on the sum of the absolute weights", 0)
    l2: float = option(0.0, "penalty on the sum of the squared weights", 0)
    clip: float = option(5.0, "largest norm of the gradient; 0: no clipping", 0)
    ema: float = option(
        0.99, "memory of the moving average of the weights, which becomes the encoder; 0: the last weights", 0, 0.99999
    )

    freeze_stages: int = option(0, "number of the backbone's first stages that are not trained", 0, 100)
    head_epochs: int = option(0, "first epochs that train the head alone", 0, 10_000)
    statistics: Statistics = option("frozen", "whether batch normalisation keeps its statistics or updates them")
    drop: float = option(0.1, "dropout before the last layer", 0, 0.95)
    mixup: float = option(0.0, "a of Beta(a, a), the share in mixing two photos of a batch; 0: no mixup", 0, 10)
    augment: Augment = option("phone", "augmentation of the photos")
    views: int = option(0, "views of each photo that are made once and cached; 0: new ones in every epoch", 0, 1000)
    balance: Balance = option(
        "root", "how much more often rare labels are drawn: not at all, by the square root, or until all are equal"
    )

    patience: int = option(0, "stop after this many epochs without a better figure; 0: never", 0)
    seed: int = option(0, "seed of all random numbers", 0, 2**31)
    threads: int = option(2, "CPU threads of torch", 1, 1024)
    workers: int = option(0, "processes that make views during training", 0, 256)
    precision: Precision = option("auto", "floating-point format; auto: bfloat16 on a GPU, float32 on a CPU")
    compile: bool = option(False, "compile the network first: faster on a GPU in long runs")

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for entry in fields(self):
            _require_valid(entry.name, getattr(self, entry.name), hints[entry.name], entry.metadata)
        if self.side % 32:
            raise OptionsError(f"side is {self.side}; it must be a multiple of 32.")
        if self.head_epochs >= self.epochs:
            raise conflict(f"head_epochs is {self.head_epochs}; it must be less than epochs.")
        unknown = set(self.splits) - {"train", "val", "test"}
        if unknown or not self.splits or not self.held_out:
            raise OptionsError(f"train_splits is {self.train_splits!r}; it takes train, val and test, not all three.")

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits to train on."""
        return tuple(part.strip() for part in self.train_splits.split(",") if part.strip())

    @property
    def held_out(self) -> tuple[str, ...]:
        """The other splits, to validate on."""
        return tuple(split for split in ("train", "val", "test") if split not in self.splits)


@dataclass(frozen=True)
class ClassifierOptions(TrainingOptions):
    """The options of `train-classifier`."""

    head: ClassifierHead = option("linear", "one layer, or the hidden layer of 512 of the old project")
    smoothing: float = option(0.1, "label smoothing", 0, 0.99)


@dataclass(frozen=True)
class MetricOptions(TrainingOptions):
    """The options of `train-metric`."""

    embedding_size: int = option(100, "dimensions of a vector", 2, 4096)
    label_size: int = option(32, "how many dimensions are for the label alone; 0: all serve both losses", 0, 4096)
    label_share: float = option(0.5, "the share of the label part in a cosine", 0.01, 0.99)
    sharpen: bool = option(True, "after training, draw the label part towards the prototypes of the labels")
    label_loss: LabelLoss = option("softmax", "the loss that brings photos of one label together")
    label_weight: float = option(1.0, "its weight", 0)
    identity_loss: IdentityLoss = option("ntxent", "the loss that brings the views of one item together")
    identity_weight: float = option(1.0, "its weight", 0)
    miner: MinerName = option("semihard", "which triplets or pairs count, for label losses over pairs")
    margin: float = option(0.1, "margin of triplets and proxies (cosine) and of ArcFace (radians)", 0, 2)
    scale: float = option(16.0, "factor of a cosine in a softmax or an exponential", 0.1, 1000)
    temperature: float = option(0.07, "divisor of a cosine in the identity loss and in supcon", 0.001, 10)
    sub_centres: int = option(3, "centres of a label in sub-centre ArcFace", 1, 20)
    per_label: int = option(4, "photos of one label in a batch, if it has that many", 1, 1000)
    memory: int = option(
        0, "vectors of earlier batches that form pairs too (cross-batch memory); 0: none", 0, 1_000_000
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label_size >= self.embedding_size:
            raise conflict("label_size must be less than embedding_size: the rest tells items of a label apart.")
        if self.label_loss == "none" and self.identity_loss == "none":
            raise conflict("label_loss and identity_loss are both none: there is nothing to learn.")
        if self.memory and self.label_loss not in PAIR_LOSSES:
            raise conflict(f"memory needs a label loss over pairs: {', '.join(PAIR_LOSSES)}.")
        if self.mixup and self.label_loss in PAIR_LOSSES:
            raise conflict(
                f"mixup excludes the label loss {self.label_loss}, which is over pairs: a mixture has two labels."
            )
        if 0 < self.memory < 2 * self.batch_size:
            raise conflict("memory must be at least twice batch_size: a batch holds two views of each photo.")


def add_options(parser: argparse._ArgumentGroup, kind: type[TrainingOptions]) -> None:
    """Add one command-line option per field of `kind`."""
    hints = get_type_hints(kind)
    for entry in fields(kind):
        flag = "--" + entry.name.replace("_", "-")
        description = entry.metadata["help"]
        if hints[entry.name] is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=entry.default, help=description)
            continue
        choices = choices_of(hints[entry.name])
        text = f"{description} (default: {entry.default})" if entry.default != "" else description
        reader = str if choices else hints[entry.name]
        metavar = None if choices else {int: "N", float: "X", str: "TEXT"}[reader]
        parser.add_argument(flag, type=reader, choices=choices, default=entry.default, metavar=metavar, help=text)


def options_from(kind: type[T], args: argparse.Namespace) -> T:
    """Return the options that the command line gives. Raises `OptionsError`."""
    return kind(**{entry.name: getattr(args, entry.name) for entry in fields(kind)})


def changed_options(options: TrainingOptions) -> dict[str, Any]:
    """Return the values that differ from their defaults."""
    defaults = {entry.name: entry.default for entry in fields(options) if entry.default is not MISSING}
    return {name: value for name, value in asdict(options).items() if value != defaults[name]}


def choices_of(hint: Any) -> tuple[str, ...] | None:
    """Return the values of a Literal as texts; None for any other type."""
    if get_origin(hint) is Literal:
        return tuple(str(value) for value in _literal_values(hint))
    return None


def _literal_values(hint: Any) -> list[Any]:
    """Return the values of a Literal, which may contain other Literals."""
    return [
        inner
        for value in get_args(hint)
        for inner in (_literal_values(value) if get_origin(value) is Literal else [value])
    ]


def _require_valid(name: str, value: Any, hint: Any, metadata: Any) -> None:
    choices = choices_of(hint)
    if choices is not None:
        if value not in choices:
            raise OptionsError(f"{name} is {value!r}; known are {', '.join(choices)}.")
        return
    if hint in (int, float):
        number = isinstance(value, int if hint is int else (int, float)) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not metadata["low"] <= value <= metadata["high"]:
            raise OptionsError(f"{name} is {value!r}; it must be a number {_format_range(metadata)}.")
    elif not isinstance(value, hint):
        raise OptionsError(f"{name} is {value!r}; it must be {'text' if hint is str else 'on or off'}.")


def _format_range(metadata: Any) -> str:
    low, high = metadata["low"], metadata["high"]
    return f"of {low:g} or more" if high == math.inf else f"from {low:g} to {high:g}"
