"""Names of the evaluation metrics in cards and reports. `ml.evaluation` defines and measures them."""

from typing import Final

PHONE: Final = "phone_"
"""Prefix of a metric measured with simulated phone photos as queries."""

GAP: Final = "gap_"
"""Prefix of the domain gap: a metric of clean photos minus the same of phone photos."""

PHONE_ONLY: Final = ("garment_at_1", "garment_at_5")
"""Metrics that are measured with phone photos alone, and therefore have no prefix."""

METRIC_ENCODER: Final = (
    *("recall_at_1", "recall_at_5", "recall_at_10", "near10", "map_at_r", "r_precision", "item_at_1", "item_at_5"),
    *PHONE_ONLY,
)
CLASSIFIER: Final = ("accuracy", "macro_recall", "macro_precision", "expected_calibration_error")
CLASSIFIER_BY_LABEL: Final = ("recall", "precision")

CARD_METRICS: Final = (
    *("recall_at_1", "recall_at_5", "recall_at_10", "near10", "map_at_r", "r_precision"),
    *("phone_recall_at_1", "phone_near10", "phone_map_at_r", "garment_at_1", "garment_at_5", "item_at_1", "item_at_5"),
)
"""Metrics in the card of a metric encoder: a selection for readers and for the choice of an epoch."""


def is_metric(name: str) -> bool:
    """Return whether a report may hold a metric of this name, with or without a prefix."""
    plain = name.removeprefix(PHONE).removeprefix(GAP)
    return plain in (*METRIC_ENCODER, *CLASSIFIER, *CLASSIFIER_BY_LABEL) and not (plain in PHONE_ONLY and plain != name)
