"""Download and upload encoder folders as zip archives. Uploads are untrusted.

The list of contents is checked before anything is unpacked (zip bombs, path traversal, links), and a child process
checks the unpacked files before the encoder is registered. Until then they are in a folder that ends in ".part".
"""

import json
import os
import re
import shutil
import stat
import time
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from django.conf import settings

from catalog.errors import Refused
from catalog.ml_cli import BAD_INPUT, MlTimeout, run_ml
from catalog.models import Encoder, TrainingRun
from catalog.services.encoders.register import encoder_register
from ml.formats.encoder_folder import DATA_FILES, FOLDER_FILES, file_sha256, is_encoder_name

IGNORED = ("README", "README.md", "README.txt", ".DS_Store")
MAC_FOLDER = "__MACOSX"  # metadata that macOS adds beside the packed folder
MAX_ENTRIES = 32
TAIL = 22 + 20  # bytes: the end record of a zip without a comment, and before it the locator of a zip64
CHUNK = 1 << 20
CHECK_SECONDS = 120
CHECK_MEMORY = 8 << 30  # bytes of address space: a network may allocate any amount, and other processes need memory
STALE_SECONDS = 3600  # an older ".part" folder was left by a process that died


def encoder_upload(*, archive: IO[bytes], name: str = "") -> Encoder:
    """Unpack, check and register an untrusted archive, as a candidate. An error leaves no files and no row.

    `name` "" takes the name in the card. Idempotent: an encoder with the same name and files is returned unchanged.

    Raises `Refused`: `archive` for a bad zip; `encoder_unusable` when the check fails; `encoder_name`,
    `encoder_name_taken`; `disk` (507).
    """
    if name:
        _require_free(name)
    entries = _checked_entries(archive)
    part = settings.ENCODER_DIRS[0] / f"{uuid.uuid4().hex}.part"
    _clear_stale(part.parent)
    try:
        _unpack(archive, entries, part)
        card = _checked_card(part)
        if not name:
            _require_free(card["name"])
        return _register(part, card, name or card["name"])
    except OSError as error:
        raise Refused("disk", f"The encoder cannot be stored: {error.strerror or error}.", status=507) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def encoder_download(*, encoder: Encoder) -> Iterator[bytes]:
    """Stream the encoder folder as a zip without compression, because weights are incompressible.

    Raises `Refused`: `encoder_folder` (404) when the folder or a file is missing.
    """
    try:
        folder = encoder.folder
    except FileNotFoundError as error:
        raise Refused("encoder_folder", str(error), status=404) from None
    if missing := [name for name in FOLDER_FILES if not (folder / name).is_file()]:
        raise Refused("encoder_folder", f"The folder of {encoder} lacks {missing[0]}.", status=404)
    return _zip_chunks(folder, encoder.name)


def _checked_entries(archive: IO[bytes]) -> dict[str, zipfile.ZipInfo]:
    """The entries of `FOLDER_FILES` by name. Raises `Refused` for any other contents."""
    _check_length_of_contents(archive)
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = opened.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError):
        raise _not_a_zip() from None
    files: dict[str, zipfile.ZipInfo] = {}
    folders = set()
    for entry in entries:
        folder, name = _split_path(entry)
        if folder == MAC_FOLDER or name in IGNORED:
            continue
        folders.add(folder)
        if name and (name not in FOLDER_FILES or name in files):
            raise Refused(
                "archive", f"The archive holds {_quoted(entry)}. It may hold {', '.join(FOLDER_FILES)}, once each."
            )
        if name:
            _require_plain(entry)
            files[name] = entry
    if len(folders) > 1:
        raise Refused("archive", "The archive holds more than one folder. Pack a single encoder.")
    if missing := [name for name in FOLDER_FILES if name not in files]:
        raise Refused("archive", f"The archive has no {' and no '.join(missing)}.")
    if sum(entry.file_size for entry in files.values()) > _max_bytes():
        raise Refused(
            "archive", f"The unpacked files are larger than {settings.ENCODER_MAX_MB} MB, the limit of this site."
        )
    return files


def _check_length_of_contents(archive: IO[bytes]) -> None:
    """Refuse a long list of contents by the end record: `zipfile` would read all of it into memory."""
    size = archive.seek(0, os.SEEK_END)
    archive.seek(max(0, size - TAIL))
    tail = archive.read(TAIL)
    end = tail[-22:]
    if size < TAIL or not end.startswith(b"PK\x05\x06") or not end.endswith(b"\0\0"):
        raise _not_a_zip()
    entries, length = int.from_bytes(end[10:12], "little"), int.from_bytes(end[12:16], "little")
    if tail.startswith(b"PK\x06\x07") or entries > MAX_ENTRIES or length > MAX_ENTRIES * 1024:
        raise Refused("archive", f"The archive holds far more than {', '.join(FOLDER_FILES)}.")


def _split_path(entry: zipfile.ZipInfo) -> tuple[str, str]:
    """The folder of an entry and its name in it, each "" if there is none. Raises `Refused` for unsafe paths."""
    path = PurePosixPath(entry.orig_filename)
    unsafe = path.is_absolute() or ".." in path.parts or re.search(r"[\\:\x00-\x1f]", entry.orig_filename)
    if unsafe or not path.parts:
        raise Refused("archive", f"The archive names a file {_quoted(entry)}, outside of its folder.")
    if path.parts[0] == MAC_FOLDER:
        return MAC_FOLDER, ""
    if len(path.parts) > 2:
        raise Refused(
            "archive",
            f"The archive holds {_quoted(entry)}, nested too deep. Put the files at the top, or in one folder.",
        )
    if entry.is_dir():
        if len(path.parts) == 1:
            return path.parts[0], ""
        raise Refused("archive", f"The archive holds a folder {_quoted(entry)}.")
    return (path.parts[0] if len(path.parts) == 2 else ""), path.parts[-1]


