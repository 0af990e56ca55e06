"""Metrics of a metric encoder on the photos of a manifest: retrieval by label, by item and by garment."""

from dataclasses import asdict
from functools import partial

import numpy as np

from ml.data.manifest import Manifest
from ml.evaluation.dataset import EvaluationDataset, build_dataset
from ml.evaluation.intervals import Metric, QueryScores, card_metrics, estimate_metrics
from ml.evaluation.retrieval import Ints, Scores, label_scores, target_ranks
from ml.evaluation.views import View, read_clean, read_phone_view
from ml.formats.metric_names import CARD_METRICS, GAP, PHONE
from ml.images.pictures import read_batches
from ml.inference.embedder import Embedder
from ml.progress import Progress, silent
from ml.vectors import Floats


def measure_metric_encoder(
    embedder: Embedder, manifest: Manifest, progress: Progress = silent, split: str | None = None
) -> dict[str, float]:
    """Return `CARD_METRICS`, shares 0..1, each with `_low` and `_high`, and the numbers of queries and gallery photos.

    Queries: the photos of `split`, by default of val and test; gallery: all photos (`build_dataset`). A metric without
    queries (such as a label with a single contributor) is omitted, and so is an interval over a single contributor.
    Raises `EvaluationError` or `PictureError`.
    """
    dataset = build_dataset(manifest, split)
    estimates = estimate_metrics(score_queries(embedder, dataset, progress))
    metrics = card_metrics({name: estimates[name] for name in CARD_METRICS if name in estimates})
    return metrics | {"queries": len(dataset.queries), "gallery": len(dataset.gallery)}


def score_queries(embedder: Embedder, dataset: EvaluationDataset, progress: Progress = silent) -> QueryScores:
    """Embed the photos and return all metrics, query by query. Raises `PictureError`.

    `recall_at_k` and the other `LabelScores`: the label of the clean photo is found among photos of other owners.
    `item_at_k`: another photo of the same item is found. `phone_…`: the same with a simulated phone photo as the
    query; `gap_…`: clean minus phone, the domain gap. `garment_at_k`: a phone photo finds the photo it was made from,
    for queries that are in the gallery.
    """
    rows = np.union1d(dataset.queries, dataset.gallery)
    vectors = _embed(embedder, dataset, rows, read_clean, progress, "photos")
    gallery = vectors[np.searchsorted(rows, dataset.gallery)]
    clean_queries = vectors[np.searchsorted(rows, dataset.queries)]
    phone_queries = _embed(embedder, dataset, dataset.queries, read_phone_view, progress, "phone photos")
    clean = _label_and_item_scores(clean_queries, gallery, dataset)
    phone = _label_and_item_scores(phone_queries, gallery, dataset)
    gaps = {name: clean[name] - phone[name] for name in clean}
    scores = clean | _add_prefix(PHONE, phone) | _add_prefix(GAP, gaps)
    scores |= _garment_scores(phone_queries, gallery, dataset)
    metrics = {name: Metric.mean_of(column) for name, column in scores.items()}
    return QueryScores(dataset.owners[dataset.queries], metrics)


def split_scores_by_label(scores: QueryScores, dataset: EvaluationDataset) -> dict[str, QueryScores]:
    """Return the same metrics over the queries of each label."""
    labels = dataset.labels[dataset.queries]
    return {dataset.label_names[label]: scores.subset(labels == label) for label in np.unique(labels)}


def _embed(
    embedder: Embedder, dataset: EvaluationDataset, rows: Ints, view: View, progress: Progress, label: str
) -> Floats:
    photos = progress(dataset.photos(rows), label)
    read = partial(view, dataset.manifest, embedder.card.preprocessing)
    return embedder.embed_batches(read_batches(photos, read))


def _label_and_item_scores(vectors: Floats, gallery: Floats, dataset: EvaluationDataset) -> dict[str, Scores]:
    def scores(keys: Ints, excluded: Ints) -> dict[str, Scores]:
        of_queries, of_gallery = dataset.queries, dataset.gallery
        by_query = (keys[of_queries], keys[of_gallery], excluded[of_queries], excluded[of_gallery])
        return asdict(label_scores(vectors, gallery, *by_query))

    by_label = scores(dataset.labels, dataset.owners)
    by_item = scores(dataset.items, np.arange(len(dataset.items)))  # only the query itself is excluded
    return by_label | {f"item_at_{k}": by_item[f"recall_at_{k}"] for k in (1, 5)}


def _garment_scores(vectors: Floats, gallery: Floats, dataset: EvaluationDataset) -> dict[str, Scores]:
    """Return `garment_at_1` and `garment_at_5` (q,); NaN for a query that is not in the gallery."""
    position = np.searchsorted(dataset.gallery, dataset.queries)
    in_gallery = np.isin(dataset.queries, dataset.gallery)
    ranks = target_ranks(vectors[in_gallery], gallery, position[in_gallery])
    scores = np.full((2, len(vectors)), np.nan)
    scores[:, in_gallery] = [ranks <= 1, ranks <= 5]
    return {"garment_at_1": scores[0], "garment_at_5": scores[1]}


def _add_prefix(prefix: str, scores: dict[str, Scores]) -> dict[str, Scores]:
    return {f"{prefix}{name}": column for name, column in scores.items()}
