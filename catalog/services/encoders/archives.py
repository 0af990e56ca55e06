"""Encoder folders as zip files: out to another site, and in from anywhere.

An archive is judged by its list of contents before a byte of it is unpacked, and what is unpacked is checked by a
process of its own before the site knows of it. Until then it lies in a folder ending in ".part".
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
NOT_OURS = "__MACOSX"  # what a Mac puts beside the folder it packs
MAX_ENTRIES = 32
TAIL = 22 + 20  # the last bytes of an archive without a comment: its end, and before it the mark of a zip64
CHUNK = 1 << 20
CHECK_SECONDS = 120
CHECK_MEMORY = 8 << 30  # bytes of address space: a network may ask for any amount, and the machine has other work
STALE_SECONDS = 3600  # what is still ".part" by then was left by a process that died


def encoder_upload(*, archive: IO[bytes], name: str = "") -> Encoder:
    """Unpack, check and register an archive that may come from anywhere. Refused leaves nothing behind.

    `name`: what to call the encoder; "" takes the name in its card.
    """
    if name:
        _require_free(name)
    entries = _entries_of(archive)
    part = settings.ENCODER_DIRS[0] / f"{uuid.uuid4().hex}.part"
    _clear_stale(part.parent)
    try:
        _unpack(archive, entries, part)
        card = _checked_card(part)
        if not name:
            _require_free(card["name"])
        return _registered(part, card, name or card["name"])
    except OSError as error:
        raise Refused("disk", f"The encoder cannot be kept here: {error.strerror or error}.", status=507) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def encoder_download(*, encoder: Encoder) -> Iterator[bytes]:
    """The folder as a zip, piece by piece, not made smaller: weights do not shrink. Refused if it is gone."""
    try:
        folder = encoder.folder
    except FileNotFoundError as error:
        raise Refused("encoder_folder", str(error), status=404) from None
    if missing := [name for name in FOLDER_FILES if not (folder / name).is_file()]:
        raise Refused("encoder_folder", f"The folder of {encoder} lacks {missing[0]}.", status=404)
    return _zipped(folder, encoder.name)


def _entries_of(archive: IO[bytes]) -> dict[str, zipfile.ZipInfo]:
    """The three files by name, from a list of contents that holds nothing else."""
    _refuse_long_list(archive)
    try:
        with zipfile.ZipFile(archive) as opened:
            listed = opened.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError):
        raise _no_archive() from None
    found: dict[str, zipfile.ZipInfo] = {}
    tops = set()
    for entry in listed:
        top, name = _place(entry)
        if top == NOT_OURS or name in IGNORED:
            continue
        tops.add(top)
        if name and (name not in FOLDER_FILES or name in found):
            raise Refused(
                "archive", f"The archive holds {_shown(entry)}. It may hold {', '.join(FOLDER_FILES)}, once each."
            )
        if name:
            _require_plain(entry)
            found[name] = entry
    if len(tops) > 1:
        raise Refused("archive", "The archive holds more than one folder. Pack one encoder alone.")
    if missing := [name for name in FOLDER_FILES if name not in found]:
        raise Refused("archive", f"The archive has no {' and no '.join(missing)}.")
    if sum(entry.file_size for entry in found.values()) > _max_bytes():
        raise Refused("archive", f"Unpacked it is larger than {settings.ENCODER_MAX_MB} MB, the most we take.")
    return found


def _refuse_long_list(archive: IO[bytes]) -> None:
    """Python reads a whole list of contents, which could fill the memory; its length is told at the very end."""
    size = archive.seek(0, os.SEEK_END)
    archive.seek(max(0, size - TAIL))
    tail = archive.read(TAIL)
    end = tail[-22:]
    if size < TAIL or not end.startswith(b"PK\x05\x06") or not end.endswith(b"\0\0"):
        raise _no_archive()
    entries, length = int.from_bytes(end[10:12], "little"), int.from_bytes(end[12:16], "little")
    if tail.startswith(b"PK\x06\x07") or entries > MAX_ENTRIES or length > MAX_ENTRIES * 1024:
        raise Refused("archive", f"The archive holds far more than {', '.join(FOLDER_FILES)}.")


def _place(entry: zipfile.ZipInfo) -> tuple[str, str]:
    """The top folder of an entry and its name there, each "" if it has none."""
    path = PurePosixPath(entry.orig_filename)
    unsafe = path.is_absolute() or ".." in path.parts or re.search(r"[\\:\x00-\x1f]", entry.orig_filename)
    if unsafe or not path.parts:
        raise Refused("archive", f"The archive names a file {_shown(entry)}, outside of its own folder.")
    if path.parts[0] == NOT_OURS:
        return NOT_OURS, ""
    if len(path.parts) > 2:
        raise Refused("archive", f"The archive holds {_shown(entry)}, which lies too deep.")
    if entry.is_dir():
        if len(path.parts) == 1:
            return path.parts[0], ""
        raise Refused("archive", f"The archive holds a folder {_shown(entry)}.")
    return (path.parts[0] if len(path.parts) == 2 else ""), path.parts[-1]


def _require_plain(entry: zipfile.ZipInfo) -> None:
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise Refused("archive", f"{_shown(entry)} is a link or a device, not a file.")
    if entry.flag_bits & 1:
        raise Refused("archive", f"{_shown(entry)} is encrypted.")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Refused("archive", f"{_shown(entry)} is packed in a way that few programs know.")


def _unpack(archive: IO[bytes], entries: dict[str, zipfile.ZipInfo], folder: Path) -> None:
    """Write the files under their own names, never under those of the archive, and never more than it announced."""
    folder.mkdir(parents=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            for name, entry in entries.items():
                with opened.open(entry) as source, (folder / name).open("xb") as target:
                    shutil.copyfileobj(source, target, CHUNK)  # ends with an error where the checksum is another
                    target.flush()
                    os.fsync(target.fileno())
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError):
        raise Refused("archive", "The archive is damaged: it cannot be unpacked.") from None


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
        place = f" {str(folder)!r}"  # the temporary path is of no use to the sender
        raise Refused("encoder_unusable", result.error_line.replace(f" in{place}", "").replace(place, ""))
    raise Refused("encoder_unusable", "The check of this encoder broke off: its network asks for too much, or crashes.")


def _require_free(name: str) -> None:
    if not is_encoder_name(name) or name.endswith(".part"):
        raise Refused("encoder_name", "A name is made of letters, digits, dot, dash and underscore, 100 at most.")
    if TrainingRun.objects.filter(name=name, encoder=None).exists():
        raise Refused("encoder_name_taken", f"{name!r} is the name of a training run. Give the encoder another name.")


def _registered(part: Path, card: dict[str, Any], name: str) -> Encoder:
    """Move the checked folder to where the workers look, unless the very same lies there already."""
    target: Path = settings.ENCODER_DIRS[0] / name
    here = [place / name for place in settings.ENCODER_DIRS if (place / name).exists()]
    known = Encoder.objects.filter(name=name).first()
    others = [known.card.get("files")] if known else [_hashes(folder) for folder in here]
    if any(files != card["files"] for files in others):
        raise Refused("encoder_name_taken", f"Another encoder is called {name!r}. Give this one another name.")
    if here:
        return encoder_register(folder=here[0], card=card)
    part.rename(target)
    try:
        return encoder_register(folder=target, card=card)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def _hashes(folder: Path) -> dict[str, str]:
    return {path.name: file_sha256(path) for path in (folder / name for name in DATA_FILES) if path.is_file()}


def _clear_stale(place: Path) -> None:
    for part in place.glob("*.part"):
        if re.fullmatch(r"[0-9a-f]{32}\.part", part.name) and part.stat().st_mtime < time.time() - STALE_SECONDS:
            shutil.rmtree(part, ignore_errors=True)


class _Sink:
    """What a zip is written to: a list that is emptied after each piece. It cannot seek, so nothing is corrected."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        """For zipfile, which asks for it."""

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


def _zipped(folder: Path, name: str) -> Iterator[bytes]:
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]  # write and flush do
        for file in FOLDER_FILES:
            with (folder / file).open("rb") as source, archive.open(f"{name}/{file}", "w") as target:
                while piece := source.read(CHUNK):
                    target.write(piece)
                    yield sink.take()
    yield sink.take()


def _max_bytes() -> int:
    return int(settings.ENCODER_MAX_MB) << 20


def _no_archive() -> Refused:
    return Refused("archive", "This is not a zip file, or not all of it. It must be a plain one, without a comment.")


def _shown(entry: zipfile.ZipInfo) -> str:
    return repr(entry.orig_filename[:80])
