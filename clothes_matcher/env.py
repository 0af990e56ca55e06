"""Read settings from environment variables; an invalid value raises `ImproperlyConfigured`, which stops the start."""

import contextlib
import hashlib
import os
import re
import secrets
import tempfile
from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

# The same words as ml.formats.booleans, which the project package may not import.
_BOOLEANS = {"on": True, "true": True, "yes": True, "1": True, "off": False, "false": False, "no": False, "0": False}


def env_bool(name: str, default: bool) -> bool:
    """Return a boolean: on, true, yes, 1 or off, false, no, 0; empty means `default`."""
    value = os.environ.get(name, "").strip().lower()
    if not value:
        return default
    if value not in _BOOLEANS:
        raise ImproperlyConfigured(f"{name} must be on or off, not {value!r}.")
    return _BOOLEANS[value]


def env_int(name: str, default: int, *, minimum: int = 0) -> int:
    """Return a whole number of at least `minimum`; empty means `default`."""
    value = os.environ.get(name, "").strip()
    if not value:
        return default
    try:
        number = int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.") from None
    if number < minimum:
        raise ImproperlyConfigured(f"{name} must be at least {minimum}, not {number}.")
    return number


def env_choice(name: str, *choices: str) -> str:
    """Return one of `choices`; the first is the default."""
    value = os.environ.get(name, "").strip() or choices[0]
    if value in choices:
        return value
    raise ImproperlyConfigured(f"{name} must be one of {', '.join(choices)}, not {value!r}.")


def env_list(name: str, default: str = "") -> list[str]:
    """Return the parts between commas, without spaces around them and without empty ones."""
    return [part.strip() for part in os.environ.get(name, default).split(",") if part.strip()]


def env_origins(name: str) -> list[str]:
    """Return a list of origins as browsers send them: scheme, host and optional port, without a path."""
    origins = env_list(name)
    for origin in origins:
        if not re.fullmatch(r"https?://[^/?#@\s*]+", origin):
            raise ImproperlyConfigured(f"{name} must be origins such as https://shop.example, not {origin!r}.")
    return origins


def env_rate(name: str, default: str) -> str:
    """Return a rate limit as REST framework writes it: 20/min."""
    value = os.environ.get(name, "").strip() or default
    if not re.fullmatch(r"[1-9][0-9]*/[smhd][a-z]*", value):
        raise ImproperlyConfigured(
            f"{name} must be a number per second, minute, hour or day, such as 20/min, not {value!r}."
        )
    return value


def env_database(name: str, default: str) -> dict[str, Any]:
    """Return Django's database settings from a URL. The error does not repeat the value, which may hold a password."""
    try:
        return dict(
            dj_database_url.parse(os.environ.get(name, "").strip() or default, conn_max_age=60, conn_health_checks=True)
        )
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be like postgres://user:password@host/name.") from error


def env_secret(name: str, file: Path) -> str:
    """Return the secret in the environment, else one generated at the first start and stored in `file` (mode 600)."""
    if value := os.environ.get(name):
        return value
    try:
        if not file.exists():
            _generate_secret(file)
        return file.read_text()
    except OSError as error:
        raise ImproperlyConfigured(
            f"{file} cannot be created or read: {error.strerror}. Make the folder writable, or set {name}."
        ) from None


def _generate_secret(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=file.parent, suffix=".part")  # mode 0600
    try:
        with os.fdopen(descriptor, "w") as handle:
            handle.write(secrets.token_urlsafe(50))
        # A hard link fails if the file exists: processes that start together all use the secret of the first one.
        with contextlib.suppress(FileExistsError):
            os.link(draft, file)
    finally:
        Path(draft).unlink()


def socket_path(folder: Path) -> Path:
    """Return the path of Redis's unix socket: in `folder`, or in /tmp if that path exceeds the limit of 107 bytes."""
    inside = folder / "redis.sock"
    if len(os.fsencode(inside)) <= 100:
        return inside
    short = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"clothes-matcher-{short}.sock"
