import pytest

from ml.formats.manifest_csv import ManifestError, read_rows, write_rows
from tests.helpers.errors import raises_code

COLUMNS = ("path", "label", "item", "split", "box")
ROWS = [
    {"path": "a, b.jpg", "label": 'Hat "felt"', "item": "1", "split": "train", "box": ""},
    {"path": "c\nd.jpg", "label": "Ż", "item": "2", "split": "val", "box": "0,0,9,9"},
]


def test_written_rows_are_read_back(tmp_path):
    write_rows(tmp_path / "m.csv", COLUMNS, ROWS)
    assert list(read_rows(tmp_path / "m.csv")) == ROWS
    assert [path.name for path in tmp_path.iterdir()] == ["m.csv"]


def test_columns_may_come_in_any_order_and_with_a_byte_order_mark(tmp_path):
    (tmp_path / "m.csv").write_text("\ufeffsplit,item,label,path\ntest,b,Hat,a.jpg\n", encoding="utf-8")
    assert list(read_rows(tmp_path / "m.csv")) == [{"path": "a.jpg", "label": "Hat", "item": "b", "split": "test"}]


@pytest.mark.parametrize(
    ("content", "code", "value"),
    [
        (b"", "column_missing", "path, label, item, split"),
        (b"path,label,split\n", "column_missing", "item"),
        (b"path,label,item,split\na.jpg,Hat,a\n", "line_malformed", "Line 2"),
        (b"path,label,item,split\na.jpg,Hat,a,train,more\n", "line_malformed", "Line 2"),
        (b"path,label,item,split\na.jpg,,a,train\n", "value_empty", "label"),
        (b"path,label,item,split\na.jpg,Hat, ,train\n", "value_empty", "item"),
        (b'path,label,item,split\n"a.jpg,Hat,a,train\n', "manifest_not_csv", "m.csv"),
        (b"path,label,item,split\n\xff,Hat,a,train\n", "manifest_not_csv", "m.csv"),
        (b"path,label,item,split\n" + b"a" * 200_000 + b",Hat,a,train\n", "manifest_not_csv", "m.csv"),
    ],
)
def test_a_file_that_is_no_manifest_is_refused(tmp_path, content, code, value):
    (tmp_path / "m.csv").write_bytes(content)
    with raises_code(ManifestError, code, value):
        list(read_rows(tmp_path / "m.csv"))


def test_a_missing_file_is_refused(tmp_path):
    with raises_code(ManifestError, "manifest_unreadable", "none.csv"):
        list(read_rows(tmp_path / "none.csv"))


def test_a_reader_that_takes_the_errors_gets_the_well_formed_lines(tmp_path):
    (tmp_path / "m.csv").write_text("path,label,item,split\na.jpg,Hat\nb.jpg,Hat,b,dev\nc.jpg,,c,test\n")
    errors = []
    assert [row["path"] for row in read_rows(tmp_path / "m.csv", errors.append)] == ["b.jpg"]
    assert [error.code for error in errors] == ["line_malformed", "value_empty"]


def test_a_row_without_a_column_leaves_the_old_file(tmp_path):
    write_rows(tmp_path / "m.csv", COLUMNS, ROWS)
    with pytest.raises(KeyError):
        write_rows(tmp_path / "m.csv", COLUMNS, [ROWS[0], {"path": "c.jpg"}])
    assert list(read_rows(tmp_path / "m.csv")) == ROWS
