"""Release checks of a candidate against the live encoder.

Three metrics of an evaluation report are checked. `garment_at_1`: a phone photo of a garment finds the same garment
first, which is what the product promises. `near10` and `phone_near10`: the share of the ten nearest items with the
right label, which is the page that a user sees, for a catalogue photo and for a phone photo. The other metrics say the
same for more or fewer results (`recall_at_k`, `map_at_r`), or depend on the few items with several photos
(`item_at_k`): each further metric would only reject more encoders by chance.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from django.conf import settings

from catalog.models import Encoder, Evaluation, EvaluationSet, EvaluationState
from ml.formats.encoder_folder import DATA_FILES, EncoderCorrupt, file_sha256, hash_files, read_card_entries

CHECKED_METRICS: Final = {
    "garment_at_1": "same garment first, from a phone photo,",
    "near10": "right label among the ten nearest",
    "phone_near10": "right label among the ten nearest, from a phone photo,",
}
BLOCKING: Final = ("kind", "folder", "card", "coverage")  # a reason cannot override: queries would fail or miss items

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Objection:
    """A reason not to promote an encoder: a stable `code`, and a sentence for staff."""

    code: str
    text: str

    @property
    def is_blocking(self) -> bool:
        """Whether the promotion is refused even with a written reason."""
        return self.code in BLOCKING


def release_objections(encoder: Encoder) -> list[Objection]:
    """The reasons not to promote an encoder now; none for the live encoder.

    Without a live encoder it only has to be usable. Otherwise it must have embedded every searchable photo and have
    been compared with the live encoder on the current evaluation set, without a drop above `GATE_MAX_DROP`.
    """
    live = Encoder.objects.live()
    if live == encoder:
        return []
    if unusable := usability_objection(encoder):
        return [unusable]
    return [] if live is None else [*_coverage_objections(encoder), *_comparison_objections(encoder, live)]


def usability_objection(encoder: Encoder) -> Objection | None:
    """The reason why queries with the encoder would fail: its kind, folder, card, or changed files. None if usable."""
    if encoder.kind != "metric":
        return Objection("kind", f"It is a {encoder.kind}; only a metric encoder can answer queries.")
    try:
        folder = encoder.folder
    except FileNotFoundError as error:
        return Objection("folder", str(error))
    return _check_files(folder, encoder)


def _check_files(folder: Path, encoder: Encoder) -> Objection | None:
    try:
        card = read_card_entries(folder)
        hashes = hash_files(folder, _sha256)
    except (OSError, EncoderCorrupt) as error:
        return Objection("folder", f"Its folder cannot be read: {str(error).rstrip('.')}.")
    if any(card.get(name) != encoder.card.get(name) for name in ("files", "kind")):
        return Objection("card", "The card in its folder differs from the card that was registered.")
    if card.get("dim") != encoder.dim:
        return Objection(
            "card", f"Its card names {card.get('dim')!r} as the vector size; {encoder.dim} was registered."
        )
    if not isinstance(card.get("format"), int) or not isinstance(card.get("preprocessing"), dict):
        return Objection("card", "Its card lacks the preprocessing of photos or the format version.")
    changed = [name for name in DATA_FILES if hashes[name] != (card.get("files") or {}).get(name)]
    return Objection("card", f"{changed[0]} is not the file that its card describes.") if changed else None


def _coverage_objections(encoder: Encoder) -> Iterator[Objection]:
    if missing := encoder.missing_photos().count():
        noun = "photo has" if missing == 1 else "photos have"
        yield Objection(
            "coverage", f"{missing:,} {noun} no vector of this encoder yet; their items would be missing from results."
        )


def _comparison_objections(encoder: Encoder, live: Encoder) -> Iterator[Objection]:
    evaluation_set = EvaluationSet.current()
    if evaluation_set is None:
        yield Objection(
            "no_evaluation_set",
            "There is no evaluation set to compare on: too few items have a category, or none was drawn yet.",
        )
        return
    rows = Evaluation.objects.filter(encoder=encoder, against=live, evaluation_set=evaluation_set)
    evaluation = rows.defer("samples").first()
    if evaluation is not None and evaluation.state == EvaluationState.DONE:
        yield from metric_objections(evaluation.report)
    else:
        yield Objection("not_compared", _not_compared(evaluation, live, evaluation_set))


def _not_compared(evaluation: Evaluation | None, live: Encoder, evaluation_set: EvaluationSet) -> str:
    comparison = f"with the live encoder {live} on {evaluation_set}"
    if evaluation is None:
        return f"It was not compared {comparison} yet."
    if evaluation.state == EvaluationState.FAILED:
        return f"Its comparison {comparison} has failed: {evaluation.reason}"
    return f"Its comparison {comparison} is {'running' if evaluation.state == EvaluationState.RUNNING else 'queued'}."


def metric_objections(report: Report) -> list[Objection]:
    """The metrics that drop by more than `GATE_MAX_DROP` points, overall and for labels with `GATE_MIN_PHOTOS` photos.

    The measured drop counts, not the end of its confidence interval: a label with a few dozen photos has such a wide
    interval that any drop would pass. The text names the interval, so that staff can judge.
    """
    against = report.get("against") or {}
    parts = [_Part("figure_falls", "All", report.get("figures"), against.get("differences"), min_photos=0)]
    for label, differences in (against.get("labels") or {}).items():
        figures = (report.get("labels") or {}).get(label)
        parts.append(_Part("label_falls", label, figures, differences, min_photos=settings.GATE_MIN_PHOTOS))
    return [objection for part in parts for name in CHECKED_METRICS if (objection := _drop_objection(part, name))]


@dataclass(frozen=True)
class _Part:
    """A part of the photos: its metrics and their differences from the live encoder. `min_photos`: below, no check."""

    code: str
    name: str
    figures: Report | None
    differences: Report | None
    min_photos: int


def _drop_objection(part: _Part, metric: str) -> Objection | None:
    difference = (part.differences or {}).get(metric) or {}
    photos = ((part.figures or {}).get(metric) or {}).get("queries") or 0
    drop = -(difference.get("value") or 0.0)
    if photos < part.min_photos or drop <= settings.GATE_MAX_DROP / 100:
        return None
    text = f"{part.name} ({photos:,} photos): {CHECKED_METRICS[metric]} falls by {100 * drop:.1f} points"
    return Objection(part.code, f"{text}{_interval(difference)}.")


def _interval(difference: Report) -> str:
    if difference.get("low") is None or difference.get("high") is None:
        return ""
    return f" (95 % interval {100 * difference['low']:.1f} to {100 * difference['high']:.1f})"


def _sha256(path: Path) -> str:
    status = path.stat()
    return _cached_sha256(path, (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))


@lru_cache(maxsize=64)
def _cached_sha256(path: Path, version: tuple[int, ...]) -> str:
    """SHA-256 of a file, computed once per version of it, because an admin page polls every few seconds."""
    del version
    return file_sha256(path)
