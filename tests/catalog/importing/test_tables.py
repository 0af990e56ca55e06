import csv
from pathlib import Path

import pytest

from catalog.errors import Refused
from catalog.importing.tables import TableRow, table_open


def table(tmp_path: Path, content: str | bytes) -> list[dict[str, str]]:
    return [row.cells for row in rows(tmp_path, content)]


def rows(tmp_path: Path, content: str | bytes) -> list[TableRow]:
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(table_open(path).rows())


WANTED = [{"image": "a.jpg", "name": "Bluse für dich"}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_the_encoding_is_found_out(tmp_path: Path, encoding: str) -> None:
    assert table(tmp_path, "image,name\na.jpg,Bluse für dich\n".encode(encoding)) == WANTED


def test_a_letter_beyond_the_first_block_still_decides_the_encoding(tmp_path: Path) -> None:
    filler = f"b.jpg,{'plain' * 400}\n" * 600

    assert table(tmp_path, f"image,name\n{filler}a.jpg,Bluse für dich".encode("cp1252"))[-1] == WANTED[0]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_out(tmp_path: Path, delimiter: str) -> None:
    text = f'"image"{delimiter}"name"\na.jpg{delimiter}"Bluse für dich"\n'

    assert table(tmp_path, text) == WANTED


def test_titles_are_known_by_any_spelling(tmp_path: Path) -> None:
    assert table(tmp_path, " Image-Path ;NAME\n1;2") == [{"image_path": "1", "name": "2"}]


def test_a_quoted_cell_may_go_over_lines(tmp_path: Path) -> None:
    found = rows(tmp_path, 'image,name\n"a.jpg","two\nlines, one cell"\nb.jpg,next\n')

    assert [row.cells["name"] for row in found] == ["two\nlines, one cell", "next"]
    assert [row.number for row in found] == [2, 4]


def test_empty_rows_are_left_out_and_missing_cells_are_empty(tmp_path: Path) -> None:
    assert table(tmp_path, "image,name\n\n , \na.jpg\n,,\n") == [{"image": "a.jpg", "name": ""}]


def test_cells_beyond_the_last_column_are_kept_apart(tmp_path: Path) -> None:
    assert rows(tmp_path, "image\na.jpg,b,c")[0].extra == ("b", "c")


def test_a_row_that_cannot_be_read_does_not_end_the_table(tmp_path: Path) -> None:
    endless = "x" * (csv.field_size_limit() + 1)

    found = rows(tmp_path, f"image,name\na.jpg,{endless}\nb.jpg,next\n")

    assert [bool(row.problem) for row in found] == [True, False]
    assert found[1].cells["image"] == "b.jpg"


def test_the_count_is_that_of_the_rows(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text('image,name\na.jpg,"x\ny"\n\nb.jpg,z')

    assert table_open(tmp_path / "table.csv").count() == 2


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "source_empty"), (b"\n\n", "source_empty"), (b"PK\x03\x04\0\0,\0\0", "source_unreadable")],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes, code: str) -> None:
    with pytest.raises(Refused) as caught:
        rows(tmp_path, content)

    assert caught.value.code == code
