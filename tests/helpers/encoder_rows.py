"""Encoders with a folder that passes the release checks but holds no network, and evaluation sets."""

import hashlib
import json
from pathlib import Path
from typing import Any

from catalog.models import Encoder, EvaluationItem, EvaluationSet, ItemPhoto
from tests.helpers.factories import DIM, make_embedding, make_encoder, unit

PREPROCESSING = {"width": 224, "height": 224}


def encoder_in(place: Path, name: str, **columns: Any) -> Encoder:
    """Create an encoder and its folder in `place`."""
    folder = place / name
    folder.mkdir(parents=True)
    files = {file: f"{file} of {name}".encode() for file in ("weights.safetensors", "model.onnx")}
    for file, content in files.items():
        (folder / file).write_bytes(content)
    hashes = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
    card = {"format": 3, "kind": "metric", "dim": DIM, "preprocessing": PREPROCESSING, "files": hashes, "name": name}
    (folder / "card.json").write_text(json.dumps(card))
    return make_encoder(name, card=card, **columns)


def embed_all(encoder: Encoder) -> None:
    """Embed every photo that has no embedding of the encoder."""
    for photo in ItemPhoto.objects.exclude(embeddings__encoder=encoder):
        make_embedding(encoder, unit(1), photo)


def evaluation_set_of(*photos: ItemPhoto, name: str = "Set 1") -> EvaluationSet:
    """Create the current evaluation set, with the items of the photos."""
    EvaluationSet.objects.update(is_current=False)
    evaluation_set = EvaluationSet.objects.create(name=name, is_current=True)
    EvaluationItem.objects.bulk_create(
        [EvaluationItem(evaluation_set=evaluation_set, item=photo.item) for photo in photos]
    )
    return evaluation_set
