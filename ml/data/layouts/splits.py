"""Who is in which split, where the source leaves it open: drawn from a hash, so that it is the same everywhere."""

import hashlib

VAL_DRAW = 8
TEST_DRAW = 9


def split_by_hash(item: str) -> str:
    """Return "train" for 80 %, "val" for 10 % and "test" for 10 % of all items, always the same for the same item."""
    draw = _draw(item)
    return "val" if draw == VAL_DRAW else "test" if draw == TEST_DRAW else "train"


def val_by_hash(item: str) -> str:
    """Return "val" for 10 % of all items and "train" for the rest: for a source that has a test part of its own."""
    return "val" if _draw(item) == VAL_DRAW else "train"


def _draw(item: str) -> int:
    return int(hashlib.sha256(item.encode()).hexdigest(), 16) % 10
