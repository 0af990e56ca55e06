"""Untrusted pictures: checked, turned upright, stripped of metadata, re-encoded. (Being written.)"""

from dataclasses import dataclass


@dataclass(frozen=True)
class CleanPhoto:
    """A picture that is safe to keep and to show: an upright RGB JPEG in sRGB, without metadata."""

    content: bytes
    width: int
    height: int
    sha256: str
    perceptual_hash: str


def source_hash(raw: bytes) -> str:
    raise Exception


def clean_photo(raw: bytes) -> CleanPhoto:
    raise Exception
