"""Classify pictures with the encoder folder of a classifier: probabilities of labels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ml.encoder.card import Card
from ml.encoder.folder import read_card
from ml.formats.encoder_folder import EncoderIncompatible
from ml.runtime.load import load_forward, pixel_batches
from ml.runtime.types import Forward, Runtime, RuntimeChoice
from ml.vectors import Floats, NotFiniteError


@dataclass(frozen=True)
class Classifier:
    """A loaded classifier. Thread-safe: a call changes no state."""

    card: Card
    runtime: Runtime
    forward: Forward

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the columns of the probabilities."""
        return self.card.labels

    def probabilities(self, images: Sequence[Image.Image]) -> Floats:
        """Return a row of probabilities per picture, float32 (n, labels).

        Raises Pillow's `OSError` for a broken picture, `NotFiniteError` if the network returns NaN or infinity.
        """
        return self.probabilities_of_batches(pixel_batches(images, self.card.preprocessing))

    def probabilities_of_batches(self, batches: Iterable[Floats]) -> Floats:
        """Return the probabilities (n, labels) of batches of preprocessed pixels, each (at most 32, 3, h, w)."""
        rows = [softmax(self.forward(pixels).outputs) for pixels in batches]
        return np.concatenate([np.empty((0, len(self.labels)), dtype=np.float32), *rows])


def load_classifier(folder: Path, runtime: RuntimeChoice = "auto", threads: int | None = None) -> Classifier:
    """Load the classifier in `folder`; see `ml.runtime.load.load_forward` for `runtime` and `threads`.

    Raises `EncoderIncompatible` or `EncoderCorrupt`.
    """
    card = read_card(folder)
    if card.kind != "classifier":
        raise EncoderIncompatible(
            f"{str(folder)!r} holds a {card.kind} encoder, not a classifier.",
            code="encoder_kind",
        )
    return Classifier(card, *load_forward(folder, card, runtime, threads))


def softmax(logits: Floats) -> Floats:
    """Return exp(x) / sum of exp(x) along each row of (n, labels), in float64 inside. Raises `NotFiniteError`."""
    if not np.isfinite(logits).all():
        raise NotFiniteError("The network returned a value that is not a finite number.")
    doubles = logits.astype(np.float64)
    powers = np.exp(doubles - doubles.max(axis=1, keepdims=True))  # at most 1: no overflow
    probabilities: Floats = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return probabilities
