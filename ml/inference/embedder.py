"""From pictures to unit vectors with the folder of a metric encoder."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ml.encoder.card import Card, EncoderIncompatible
from ml.encoder.folder import read_card
from ml.runtime.load import BATCH, CORE_BATCH, Forward, Precision, Runtime, RuntimeChoice, load_forward, prepared
from ml.vectors import Floats, NotFiniteError, unit_rows


@dataclass(frozen=True)
class Embedder:
    """A metric encoder ready for use. Holds no state that a call changes, so threads may share one."""

    card: Card
    runtime: Runtime
    forward: Forward

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.card.dim

    @property
    def portion(self) -> int:
        """How many pictures are best given at a time by each of several threads that have many to embed."""
        return BATCH if self.runtime == "torch" else CORE_BATCH

    def embed(self, images: Sequence[Image.Image]) -> Floats:
        """Return one unit vector per picture, float32 (n, dim); n may be 0. `ml.runtime.load.prepared` reads the
        pictures.

        Raises Pillow's `OSError` for a broken picture, `VectorError` where the network answers with zeros or NaN.
        """
        return self.embed_batches(prepared(images, self.card.preprocessing))

    def embed_batches(self, batches: Iterable[Floats]) -> Floats:
        """Return the unit vectors (n, dim) of batches of prepared pixels, each (at most 32, 3, h, w), as one array."""
        return self.embed_and_judge(batches)[0]

    def embed_and_judge(self, batches: Iterable[Floats]) -> tuple[Floats, Floats | None]:
        """Return the unit vectors (n, dim) of batches and the strangeness (n) of each picture.

        `card.strangeness` says from where on that means "not clothes"; None where the card has no such entry.
        Raises `VectorError` where the network answers with zeros or NaN.
        """
        vectors, strangeness = [np.empty((0, self.dim), dtype=np.float32)], [np.empty(0, dtype=np.float32)]
        for pixels in batches:
            answer = self.forward(pixels)
            vectors.append(unit_rows(answer.outputs))
            if answer.strangeness is not None:
                strangeness.append(answer.strangeness)
        if self.card.strangeness is None:
            return np.concatenate(vectors), None
        judged = np.concatenate(strangeness)
        if not np.isfinite(judged).all():
            raise NotFiniteError("The network's judgement of strangeness is not a finite number.")
        return np.concatenate(vectors), judged


def load_embedder(
    folder: Path, runtime: RuntimeChoice = "auto", threads: int | None = None, precision: Precision = "float32"
) -> Embedder:
    """Load the metric encoder in `folder`; `ml.runtime.load.load_forward` tells what the other three mean.

    Raises `EncoderIncompatible`, `EncoderCorrupt` or `RuntimeUnavailable`.
    """
    card = read_card(folder)
    if card.kind != "metric":
        raise EncoderIncompatible(f"{str(folder)!r} holds a {card.kind}, which gives labels and not embeddings.")
    return Embedder(card, *load_forward(folder, card, runtime, threads, precision))
