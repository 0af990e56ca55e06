"""Paths in published command lines: an absolute path is cut to its name, because its folders are private."""

from pathlib import Path


def public_path(path: Path) -> str:
    """Return the name of an absolute path, and a relative path with forward slashes."""
    return path.name if path.is_absolute() else path.as_posix()
