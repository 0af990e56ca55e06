"""What can be set for a run: flat, typed, each with its sentence; the command line is made from these classes."""

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
"""Those made of pairs or triplets of a batch: a miner and a memory are for them. The others have proxies."""

T = TypeVar("T", bound="TrainingOptions")


class OptionsError(InputError):
    """A value that no run can be made with, or values that do not go together."""


def option(default: Any, meaning: str, low: float = -math.inf, high: float = math.inf) -> Any:
    """A field with what `--help` says of it and the range its number must be in."""
    return field(default=default, metadata={"help": meaning, "low": low, "high": high})


@dataclass(frozen=True)
class TrainingOptions:
    """What a classifier and a metric encoder have in common. Raises `OptionsError` when made with impossible values."""

    backbone: BackboneName = option("efficientnet-lite0", "the trunk")
    pretrained: bool = option(True, "start from ImageNet's weights instead of random ones")
    start_from: str = option("", "an encoder folder whose trunk to start from, such as a trained classifier's")
    pooling: Pooling = option("gem", "from the trunk's maps to features: generalised mean or mean")
    side: int = option(224, "pixels of a side of what the network reads, a multiple of 32", 32, 1024)
    resize: Resize = option("squash", "how a photo becomes a square")
    train_splits: str = option("train", "the splits to train on, with commas between; the others validate")
    label_column: str = option("label", "the column of the manifest that holds the labels")

    epochs: int = option(12, "passes over the train photos", 1, 10_000)
    batch_size: int = option(64, "photos in a batch", 2, 65_536)
    optimizer: Optimizer = option("adamw", "how the weights are stepped")
    lr: float = option(1e-3, "the highest learning rate of the trunk's last stage", 0)
    head_lr: float = option(3e-3, "the highest learning rate of the head and the losses' own weights", 0)
    lr_decay: float = option(0.85, "each earlier stage learns at this many times the rate of the one after it", 0.01, 1)
    warmup: float = option(0.08, "share of the steps in which the rate rises; then it falls along a cosine", 0, 1)
    weight_decay: float = option(0.02, "AdamW's decoupled decay", 0)
    l1: float = option(0.0, "penalty on the sum of the absolute weights", 0)
    l2: float = option(0.0, "penalty on the sum of the squared weights", 0)
    clip: float = option(5.0, "gradients longer than this are shortened to it; 0: never", 0)
    ema: float = option(
        0.99, "the encoder is a moving average of the weights with this memory; 0: the last weights", 0, 0.99999
    )

    freeze_stages: int = option(0, "how many of the trunk's first stages are not trained", 0, 100)
    head_epochs: int = option(0, "epochs at the beginning that train the head alone", 0, 10_000)
    statistics: Statistics = option("frozen", "whether batch normalisation keeps its means and variances")
    drop: float = option(0.1, "dropout before the last layer", 0, 0.95)
    mixup: float = option(0.0, "Beta(a, a) of the mixing of two photos of a batch; 0: none", 0, 10)
    augment: Augment = option("phone", "how the views of a photo differ from it")
    views: int = option(0, "views of each photo made once and kept; 0: new ones in every epoch", 0, 1000)
    balance: Balance = option("root", "how much rare labels are drawn more often than they are: by the root, or fully")

    patience: int = option(0, "stop after so many epochs without a better figure; 0: never", 0)
    seed: int = option(0, "decides every draw", 0, 2**31)
    threads: int = option(2, "cores for torch", 1, 1024)
    workers: int = option(0, "processes that make views beside the training", 0, 256)
    precision: Precision = option("auto", "of the arithmetic; auto: bfloat16 on a GPU, float32 on a CPU")
    compile: bool = option(False, "compile the network first: pays on a GPU and long runs")

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for entry in fields(self):
            _check(entry.name, getattr(self, entry.name), hints[entry.name], entry.metadata)
        if self.side % 32:
            raise OptionsError(f"side must be a multiple of 32, not {self.side}.")
        if self.head_epochs >= self.epochs:
            raise OptionsError("head_epochs must be fewer than epochs.")
        unknown = set(self.splits) - {"train", "val", "test"}
        if unknown or not self.splits or not self.held_out:
            raise OptionsError(f"train_splits is {self.train_splits!r}; it takes train, val and test, not all three.")

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits to train on."""
        return tuple(part.strip() for part in self.train_splits.split(",") if part.strip())

    @property
    def held_out(self) -> tuple[str, ...]:
        """The splits to validate on."""
        return tuple(split for split in ("train", "val", "test") if split not in self.splits)


@dataclass(frozen=True)
class ClassifierOptions(TrainingOptions):
    """A run of `train-classifier`."""

    head: ClassifierHead = option(
        "linear", "from features to labels: one layer, or the hidden layer of 512 of the old project"
    )
    smoothing: float = option(0.1, "label smoothing", 0, 0.99)


@dataclass(frozen=True)
class MetricOptions(TrainingOptions):
    """A run of `train-metric`."""

    embedding_size: int = option(100, "length of a vector", 2, 4096)
    label_size: int = option(32, "how many of its numbers are for the label alone; 0: all serve both losses", 0, 4096)
    label_share: float = option(0.5, "the share of a cosine that the numbers for the label make up", 0.01, 0.99)
    sharpen: bool = option(True, "after training, draw the numbers for the label towards the labels' prototypes")
    label_loss: LabelLoss = option("softmax", "the loss that brings photos of one label together")
    label_weight: float = option(1.0, "its weight", 0)
    identity_loss: IdentityLoss = option("ntxent", "the loss that brings the views of one item together")
    identity_weight: float = option(1.0, "its weight", 0)
    miner: MinerName = option("semihard", "which triplets or pairs of the label count, for losses made of such")
    margin: float = option(0.1, "margin of triplets (of cosines), proxies (cosine) and arcs (radians)", 0, 2)
    scale: float = option(16.0, "what a cosine is multiplied with under a softmax or an exponential", 0.1, 1000)
    temperature: float = option(0.07, "what a cosine is divided by in the identity loss and supcon", 0.001, 10)
    sub_centres: int = option(3, "centres of a label in sub-centre ArcFace", 1, 20)
    per_label: int = option(4, "photos of one label in a batch, as far as it has so many", 1, 1000)
    memory: int = option(0, "earlier vectors that pairs are also made with (cross-batch memory); 0: none", 0, 1_000_000)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label_size >= self.embedding_size:
            raise OptionsError("label_size must be less than embedding_size: the rest tells items of a label apart.")
        if self.label_loss == "none" and self.identity_loss == "none":
            raise OptionsError("Without a loss for labels and without one for items there is nothing to learn.")
        if self.memory and self.label_loss not in PAIR_LOSSES:
            raise OptionsError(f"memory is for label losses made of pairs: {', '.join(PAIR_LOSSES)}.")
        if self.mixup and self.label_loss in PAIR_LOSSES:
            raise OptionsError("mixup is not for label losses made of pairs: a mixture has two labels.")
        if 0 < self.memory < 2 * self.batch_size:
            raise OptionsError("memory must be at least twice batch_size: a batch holds two views of each photo.")


def add_options(parser: argparse._ArgumentGroup, kind: type[TrainingOptions]) -> None:
    """Give `parser` one option per field of `kind`."""
    hints = get_type_hints(kind)
    for entry in fields(kind):
        flag = "--" + entry.name.replace("_", "-")
        meaning = entry.metadata["help"]
        if hints[entry.name] is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=entry.default, help=meaning)
            continue
        choices = choices_of(hints[entry.name])
        shown = f"{meaning} (default: {entry.default})" if entry.default != "" else meaning
        reader = str if choices else hints[entry.name]
        metavar = None if choices else {int: "N", float: "X", str: "TEXT"}[reader]
        parser.add_argument(flag, type=reader, choices=choices, default=entry.default, metavar=metavar, help=shown)


def options_from(kind: type[T], args: argparse.Namespace) -> T:
    """Return the options that were typed. Raises `OptionsError`."""
    return kind(**{entry.name: getattr(args, entry.name) for entry in fields(kind)})


def changed_options(options: TrainingOptions) -> dict[str, Any]:
    """Return the values that are not the default ones: what must be typed for the same run."""
    defaults = {entry.name: entry.default for entry in fields(options) if entry.default is not MISSING}
    return {name: value for name, value in asdict(options).items() if value != defaults[name]}


def choices_of(hint: Any) -> tuple[str, ...] | None:
    """Return the words that an option of this type may be; None for a type of another kind."""
    if get_origin(hint) is Literal:
        return tuple(str(value) for value in _flat(hint))
    return None


def _flat(hint: Any) -> list[Any]:
    """The values of a Literal, which may hold other Literals."""
    return [inner for value in get_args(hint) for inner in (_flat(value) if get_origin(value) is Literal else [value])]


def _check(name: str, value: Any, hint: Any, metadata: Any) -> None:
    choices = choices_of(hint)
    if choices is not None:
        if value not in choices:
            raise OptionsError(f"{name} is {value!r}; known are {', '.join(choices)}.")
        return
    if hint in (int, float):
        number = isinstance(value, int if hint is int else (int, float)) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not metadata["low"] <= value <= metadata["high"]:
            raise OptionsError(f"{name} is {value!r}; it must be a number {_range(metadata)}.")
    elif not isinstance(value, hint):
        raise OptionsError(f"{name} is {value!r}; it must be {'text' if hint is str else 'on or off'}.")


def _range(metadata: Any) -> str:
    low, high = metadata["low"], metadata["high"]
    return f"of {low:g} or more" if high == math.inf else f"from {low:g} to {high:g}"
