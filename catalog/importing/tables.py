"""Reading CSV files as people and programs really write them, one row at a time."""

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
    """A row by its columns. `extra` are the cells beyond the last column, `problem` why it cannot be read."""

    number: int  # of its first line in the file, as an editor counts
    cells: dict[str, str]
    extra: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Table:
    """A CSV file that can be read again and again. The columns are keyed by `column_key` of their title."""

    path: Path  # absolute and without links in its folders, so that what lies beside it can be told from the rest
    encoding: str
    delimiter: str
    titles: tuple[str, ...]  # as they are written

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(column_key(title) for title in self.titles)

    def count(self) -> int:
        return sum(1 for _ in self.rows())

    def rows(self) -> Iterator[TableRow]:
        """Every row but the title and those that are empty. A row that cannot be read does not end the table."""
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
                    named = dict(zip(keys, cells, strict=False))
                    yield TableRow(number, dict.fromkeys(keys, "") | named, tuple(cells[len(keys) :]))


def table_open(path: Path) -> Table:
    """Find out how a CSV file is written. Refused if it cannot be read, or is no table at all."""
    try:
        encoding = _encoding(path)
        with path.open(encoding=encoding, errors="replace", newline="") as file:
            delimiter = _delimiter(file.readline(100_000))
            file.seek(0)
            titles = next(csv.reader(file, delimiter=delimiter), [])
    except OSError as error:
        raise Refused("source_unreadable", f"{path} cannot be read: {error.strerror}.") from error
    except (csv.Error, UnicodeError) as error:
        raise Refused("source_unreadable", f"{path} is not a table: {error}.") from error
    if not any(title.strip() for title in titles):
        raise Refused("source_empty", f"{path} has no title row: its first line must name the columns.")
    if "\0" in "".join(titles):
        raise Refused("source_unreadable", f"{path} is not a table: it holds binary data.")
    return Table(path, encoding, delimiter, tuple(title.strip() for title in titles))


def column_key(title: str) -> str:
    """Titles that a person would take for the same get the same key: `Image Path` and `image_path`."""
    return "_".join(title.strip().casefold().replace("-", " ").replace("_", " ").split())


def _encoding(path: Path) -> str:
    """What the byte order mark says, else UTF-8 if the whole file is that, else what Windows writes."""
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


def _delimiter(line: str) -> str:
    """The one that the title row has most of, outside of quotes; a table of one column has none."""
    outside = "".join(line.split('"')[::2])
    return max(_DELIMITERS, key=outside.count)
