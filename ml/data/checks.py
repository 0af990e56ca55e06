"""What is wrong with a manifest and its photos: everything at once, before hours of training are spent on it.

Errors spoil a training or an evaluation; warnings may be meant, and a person should look at them.
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
from ml.formats.manifest_csv import ManifestError
from ml.images.pictures import PictureError, read_ahead, read_picture
from ml.progress import Progress, silent

NEAR_BITS = 4
NEAR_LEVELS = 1.5
"""Near duplicates: difference hashes apart by NEAR_BITS of 64 or less, thumbnails by NEAR_LEVELS of 255 on average.

200 photos, saved again at 3/5 of the size and JPEG quality 60, stayed within both. The hash alone is not enough: of
products on white ground it takes every man in a shirt for the next one.
"""

THUMBNAIL = (8, 8)

CHUNK = 64
"""Rows of the comparison of hashes at once: 64 x 200,000 take 100 MB on the way to one byte each."""

OVER_THE_EDGE = "boxes over the edge of their picture"
NEAR_DUPLICATES = "near duplicates across splits"
CONTRIBUTORS = "contributors on both sides"
ONE_PHOTO = "labels of one photo"
NOT_JUDGED = "labels without a val or test photo"
WARNINGS = frozenset({OVER_THE_EDGE, NEAR_DUPLICATES, CONTRIBUTORS, ONE_PHOTO, NOT_JUDGED})
"""Everything else is an error."""

Hashes = npt.NDArray[np.uint64]
Thumbnails = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Seen:
    """What is kept of one picture: the sha256 of its file, and of the picture turned upright its (width, height),
    its difference hash and the bytes of its RGB thumbnail."""

    sha256: str
    size: tuple[int, int]
    difference_hash: int
    thumbnail: bytes


@dataclass(frozen=True)
class Report:
    """Sentences by their heading, such as "unreadable pictures". `photos`: how many lines could be understood."""

    photos: int
    errors: Mapping[str, list[str]]
    warnings: Mapping[str, list[str]]


def check_data(path: Path, progress: Progress = silent, *, look: bool = True) -> Report:
    """Check the manifest at `path` and, unless told not to `look`, read every picture in full.

    Raises `ManifestError` if there is no table.
    """
    manifest, problems = read_valid_lines(path)
    problems += find_problems(manifest)
    seen: dict[str, Seen] = {}
    for name, picture in _look(manifest, progress) if look else ():
        if isinstance(picture, Seen):
            seen[name] = picture
        else:
            problems.append(ManifestProblem("unreadable pictures", f"{name!r} is not a readable picture."))
    split_of = {photo.path: photo.split for photo in manifest.photos}
    problems += chain(
        _boxes(manifest.photos, seen),
        _duplicates(seen, split_of),
        _near_duplicates(seen, split_of),
        _contributors(manifest.photos),
        _labels(manifest.photos),
    )
    errors: dict[str, list[str]] = defaultdict(list)
    warnings: dict[str, list[str]] = defaultdict(list)
    for problem in problems:
        (warnings if problem.kind in WARNINGS else errors)[problem.kind].append(problem.text)
    return Report(len(manifest.photos), errors, warnings)


def difference_hash(picture: Image.Image) -> int:
    """64 bits, each saying whether brightness rises to the right (dHash; N. Krawetz, "Kind of like that", 2013).

    The grey picture is averaged to 9 x 8; row by row, the first bit is the highest.
    """
    grey = np.asarray(picture.convert("L").resize((9, 8), Image.Resampling.BOX))
    return int.from_bytes(np.packbits(grey[:, :-1] < grey[:, 1:]).tobytes(), "big")


def near_duplicates(queries: tuple[Hashes, Thumbnails], others: tuple[Hashes, Thumbnails]) -> Iterator[tuple[int, int]]:
    """Yield (place in `queries`, place in `others`) of the nearest one for each query that has a near duplicate.

    Hashes (n,) and thumbnails (n, values). All pairs are compared, 10^9 of them in a few seconds.
    """
    for start in range(0, len(queries[0]), CHUNK):
        bits = np.bitwise_count(queries[0][start : start + CHUNK, None] ^ others[0][None, :])  # (chunk, n)
        rows, columns = np.nonzero(bits <= NEAR_BITS)
        rows += start
        apart = np.abs(queries[1][rows] - others[1][columns]).mean(axis=1)
        order = np.lexsort((apart, rows))
        order = order[apart[order] <= NEAR_LEVELS]
        _, firsts = np.unique(rows[order], return_index=True)
        yield from zip(rows[order[firsts]].tolist(), columns[order[firsts]].tolist(), strict=True)


def _look(manifest: Manifest, progress: Progress) -> Iterator[tuple[str, Seen | PictureError]]:
    """Read each file that is there once, whatever the number of its garments."""
    names = list(dict.fromkeys(photo.path for photo in manifest.photos if manifest.file(photo).is_file()))
    looks = read_ahead(progress(names, "checking"), lambda name: _seen(manifest.folder / name))
    yield from zip(names, looks, strict=True)


def _seen(path: Path) -> Seen:
    picture = read_picture(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    thumbnail = picture.resize(THUMBNAIL, Image.Resampling.BOX).tobytes()
    return Seen(digest, picture.size, difference_hash(picture), thumbnail)


def _duplicates(seen: Mapping[str, Seen], split_of: Mapping[str, str]) -> Iterator[ManifestProblem]:
    same: dict[str, list[str]] = defaultdict(list)
    for name, picture in seen.items():
        same[picture.sha256].append(name)
    for names in same.values():
        if len({split_of[name] for name in names}) > 1:
            told = " and ".join(f"{name!r} ({split_of[name]})" for name in names)
            yield ManifestProblem("duplicates across splits", f"{told} are the same file.")


def _near_duplicates(seen: Mapping[str, Seen], split_of: Mapping[str, str]) -> Iterator[ManifestProblem]:
    """For each val picture the nearest of train, for each test picture that of train and val; equal files aside."""
    for split, earlier in (("val", {"train"}), ("test", {"train", "val"})):
        queries = [name for name in seen if split_of[name] == split]
        others = [name for name in seen if split_of[name] in earlier]
        for query_place, other_place in near_duplicates(_looks(seen, queries), _looks(seen, others)):
            query, other = queries[query_place], others[other_place]
            if seen[query].sha256 != seen[other].sha256:
                told = f"{query!r} ({split}) and {other!r} ({split_of[other]}) look the same."
                yield ManifestProblem(NEAR_DUPLICATES, told)


def _looks(seen: Mapping[str, Seen], names: Sequence[str]) -> tuple[Hashes, Thumbnails]:
    hashes = np.array([seen[name].difference_hash for name in names], dtype=np.uint64)
    thumbnails = np.frombuffer(b"".join(seen[name].thumbnail for name in names), dtype=np.uint8)
    return hashes, thumbnails.reshape(len(names), 3 * THUMBNAIL[0] * THUMBNAIL[1]).astype(np.int16)


def _boxes(photos: Iterable[Photo], seen: Mapping[str, Seen]) -> Iterator[ManifestProblem]:
    """Boxes that leave their picture; those that cannot be understood, and pictures that cannot, were told already."""
    for photo in photos:
        try:
            box = photo.box
        except ManifestError:
            continue
        if box is None or photo.path not in seen:
            continue
        width, height = seen[photo.path].size
        inside = clip_box(box, (width, height))
        if inside != box:
            told = f"The box {photo.extra['box']} of {photo.path!r} leaves its {width} x {height} pixels."
            yield ManifestProblem("boxes outside of their picture" if inside is None else OVER_THE_EDGE, told)


def _labels(photos: Iterable[Photo]) -> Iterator[ManifestProblem]:
    """Labels that cannot be learnt or judged. A manifest without any train photo is there to be evaluated on."""
    splits = _splits_of_labels(photos)
    to_train = any(counts["train"] for counts in splits.values())
    for label, counts in splits.items():
        told = f"{label!r} has {' and '.join(f'{count} in {split}' for split, count in counts.items())}."
        if to_train and not counts["train"]:
            yield ManifestProblem("labels without a train photo", told)
        elif counts.total() == 1:
            yield ManifestProblem(ONE_PHOTO, told)
        elif not counts["val"] and not counts["test"]:
            yield ManifestProblem(NOT_JUDGED, told)


def _splits_of_labels(photos: Iterable[Photo]) -> dict[str, Counter[str]]:
    splits: dict[str, Counter[str]] = defaultdict(Counter)
    for photo in photos:
        splits[photo.label][photo.split] += 1
    return splits


def _contributors(photos: Iterable[Photo]) -> Iterator[ManifestProblem]:
    """Whoever photographs two garments shows the same floor and light twice; across splits that flatters figures."""
    splits: dict[str, set[str]] = defaultdict(set)
    for photo in photos:
        if contributor := photo.extra.get("contributor"):
            splits[contributor].add(photo.split)
    for contributor, found in splits.items():
        if len(found) > 1:
            told = f"Contributor {contributor!r} is in {' and '.join(sorted(found))}."
            yield ManifestProblem(CONTRIBUTORS, told)
