"""Build the samples of an evaluation for staff: photos with the nearest items by each encoder, from stored vectors."""

import hashlib
from collections import defaultdict
from itertools import chain, zip_longest
from typing import Any, Final

import numpy as np

from catalog.models import CatalogItem, Embedding, Encoder, Evaluation, EvaluationSet
from ml.search import Hit
from worker.index.sync import CatalogIndex

SAMPLES: Final = 20
ANSWERS: Final = 8

Sample = dict[str, Any]


def build_samples(evaluation: Evaluation) -> list[Sample]:
    """Return samples with the answers of `encoder` as `ours` and of `against` as `theirs`; empty for a classifier.

    Only photos of which both encoders have a vector are drawn.
    """
    encoders = {"ours": evaluation.encoder}
    if evaluation.against is not None:
        encoders["theirs"] = evaluation.against
    if evaluation.encoder.kind != "metric":
        return []
    photos = draw_photos(evaluation.evaluation_set, list(encoders.values()))
    samples: list[Sample] = [{"photo": photo, "item": item, "label": label} for photo, item, label in photos]
    for side, encoder in encoders.items():
        for sample, answers in zip(samples, _answers(samples, encoder), strict=True):
            sample[side] = answers
    return samples


def draw_photos(evaluation_set: EvaluationSet, encoders: list[Encoder]) -> list[tuple[int, int, str]]:
    """Return (photo, item, label) of up to `SAMPLES` photos: one of each label, then a second of each, and so on.

    The choice depends on the ids only, so all encoders of a site are shown with the same photos.
    """
    photos = Embedding.objects.filter(encoder=encoders[0], item__evaluation_memberships__evaluation_set=evaluation_set)
    for other in encoders[1:]:
        photos = photos.filter(photo__in=Embedding.objects.filter(encoder=other).values("photo"))
    by_label: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for photo, item, category in sorted(photos.values_list("photo", "item", "item__category"), key=_stable_order):
        if label := category.strip():
            by_label[label].append((photo, item, label))
    rounds = zip_longest(*(by_label[label] for label in sorted(by_label)))
    return [photo for photo in chain.from_iterable(rounds) if photo is not None][:SAMPLES]


def _stable_order(photo: tuple[int, int, str]) -> bytes:
    return hashlib.sha256(str(photo[0]).encode()).digest()


def _answers(samples: list[Sample], encoder: Encoder) -> list[list[dict[str, Any]]]:
    """Return for each sample the nearest items of the encoder's index, without the sample's own item."""
    if not samples:
        return []
    stored = Embedding.objects.filter(encoder=encoder, photo__in=[sample["photo"] for sample in samples])
    vectors = {photo: np.frombuffer(bytes(vector), "<f4") for photo, vector in stored.values_list("photo", "vector")}
    queries = np.stack([vectors[sample["photo"]] for sample in samples])
    results = CatalogIndex(encoder).refresh().search_many(queries, ANSWERS + 1, encoder=encoder.name)
    others = [
        [hit for hit in hits if hit.item_id != sample["item"]][:ANSWERS]
        for sample, hits in zip(samples, results, strict=True)
    ]
    items = CatalogItem.objects.filter(pk__in={hit.item_id for hits in others for hit in hits})
    labels = {pk: label.strip() for pk, label in items.values_list("pk", "category")}
    return [
        [_answer(hit, right=labels.get(hit.item_id) == sample["label"]) for hit in hits]
        for sample, hits in zip(samples, others, strict=True)
    ]


def _answer(hit: Hit, *, right: bool) -> dict[str, Any]:
    return {"photo": hit.photo_id, "item": hit.item_id, "score": round(hit.score, 4), "right": right}
