"""Writing the sample catalogue: atomic, resumable, the same in several processes."""

import csv
from pathlib import Path

import pytest
from PIL import Image

from demo.sample import draw_photo, sample_items, write, write_sample


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Each file's inode and content: a rewritten file changes one of them."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_ino, path.read_bytes()) for path in files}


def test_the_table_has_one_row_per_photo_and_names_files_that_exist(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "new" / "sample", 3)
    rows = read(path)
    assert path == tmp_path / "new" / "sample" / "items.csv"
    assert [row["item"] for row in rows] == [item.external_id for item in sample_items(3) for _ in range(2)]
    for row in rows:
        with Image.open(path.parent / row["image"]) as image:
            assert (image.format, image.size) == ("JPEG", (300, 400))
    assert len({row["image"] for row in rows}) == 6


def test_the_table_has_the_values_of_the_items(tmp_path: Path) -> None:
    row, item = read(write_sample(tmp_path, 1))[0], sample_items(1)[0]
    assert list(row)[:9] == ["item", "image", "name", "category", "brand", "gender", "colour", "price", "currency"]
    assert (row["name"], row["category"], row["price"], row["currency"]) == (
        item.name,
        item.category,
        str(item.price),
        "EUR",
    )
    assert {name: row[name] for name in item.attributes} == item.attributes


def test_the_written_photo_is_the_drawn_one_after_jpeg(tmp_path: Path) -> None:
    write_sample(tmp_path, 1)
    expected = tmp_path / "expected.jpg"
    draw_photo(sample_items(1)[0], 1).save(expected, quality=90)
    assert (tmp_path / "images" / "sample-0001-1.jpg").read_bytes() == expected.read_bytes()


def test_a_second_call_changes_nothing_and_draws_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sample(tmp_path, 2)
    before = state(tmp_path)
    monkeypatch.setattr(write, "draw_photo", lambda *_: pytest.fail("drew a photo that was there"))
    write_sample(tmp_path, 2, progress=lambda done, total: pytest.fail("reported progress on nothing"))
    assert state(tmp_path) == before


def test_an_interrupted_call_is_resumed_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def power_cut(item: object, view: int) -> Image.Image:
        calls.append(view)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return draw_photo(item, view)  # type: ignore[arg-type]

    monkeypatch.setattr(write, "draw_photo", power_cut)
    with pytest.raises(KeyboardInterrupt):
        write_sample(tmp_path, 3)
    assert not (tmp_path / "items.csv").exists()
    kept = state(tmp_path)
    assert len(kept) == 3

    monkeypatch.setattr(write, "draw_photo", draw_photo)
    write_sample(tmp_path, 3)
    after = state(tmp_path)
    assert len(after) == 7
    assert kept.items() <= after.items()


def test_a_missing_photo_is_drawn_again_while_the_table_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_sample(tmp_path, 2)
    lost = tmp_path / "images" / "sample-0002-0.jpg"
    content = lost.read_bytes()
    lost.unlink()
    table_seen = []
    monkeypatch.setattr(write, "draw_photo", lambda *photo: table_seen.append(path.exists()) or draw_photo(*photo))
    write_sample(tmp_path, 2)
    assert table_seen == [False]
    assert lost.read_bytes() == content
    assert path.exists()


def test_no_unfinished_file_is_left(tmp_path: Path) -> None:
    write_sample(tmp_path, 1)
    assert not list(tmp_path.rglob("*.part"))


def test_a_longer_catalogue_keeps_the_photos_of_a_shorter_one(tmp_path: Path) -> None:
    write_sample(tmp_path, 1)
    before = state(tmp_path / "images")
    assert len(read(write_sample(tmp_path, 2))) == 4
    assert before.items() <= state(tmp_path / "images").items()


def test_progress_counts_up_to_every_photo(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_sample(tmp_path, 5, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (10, 10)
    assert seen == sorted(seen)


def test_several_processes_write_the_same_files_as_one(tmp_path: Path) -> None:
    path = write_sample(tmp_path, 18)  # more than four batches
    last = sample_items(18)[-1]
    expected = tmp_path / "expected.jpg"
    draw_photo(last, 1).save(expected, quality=90)
    assert len(read(path)) == 36
    assert (tmp_path / write.image_name(last, 1)).read_bytes() == expected.read_bytes()
