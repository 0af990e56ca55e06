"""The gate: what speaks against letting an encoder answer instead of the one that does.

Of a report's figures three are looked at. `garment_at_1`: a phone photo of a garment finds that very garment first,
which is what the product promises. `near10` and `phone_near10`: how many of the ten nearest have the right label, which
is the page of answers that a person sees, asked with a photo of the catalogue's own kind and with a phone's. The others
say the same of more or fewer answers (`recall_at_k`, `map_at_r`), or stand on the few items with several photos
(`item_at_k`): each further figure would only refuse more encoders by chance.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from django.conf import settings

from catalog.models import Encoder, Evaluation, EvaluationSet, EvaluationState
from ml.formats.encoder_folder import DATA_FILES, EncoderCorrupt, file_sha256, hash_files, read_card_entries

FIGURES: Final = {
    "garment_at_1": "the very garment first, from a phone photo,",
    "near10": "the right label among the ten nearest",
    "phone_near10": "the right label among the ten nearest, from a phone photo,",
}
BLOCKING: Final = ("kind", "folder", "card", "coverage")  # no reason helps: queries would fail, or items be missing

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Objection:
    """`code` is for machines, `text` a sentence for staff."""

    code: str
    text: str

    @property
    def is_blocking(self) -> bool:
        """Whether no written reason can override it."""
        return self.code in BLOCKING


def release_objections(encoder: Encoder) -> list[Objection]:
    """Everything that speaks against promoting an encoder now; nothing does against the live one.

    Where no encoder answers yet it only has to be a usable one.
    """
    live = Encoder.objects.live()
    if live == encoder:
        return []
    if unusable := usability_objection(encoder):
        return [unusable]
    return [] if live is None else [*_coverage(encoder), *_comparison(encoder, live)]


def usability_objection(encoder: Encoder) -> Objection | None:
    """Why queries would fail with it, if so: its kind, its folder, its card, a changed byte in its files."""
    if encoder.kind != "metric":
        return Objection("kind", f"It is a {encoder.kind}; only a metric encoder can answer queries.")
    try:
        folder = encoder.folder
    except FileNotFoundError as error:
        return Objection("folder", str(error))
    return _damage(folder, encoder)


def _damage(folder: Path, encoder: Encoder) -> Objection | None:
    try:
        card = read_card_entries(folder)
        hashes = hash_files(folder, _sha256)
    except (OSError, EncoderCorrupt) as error:
        return Objection("folder", f"Its folder cannot be read: {str(error).rstrip('.')}.")
    if any(card.get(name) != encoder.card.get(name) for name in ("files", "kind")):
        return Objection("card", "The card in its folder is another one than that it was registered with.")
    if card.get("dim") != encoder.dim:
        return Objection("card", f"Its card says {card.get('dim')!r} numbers a vector; its vectors have {encoder.dim}.")
    if not isinstance(card.get("format"), int) or not isinstance(card.get("preprocessing"), dict):
        return Objection("card", "Its card does not say how photos are prepared for it.")
    changed = [name for name in DATA_FILES if hashes[name] != (card.get("files") or {}).get(name)]
    return Objection("card", f"{changed[0]} is not the file that its card describes.") if changed else None


def _coverage(encoder: Encoder) -> Iterator[Objection]:
    if missing := encoder.missing_photos().count():
        noun = "photo has" if missing == 1 else "photos have"
        yield Objection("coverage", f"{missing:,} {noun} no vector of it yet: those items would be missing.")


def _comparison(encoder: Encoder, live: Encoder) -> Iterator[Objection]:
    chosen = EvaluationSet.current()
    if chosen is None:
        yield Objection(
            "no_evaluation_set",
            "There is no evaluation set to compare on: too few items have a category, or none was drawn yet.",
        )
        return
    found = Evaluation.objects.filter(encoder=encoder, against=live, evaluation_set=chosen).defer("samples").first()
    if found is not None and found.state == EvaluationState.DONE:
        yield from metric_objections(found.report)
    else:
        yield Objection("not_compared", _not_compared(found, live, chosen))


def _not_compared(found: Evaluation | None, live: Encoder, chosen: EvaluationSet) -> str:
    both = f"with the live encoder {live} on {chosen}"
    if found is None:
        return f"It was not compared {both} yet."
    if found.state == EvaluationState.FAILED:
        return f"Its comparison {both} has failed: {found.reason}"
    return f"Its comparison {both} is {'under way' if found.state == EvaluationState.RUNNING else 'waiting'}."


def metric_objections(report: Report) -> list[Objection]:
    """The figures that fall by more than the settings allow: over all photos, and for each label with enough of them.

    It is the measured fall that counts, not the end of its interval: a label of a few dozen photos has a wide one, and
    would pass whatever happened to it. The interval is told, so that staff can judge.
    """
    against = report.get("against") or {}
    parts = [_Part("figure_falls", "All", report.get("figures"), against.get("differences"), least=0)]
    for label, differences in (against.get("labels") or {}).items():
        figures = (report.get("labels") or {}).get(label)
        parts.append(_Part("label_falls", label, figures, differences, least=settings.GATE_MIN_PHOTOS))
    return [fall for part in parts for name in FIGURES if (fall := _fall(part, name))]


@dataclass(frozen=True)
class _Part:
    """Some of the photos: their figures, and the differences from the other encoder's. `least`: photos that count."""

    code: str
    who: str
    figures: Report | None
    differences: Report | None
    least: int


def _fall(part: _Part, name: str) -> Objection | None:
    difference = (part.differences or {}).get(name) or {}
    photos = ((part.figures or {}).get(name) or {}).get("queries") or 0
    fall = -(difference.get("value") or 0.0)
    if photos < part.least or fall <= settings.GATE_MAX_DROP / 100:
        return None
    told = f"{part.who} ({photos:,} photos): {FIGURES[name]} falls by {100 * fall:.1f} points"
    return Objection(part.code, f"{told}{_interval(difference)}.")


def _interval(difference: Report) -> str:
    if difference.get("low") is None or difference.get("high") is None:
        return ""
    return f" (95 % interval {100 * difference['low']:.1f} to {100 * difference['high']:.1f})"


def _sha256(path: Path) -> str:
    about = path.stat()
    return _hashed(path, (about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns))


@lru_cache(maxsize=64)
def _hashed(path: Path, version: tuple[int, ...]) -> str:
    """Read once for each version of a file: a page asks every few seconds."""
    del version
    return file_sha256(path)
