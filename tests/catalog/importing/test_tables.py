"""CSV tables: encoding, delimiter, headers, and rows that are hard to read."""

import csv
from pathlib import Path

import pytest

from catalog.errors import Refused
from catalog.importing.tables import TableRow, open_table
from tests.helpers.errors import raises_code


def table(tmp_path: Path, content: str | bytes) -> list[dict[str, str]]:
    return [row.cells for row in rows(tmp_path, content)]


def rows(tmp_path: Path, content: str | bytes) -> list[TableRow]:
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(open_table(path).rows())


EXPECTED = [{"image": "a.jpg", "name": "Bluse für dich"}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_the_encoding_is_detected(tmp_path: Path, encoding: str) -> None:
    assert table(tmp_path, "image,name\na.jpg,Bluse für dich\n".encode(encoding)) == EXPECTED


def test_the_whole_file_decides_the_encoding(tmp_path: Path) -> None:
    filler = f"b.jpg,{'plain' * 400}\n" * 600

    assert table(tmp_path, f"image,name\n{filler}a.jpg,Bluse für dich".encode("cp1252"))[-1] == EXPECTED[0]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_detected(tmp_path: Path, delimiter: str) -> None:
    text = f'"image"{delimiter}"name"\na.jpg{delimiter}"Bluse für dich"\n'

    assert table(tmp_path, text) == EXPECTED


def test_headers_are_normalised(tmp_path: Path) -> None:
    assert table(tmp_path, " Image-Path ;NAME\n1;2") == [{"image_path": "1", "name": "2"}]


def test_a_quoted_cell_can_span_lines(tmp_path: Path) -> None:
    table_rows = rows(tmp_path, 'image,name\n"a.jpg","two\nlines, one cell"\nb.jpg,next\n')

    assert [row.cells["name"] for row in table_rows] == ["two\nlines, one cell", "next"]
    assert [row.number for row in table_rows] == [2, 4]


def test_empty_rows_are_skipped_and_missing_cells_are_empty(tmp_path: Path) -> None:
    assert table(tmp_path, "image,name\n\n , \na.jpg\n,,\n") == [{"image": "a.jpg", "name": ""}]


def test_cells_beyond_the_last_column_are_extra(tmp_path: Path) -> None:
    assert rows(tmp_path, "image\na.jpg,b,c")[0].extra == ("b", "c")


def test_an_unreadable_row_does_not_end_the_table(tmp_path: Path) -> None:
    endless = "x" * (csv.field_size_limit() + 1)

    table_rows = rows(tmp_path, f"image,name\na.jpg,{endless}\nb.jpg,next\n")

    assert [bool(row.problem) for row in table_rows] == [True, False]
    assert table_rows[1].cells["image"] == "b.jpg"


def test_count_counts_rows_not_lines(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text('image,name\na.jpg,"x\ny"\n\nb.jpg,z')

    assert open_table(tmp_path / "table.csv").count() == 2


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "source_empty"), (b"\n\n", "source_empty"), (b"PK\x03\x04\0\0,\0\0", "source_unreadable")],
)
def test_an_empty_or_binary_file_is_refused(tmp_path: Path, content: bytes, code: str) -> None:
    with raises_code(Refused, code):
        rows(tmp_path, content)
