"""Read CSV files row by row, with detection of encoding and delimiter."""

import codecs
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from catalog.errors import Refused

_DELIMITERS = ",;\t|"
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row keyed by normalised header. `extra`: cells beyond the last column; `problem`: why it cannot be read."""

    number: int  # line number of its first line, from 1
    cells: dict[str, str]
    extra: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Table:
    """A CSV file with its detected format; `rows` can be called repeatedly."""

    path: Path  # absolute, symbolic links resolved, so that files outside its folder can be detected
    encoding: str
    delimiter: str
    headers: tuple[str, ...]  # as written in the file

    @property
    def keys(self) -> tuple[str, ...]:
        """The normalised headers."""
        return tuple(normalize_header(header) for header in self.headers)

    def count(self) -> int:
        """The number of non-empty rows, without the header. Reads the whole file."""
        return sum(1 for _ in self.rows())

    def rows(self) -> Iterator[TableRow]:
        """Yield every non-empty row after the header. An unreadable row is yielded with its `problem`."""
        keys = self.keys
        with self.path.open(encoding=self.encoding, errors="replace", newline="") as file:
            reader = csv.reader(file, delimiter=self.delimiter)
            next(reader)
            while True:
                number = reader.line_num + 1
                try:
                    cells = [cell.strip() for cell in next(reader)]
                except StopIteration:
                    return
                except csv.Error as error:
                    yield TableRow(number, {}, problem=str(error))
                    continue
                if any(cells):
                    present = dict(zip(keys, cells, strict=False))
                    yield TableRow(number, dict.fromkeys(keys, "") | present, tuple(cells[len(keys) :]))


def open_table(path: Path) -> Table:
    """Detect encoding, delimiter and headers of a CSV file. Raises `Refused`: `source_unreadable`, `source_empty`."""
    try:
        encoding = _detect_encoding(path)
        with path.open(encoding=encoding, errors="replace", newline="") as file:
            delimiter = _detect_delimiter(file.readline(100_000))
            file.seek(0)
            headers = next(csv.reader(file, delimiter=delimiter), [])
    except OSError as error:
        raise Refused("source_unreadable", f"{path} cannot be read: {error.strerror}.") from error
    except (csv.Error, UnicodeError) as error:
        raise Refused("source_unreadable", f"{path} is not a table: {error}.") from error
    if not any(header.strip() for header in headers):
        raise Refused("source_empty", f"{path} has no title row: its first line must name the columns.")
    if "\0" in "".join(headers):
        raise Refused("source_unreadable", f"{path} is not a table: it holds binary data.")
    return Table(path, encoding, delimiter, tuple(header.strip() for header in headers))


def normalize_header(header: str) -> str:
    """Normalise case, spaces, hyphens and underscores: `Image Path` -> `image_path`."""
    return "_".join(header.strip().casefold().replace("-", " ").replace("_", " ").split())


def _detect_encoding(path: Path) -> str:
    """Use the byte order mark; else UTF-8 if the whole file is valid UTF-8; else Windows-1252."""
    with path.open("rb") as file:
        start = file.read(3)
        for mark, name in _BOMS:
            if start.startswith(mark):
                return name
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            decoder.decode(start)
            while block := file.read(1 << 20):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8"


def _detect_delimiter(line: str) -> str:
    """Pick the delimiter that occurs most often in the header line outside quotes; a comma if none occurs."""
    unquoted = "".join(line.split('"')[::2])
    return max(_DELIMITERS, key=unquoted.count)
