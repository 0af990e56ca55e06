"""Hypothesis profiles: `short` (the default, always the same examples) and `nightly` (many random ones).

`pytest --hypothesis-profile=nightly` selects the long one.
"""

from typing import Final

from hypothesis import settings

NIGHTLY_FACTOR: Final = 20


def register() -> None:
    # No deadline: several test processes share the cores, so a single example can be slow.
    settings.register_profile("short", max_examples=50, deadline=None, derandomize=True, database=None)
    settings.register_profile("nightly", max_examples=50 * NIGHTLY_FACTOR, deadline=None)
    settings.load_profile("short")  # pytest loads another one afterwards if its command line names it


def examples(count: int) -> int:
    """Return `count`, the examples of a test in the short profile, or as many times more as the nightly one tries."""
    return count * NIGHTLY_FACTOR if settings.get_current_profile_name() == "nightly" else count
