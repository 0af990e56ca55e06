"""Perceptual hash (dHash) of a picture: similar pictures differ in few bits. Pillow only.

The hashes are stored in the database, so the function must always return the same bits.
"""

from typing import Final

from PIL import Image

NEAR_BITS: Final = 4
"""Near duplicates differ in at most this many of the 64 bits: 200 photos, saved again at 3/5 of the size and JPEG
quality 60, stayed within this limit. By the hash alone, different products on white ground are near duplicates too."""

_WIDTH, _HEIGHT = 9, 8


def difference_hash(image: Image.Image) -> int:
    """Return the dHash, 64 bits (N. Krawetz, "Kind of like that", 2013). Pictures of one colour have the hash 0.

    Each bit is 1 where brightness rises to the right, in the grey picture averaged to 9 x 8; row by row, the first
    bit is the highest. It survives resizing, recompression and a change of brightness. Integer arithmetic only, so
    every machine returns the same bits.
    """
    grey = image.convert("L").resize((_WIDTH, _HEIGHT), Image.Resampling.BOX).tobytes()
    bits = 0
    for row in range(0, len(grey), _WIDTH):
        for left in range(row, row + _WIDTH - 1):
            bits = bits << 1 | (grey[left] < grey[left + 1])
    return bits


def hash_to_text(bits: int) -> str:
    """Return the hash as 16 hexadecimal digits, as the database stores it."""
    return f"{bits:016x}"
