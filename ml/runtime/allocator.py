"""Tune glibc's malloc for eager PyTorch on a CPU: keep freed pages (mallopt)."""

import ctypes
import sys

M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
NEVER = 2**31 - 1


def keep_freed_pages() -> bool:
    """Make malloc keep large freed blocks instead of returning them to the system; return whether that worked.

    A network allocates the same large activations for every batch; by default each of them is mapped, zeroed page by
    page and unmapped again. EfficientNet-Lite0 forward, batches of 32, two shared cores: 72 photos/s instead of 8-29.
    glibc only. The setting holds for the whole process, whose memory then stays at its peak; best called before torch
    is imported. Constants: mallopt(3) and glibc's malloc.h.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has no mallopt
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER))