def _require_plain(entry: zipfile.ZipInfo) -> None:
    """Raise `Refused` unless the entry is a regular, unencrypted file, stored or deflated."""
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise Refused("archive", f"{_quoted(entry)} is a link or a device, not a file.")
    if entry.flag_bits & 1:
        raise Refused("archive", f"{_quoted(entry)} is encrypted.")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Refused("archive", f"{_quoted(entry)} is compressed with an unsupported method. Store or deflate it.")


def _unpack(archive: IO[bytes], entries: dict[str, zipfile.ZipInfo], folder: Path) -> None:
    """Write the files under our names, not those of the archive, and at most the announced size. Raises `Refused`."""
    folder.mkdir(parents=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            for name, entry in entries.items():
                with opened.open(entry) as source, (folder / name).open("xb") as target:
                    shutil.copyfileobj(source, target, CHUNK)  # raises an error for a wrong checksum
                    target.flush()
                    os.fsync(target.fileno())
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError):
        raise Refused(
            "archive", "The archive is damaged and cannot be unpacked. Please pack and upload it again."
        ) from None


def _checked_card(folder: Path) -> dict[str, Any]:
    """Return the card of a folder after a child process has checked every file and run the network once.

    Raises `Refused` with the check's message if the folder is not sound.
    """
    try:
        result = run_ml("check-encoder", str(folder), "--threads", "1", seconds=CHECK_SECONDS, memory=CHECK_MEMORY)
    except MlTimeout:
        raise Refused("encoder_unusable", f"The check of this encoder took over {CHECK_SECONDS} seconds.") from None
    if result.exit_code == 0:
        card: dict[str, Any] = json.loads(result.stdout)
        return card
    if result.exit_code == BAD_INPUT:
        path = f" {str(folder)!r}"  # the temporary path is of no use to the sender
        raise Refused("encoder_unusable", result.error_line.replace(f" in{path}", "").replace(path, ""))
    raise Refused(
        "encoder_unusable",
        "The check of this encoder crashed, or ran out of memory: the network is too large or broken.",
    )


def _require_free(name: str) -> None:
    if not is_encoder_name(name) or name.endswith(".part"):
        raise Refused(
            "encoder_name",
            "Use only letters, digits, dots, dashes and underscores in the name, 100 characters at most.",
        )
    if TrainingRun.objects.filter(name=name, encoder=None).exists():
        raise Refused("encoder_name_taken", f"{name!r} is the name of a training run. Give the encoder another name.")


def _register(part: Path, card: dict[str, Any], name: str) -> Encoder:
    """Move the checked folder into `ENCODER_DIRS[0]`, unless the same files are there already, and register it."""
    target: Path = settings.ENCODER_DIRS[0] / name
    existing = [folder / name for folder in settings.ENCODER_DIRS if (folder / name).exists()]
    encoder = Encoder.objects.filter(name=name).first()
    hashes = [encoder.card.get("files")] if encoder else [_hashes(folder) for folder in existing]
    if any(files != card["files"] for files in hashes):
        raise Refused("encoder_name_taken", f"Another encoder is called {name!r}. Give this one another name.")
    if existing:
        return encoder_register(folder=existing[0], card=card)
    part.rename(target)
    try:
        return encoder_register(folder=target, card=card)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def _hashes(folder: Path) -> dict[str, str]:
    return {path.name: file_sha256(path) for path in (folder / name for name in DATA_FILES) if path.is_file()}


def _clear_stale(encoder_dir: Path) -> None:
    for part in encoder_dir.glob("*.part"):
        if re.fullmatch(r"[0-9a-f]{32}\.part", part.name) and part.stat().st_mtime < time.time() - STALE_SECONDS:
            shutil.rmtree(part, ignore_errors=True)


class _Sink:
    """Write-only output of `zipfile`, read in chunks. It cannot seek, so `zipfile` writes a streamed archive."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    def write(self, chunk: bytes) -> int:
        self._chunks.append(bytes(chunk))
        return len(chunk)

    def flush(self) -> None:
        """Do nothing; `zipfile` calls it."""

    def take(self) -> bytes:
        """Return and drop the bytes written since the last call."""
        chunks = b"".join(self._chunks)
        self._chunks.clear()
        return chunks


def _zip_chunks(folder: Path, name: str) -> Iterator[bytes]:
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]  # write and flush suffice
        for file in FOLDER_FILES:
            with (folder / file).open("rb") as source, archive.open(f"{name}/{file}", "w") as target:
                while chunk := source.read(CHUNK):
                    target.write(chunk)
                    yield sink.take()
    yield sink.take()


def _max_bytes() -> int:
    return int(settings.ENCODER_MAX_MB) << 20


def _not_a_zip() -> Refused:
    return Refused(
        "archive", "This is not a complete zip file, or it has an archive comment. Please pack the folder again."
    )


def _quoted(entry: zipfile.ZipInfo) -> str:
    return repr(entry.orig_filename[:80])
