"""The metrics that the site shows and decides by are those that an evaluation reports."""

from catalog.admin.encoders import metrics
from catalog.services.encoders import gate
from ml.formats.metric_names import METRIC_ENCODER, PHONE, is_metric


def test_the_pages_show_metrics_of_the_reports() -> None:
    names = {*metrics.NAMES, *metrics.SHORT_NAMES, *metrics.LOWER_IS_BETTER}
    for group in (metrics.KEY_METRICS, metrics.LABEL_METRICS):
        names.update(name for columns in group.values() for name in columns)
    assert [name for name in names if not is_metric(name)] == []


def test_an_encoder_is_released_by_metrics_of_its_kind() -> None:
    assert {name.removeprefix(PHONE) for name in gate.CHECKED_METRICS} <= set(METRIC_ENCODER)
