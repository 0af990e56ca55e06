"""Some photos of an evaluation set, each answered by both encoders from their stored vectors: for staff to look at."""

import hashlib
from collections import defaultdict
from itertools import chain, zip_longest
from typing import Any, Final

import numpy as np

from catalog.models import CatalogItem, Embedding, Encoder, Evaluation, EvaluationSet
from ml.search import Hit
from worker.index.registry import CatalogIndex

SAMPLES: Final = 20
ANSWERS: Final = 8

Sample = dict[str, Any]


def samples_of(evaluation: Evaluation) -> list[Sample]:
    """The samples with the answers of `encoder` as `ours` and of `against` as `theirs`; none of a classifier.

    Photos that an encoder has no vector of are not among them.
    """
    encoders = {"ours": evaluation.encoder, "theirs": evaluation.against}
    known = {who: encoder for who, encoder in encoders.items() if encoder is not None}
    if evaluation.encoder.kind != "metric":
        return []
    photos = drawn_photos(evaluation.evaluation_set, list(known.values()))
    samples: list[Sample] = [{"photo": photo, "item": item, "label": label} for photo, item, label in photos]
    for who, encoder in known.items():
        for sample, answers in zip(samples, _answers(samples, encoder), strict=True):
            sample[who] = answers
    return samples


def drawn_photos(evaluation_set: EvaluationSet, encoders: list[Encoder]) -> list[tuple[int, int, str]]:
    """(photo, item, label) of up to `SAMPLES` photos: one of each label, then a second, and so on.

    Which ones depends on nothing but their ids, so all encoders of a site are shown with the same.
    """
    photos = Embedding.objects.filter(encoder=encoders[0], item__evaluation_memberships__evaluation_set=evaluation_set)
    for other in encoders[1:]:
        photos = photos.filter(photo__in=Embedding.objects.filter(encoder=other).values("photo"))
    by_label: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for photo, item, category in sorted(photos.values_list("photo", "item", "item__category"), key=_stable):
        if label := category.strip():
            by_label[label].append((photo, item, label))
    rounds = zip_longest(*(by_label[label] for label in sorted(by_label)))
    return [found for found in chain.from_iterable(rounds) if found is not None][:SAMPLES]


def _stable(found: tuple[int, int, str]) -> bytes:
    return hashlib.sha256(str(found[0]).encode()).digest()


def _answers(samples: list[Sample], encoder: Encoder) -> list[list[dict[str, Any]]]:
    """What the encoder finds for each sample: the nearest items that may be shown, but for the sample's own."""
    if not samples:
        return []
    stored = Embedding.objects.filter(encoder=encoder, photo__in=[sample["photo"] for sample in samples])
    vectors = {photo: np.frombuffer(bytes(vector), "<f4") for photo, vector in stored.values_list("photo", "vector")}
    asked = np.stack([vectors[sample["photo"]] for sample in samples])
    found = CatalogIndex(encoder).refresh().search_many(asked, ANSWERS + 1, encoder=encoder.name)
    others = [
        [hit for hit in hits if hit.item_id != sample["item"]][:ANSWERS]
        for sample, hits in zip(samples, found, strict=True)
    ]
    items = CatalogItem.objects.filter(pk__in={hit.item_id for hits in others for hit in hits})
    labels = {pk: label.strip() for pk, label in items.values_list("pk", "category")}
    return [
        [_answer(hit, right=labels.get(hit.item_id) == sample["label"]) for hit in hits]
        for sample, hits in zip(samples, others, strict=True)
    ]


def _answer(hit: Hit, *, right: bool) -> dict[str, Any]:
    return {"photo": hit.photo_id, "item": hit.item_id, "score": round(hit.score, 4), "right": right}
