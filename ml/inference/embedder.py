"""Embed pictures with the encoder folder of a metric encoder: unit vectors and OOD scores."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ml.encoder.card import Card
from ml.encoder.folder import read_card
from ml.formats.encoder_folder import EncoderIncompatible
from ml.runtime.load import BATCH, load_forward, pixel_batches
from ml.runtime.types import CORE_BATCH, Forward, Precision, Runtime, RuntimeChoice
from ml.vectors import Floats, NotFiniteError, unit_rows


@dataclass(frozen=True)
class Embedder:
    """A loaded metric encoder. Thread-safe: a call changes no state."""

    card: Card
    runtime: Runtime
    forward: Forward

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.card.dim

    @property
    def batch_size(self) -> int:
        """The fastest batch size for each of several threads that embed many pictures."""
        return BATCH if self.runtime == "torch" else CORE_BATCH

    def embed(self, images: Sequence[Image.Image]) -> Floats:
        """Return one unit vector per picture, float32 (n, dim); n may be 0.

        Raises Pillow's `OSError` for a broken picture, `VectorError` if the network returns zeros or NaN.
        """
        return self.embed_batches(pixel_batches(images, self.card.preprocessing))

    def embed_batches(self, batches: Iterable[Floats]) -> Floats:
        """Return the unit vectors (n, dim) of batches of preprocessed pixels, each (at most 32, 3, h, w)."""
        return self.embed_with_ood(batches)[0]

    def embed_with_ood(self, batches: Iterable[Floats]) -> tuple[Floats, Floats | None]:
        """Return the unit vectors (n, dim) and the OOD scores (n) of batches of preprocessed pixels.

        The scores are to be compared with `card.ood_threshold`; None if the card has no threshold.
        Raises `VectorError` if the network returns zeros or NaN.
        """
        vectors, scores = [np.empty((0, self.dim), dtype=np.float32)], [np.empty(0, dtype=np.float32)]
        for pixels in batches:
            result = self.forward(pixels)
            vectors.append(unit_rows(result.outputs))
            if result.ood_score is not None:
                scores.append(result.ood_score)
        if self.card.ood_threshold is None:
            return np.concatenate(vectors), None
        ood_score = np.concatenate(scores)
        if not np.isfinite(ood_score).all():
            raise NotFiniteError(
                "The network returned an OOD score that is not a finite number.", code="ood_score_not_finite"
            )
        return np.concatenate(vectors), ood_score


def load_embedder(
    folder: Path, runtime: RuntimeChoice = "auto", threads: int | None = None, precision: Precision = "float32"
) -> Embedder:
    """Load the metric encoder in `folder`; see `ml.runtime.load.load_forward` for the other arguments.

    Raises `EncoderIncompatible`, `EncoderCorrupt` or `RuntimeUnavailable`.
    """
    card = read_card(folder)
    if card.kind != "metric":
        raise EncoderIncompatible(
            f"{str(folder)!r} holds a {card.kind}, not a metric encoder.",
            code="encoder_kind",
        )
    return Embedder(card, *load_forward(folder, card, runtime, threads, precision))
