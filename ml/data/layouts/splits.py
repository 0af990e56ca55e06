"""Train/val/test splits by a hash of the item, for sources without a split; deterministic on every machine."""

import hashlib

VAL_TENTH = 8
TEST_TENTH = 9


def split_by_hash(item: str) -> str:
    """Return "train" for 80 %, "val" for 10 % and "test" for 10 % of all items."""
    tenth = _tenth(item)
    return "val" if tenth == VAL_TENTH else "test" if tenth == TEST_TENTH else "train"


def val_by_hash(item: str) -> str:
    """Return "val" for 10 % of all items, else "train": for a source with a test split of its own."""
    return "val" if _tenth(item) == VAL_TENTH else "train"


def _tenth(item: str) -> int:
    return int(hashlib.sha256(item.encode()).hexdigest(), 16) % 10
