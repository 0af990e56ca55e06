"""Encoders whose folder is as sound as the gate can tell, without a network in it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from catalog.models import Encoder, EvaluationItem, EvaluationSet, ItemPhoto
from tests.helpers.factories import DIM, make_embedding, make_encoder, unit

PREPARED = {"width": 224, "height": 224}


def encoder_in(place: Path, name: str, **columns: Any) -> Encoder:
    """A registered encoder and its folder in `place`."""
    folder = place / name
    folder.mkdir(parents=True)
    files = {file: f"{file} of {name}".encode() for file in ("weights.safetensors", "model.onnx")}
    for file, content in files.items():
        (folder / file).write_bytes(content)
    hashes = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
    card = {"format": 3, "kind": "metric", "dim": DIM, "preprocessing": PREPARED, "files": hashes, "name": name}
    (folder / "card.json").write_text(json.dumps(card))
    return make_encoder(name, card=card, **columns)


def embed_all(encoder: Encoder) -> None:
    """Give every photo that lacks one some vector."""
    for photo in ItemPhoto.objects.exclude(embeddings__encoder=encoder):
        make_embedding(encoder, unit(1), photo)


def evaluation_set_of(*photos: ItemPhoto, name: str = "Set 1") -> EvaluationSet:
    """The current evaluation set, of the items of these photos."""
    EvaluationSet.objects.update(is_current=False)
    made = EvaluationSet.objects.create(name=name, is_current=True)
    EvaluationItem.objects.bulk_create([EvaluationItem(evaluation_set=made, item=photo.item) for photo in photos])
    return made
