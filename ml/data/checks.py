"""Check a manifest and its photos before a training: report all errors and warnings at once.

Errors invalidate a training or an evaluation; warnings may be intended and need a look by a person.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ml.data.manifest import Manifest, ManifestProblem, Photo, clip_box, find_problems, read_valid_lines
from ml.formats.image_hash import NEAR_BITS, difference_hash
from ml.formats.manifest_csv import ManifestError
from ml.images.pictures import PictureError, read_ahead, read_picture
from ml.progress import Progress, silent

NEAR_LEVELS = 1.5
"""Near duplicates: hashes that differ in NEAR_BITS of 64 bits or fewer, and thumbnails that differ by NEAR_LEVELS of
255 or less on average. 200 photos, saved again at 3/5 of the size and JPEG quality 60, stayed within both."""

THUMBNAIL = (8, 8)

CHUNK = 64
"""Queries compared at once: 64 x 200,000 hashes take 100 MB, which become one byte per pair."""

BOX_OVER_EDGE = "boxes over the edge of their picture"
NEAR_DUPLICATES = "near duplicates across splits"
CONTRIBUTORS = "contributors in two splits"
ONE_PHOTO = "labels of one photo"
NOT_EVALUATED = "labels without a val or test photo"
WARNINGS = frozenset({BOX_OVER_EDGE, NEAR_DUPLICATES, CONTRIBUTORS, ONE_PHOTO, NOT_EVALUATED})
"""All other kinds of problems are errors."""

Hashes = npt.NDArray[np.uint64]
Thumbnails = npt.NDArray[np.int16]


@dataclass(frozen=True)
class PhotoFingerprint:
    """The sha256 of a file; of its upright picture the (width, height), the hash and the bytes of an RGB thumbnail."""

    sha256: str
    size: tuple[int, int]
    difference_hash: int
    thumbnail: bytes


@dataclass(frozen=True)
class DataReport:
    """Sentences by the kind of problem, such as "unreadable pictures". `photos`: the number of well-formed lines."""

    photos: int
    errors: Mapping[str, list[str]]
    warnings: Mapping[str, list[str]]


def check_data(path: Path, progress: Progress = silent, *, read_photos: bool = True) -> DataReport:
    """Check the manifest at `path` and, with `read_photos`, decode every picture in full.

    Raises `ManifestError` if there is no table.
    """
    manifest, problems = read_valid_lines(path)
    problems += find_problems(manifest)
    fingerprints: dict[str, PhotoFingerprint] = {}
    for name, fingerprint in _read_fingerprints(manifest, progress) if read_photos else ():
        if isinstance(fingerprint, PhotoFingerprint):
            fingerprints[name] = fingerprint
        else:
            problems.append(ManifestProblem("unreadable pictures", f"{name!r} is not a readable picture."))
    split_of = {photo.path: photo.split for photo in manifest.photos}
    problems += chain(
        _find_box_problems(manifest.photos, fingerprints),
        _find_duplicates(fingerprints, split_of),
        _find_near_duplicates(fingerprints, split_of),
        _find_contributor_leaks(manifest.photos),
        _find_label_problems(manifest.photos),
    )
    errors: dict[str, list[str]] = defaultdict(list)
    warnings: dict[str, list[str]] = defaultdict(list)
    for problem in problems:
        (warnings if problem.kind in WARNINGS else errors)[problem.kind].append(problem.text)
    return DataReport(len(manifest.photos), errors, warnings)


def find_near_duplicates(
    queries: tuple[Hashes, Thumbnails], others: tuple[Hashes, Thumbnails]
) -> Iterator[tuple[int, int]]:
    """Yield (row in `queries`, row of its nearest in `others`) for each query that has a near duplicate.

    Hashes (n,) and thumbnails (n, values). All pairs are compared, 10^9 of them in a few seconds.
    """
    for start in range(0, len(queries[0]), CHUNK):
        bits = np.bitwise_count(queries[0][start : start + CHUNK, None] ^ others[0][None, :])  # (chunk, n)
        rows, columns = np.nonzero(bits <= NEAR_BITS)
        rows += start
        distances = np.abs(queries[1][rows] - others[1][columns]).mean(axis=1)
        order = np.lexsort((distances, rows))
        order = order[distances[order] <= NEAR_LEVELS]
        _, firsts = np.unique(rows[order], return_index=True)
        yield from zip(rows[order[firsts]].tolist(), columns[order[firsts]].tolist(), strict=True)


def _read_fingerprints(manifest: Manifest, progress: Progress) -> Iterator[tuple[str, PhotoFingerprint | PictureError]]:
    """Read each existing file once, however many garments it shows."""
    names = list(dict.fromkeys(photo.path for photo in manifest.photos if manifest.file(photo).is_file()))
    fingerprints = read_ahead(progress(names, "checking"), lambda name: _fingerprint(manifest.folder / name))
    yield from zip(names, fingerprints, strict=True)


def _fingerprint(path: Path) -> PhotoFingerprint:
    picture = read_picture(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    thumbnail = picture.resize(THUMBNAIL, Image.Resampling.BOX).tobytes()
    return PhotoFingerprint(digest, picture.size, difference_hash(picture), thumbnail)


def _find_duplicates(
    fingerprints: Mapping[str, PhotoFingerprint], split_of: Mapping[str, str]
) -> Iterator[ManifestProblem]:
    names_by_hash: dict[str, list[str]] = defaultdict(list)
    for name, fingerprint in fingerprints.items():
        names_by_hash[fingerprint.sha256].append(name)
    for names in names_by_hash.values():
        if len({split_of[name] for name in names}) > 1:
            copies = " and ".join(f"{name!r} ({split_of[name]})" for name in names)
            yield ManifestProblem("duplicates across splits", f"{copies} are the same file.")


def _find_near_duplicates(
    fingerprints: Mapping[str, PhotoFingerprint], split_of: Mapping[str, str]
) -> Iterator[ManifestProblem]:
    """Yield near duplicates of val pictures in train, and of test pictures in train and val, except equal files."""
    for split, earlier in (("val", {"train"}), ("test", {"train", "val"})):
        queries = [name for name in fingerprints if split_of[name] == split]
        others = [name for name in fingerprints if split_of[name] in earlier]
        for query_row, other_row in find_near_duplicates(_arrays(fingerprints, queries), _arrays(fingerprints, others)):
            query, other = queries[query_row], others[other_row]
            if fingerprints[query].sha256 != fingerprints[other].sha256:
                text = f"{query!r} ({split}) and {other!r} ({split_of[other]}) look the same."
                yield ManifestProblem(NEAR_DUPLICATES, text)


def _arrays(fingerprints: Mapping[str, PhotoFingerprint], names: Sequence[str]) -> tuple[Hashes, Thumbnails]:
    hashes = np.array([fingerprints[name].difference_hash for name in names], dtype=np.uint64)
    thumbnails = np.frombuffer(b"".join(fingerprints[name].thumbnail for name in names), dtype=np.uint8)
    return hashes, thumbnails.reshape(len(names), 3 * THUMBNAIL[0] * THUMBNAIL[1]).astype(np.int16)


def _find_box_problems(
    photos: Iterable[Photo], fingerprints: Mapping[str, PhotoFingerprint]
) -> Iterator[ManifestProblem]:
    """Yield boxes that leave their picture. Malformed boxes and unreadable pictures are other problems."""
    for photo in photos:
        try:
            box = photo.box
        except ManifestError:
            continue
        if box is None or photo.path not in fingerprints:
            continue
        width, height = fingerprints[photo.path].size
        inside = clip_box(box, (width, height))
        if inside != box:
            text = f"The box {photo.extra['box']} of {photo.path!r} leaves its {width} x {height} pixels."
            yield ManifestProblem("boxes outside of their picture" if inside is None else BOX_OVER_EDGE, text)


def _find_label_problems(photos: Iterable[Photo]) -> Iterator[ManifestProblem]:
    """Yield labels that cannot be learned or evaluated. A manifest without train photos is only for evaluation."""
    splits = _count_splits_by_label(photos)
    for_training = any(counts["train"] for counts in splits.values())
    for label, counts in splits.items():
        text = f"{label!r} has {' and '.join(f'{count} in {split}' for split, count in counts.items())}."
        if for_training and not counts["train"]:
            yield ManifestProblem("labels without a train photo", text)
        elif counts.total() == 1:
            yield ManifestProblem(ONE_PHOTO, text)
        elif not counts["val"] and not counts["test"]:
            yield ManifestProblem(NOT_EVALUATED, text)


def _count_splits_by_label(photos: Iterable[Photo]) -> dict[str, Counter[str]]:
    splits: dict[str, Counter[str]] = defaultdict(Counter)
    for photo in photos:
        splits[photo.label][photo.split] += 1
    return splits


def _find_contributor_leaks(photos: Iterable[Photo]) -> Iterator[ManifestProblem]:
    """Yield data leaks: photos of one contributor share floor and light, so across splits they inflate the metrics."""
    splits: dict[str, set[str]] = defaultdict(set)
    for photo in photos:
        if contributor := photo.extra.get("contributor"):
            splits[contributor].add(photo.split)
    for contributor, names in splits.items():
        if len(names) > 1:
            text = f"Contributor {contributor!r} is in {' and '.join(sorted(names))}."
            yield ManifestProblem(CONTRIBUTORS, text)
