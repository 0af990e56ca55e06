"""Indexes in files: whole or not there, of the right encoder, and nothing lost when a process dies."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ml.search import ANY, EncoderMismatch, ExactIndex, IndexUnreadable, Where, rows_of
from ml.search.memory import snapshot
from tests.helpers.search_contract import seven_garments
from tests.helpers.search_rows import CORNERS, ENCODER, rows_from, told
from tests.ml.search.memory.test_changes import large, require_right


@pytest.fixture
def index() -> ExactIndex:
    index = ExactIndex(ENCODER, 4, sealed_at=3)
    for photo in sorted(seven_garments()):
        index.update(rows_from(seven_garments(), [photo]), position={"vector": photo, "change": 3})
    index.compact()
    index.update(rows_of([], [], []), photos=[101])
    return index


def test_an_index_comes_back_as_it_was(index: ExactIndex, tmp_path: Path) -> None:
    generation = snapshot.save(index, tmp_path / "index")
    back = snapshot.load(tmp_path / "index", ENCODER, 4)
    assert snapshot.generation(tmp_path / "index") == generation
    assert (len(back), back.position) == (6, {"vector": 106, "change": 3})
    for where in (ANY, Where(category="hat"), Where(brand="BÄCKER", max_price=6)):
        assert told(back.search(CORNERS[0], 9, encoder=ENCODER, where=where)) == told(
            index.search(CORNERS[0], 9, encoder=ENCODER, where=where)
        )


def test_it_can_be_changed_afterwards_and_saved_again(index: ExactIndex, tmp_path: Path) -> None:
    first = snapshot.save(index, tmp_path)
    back = snapshot.load(tmp_path, ENCODER, 4)
    back.update(rows_of([500], [500], CORNERS[2:3], category="Hat"), items=[2])
    segments = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert snapshot.save(back, tmp_path) != first
    assert len(segments & {path.name for path in tmp_path.iterdir()}) >= 1, "what has not changed is not written again"
    again = snapshot.load(tmp_path, ENCODER, 4)
    assert [hit.item_id for hit in again.search(CORNERS[2], 9, encoder=ENCODER, where=Where(category="hat"))] == [
        500,
        1,
    ]
    assert not list(tmp_path.rglob("*.part"))


def test_a_large_one_is_mapped_and_right(tmp_path: Path) -> None:
    index, photos = large(9_000)
    snapshot.save(index, tmp_path)
    back = snapshot.load(tmp_path, "e", 64)
    assert all(isinstance(segment.vectors, np.memmap) for segment in back.state.segments)
    require_right(back, photos, 3, [ANY, Where(category="c0"), Where(category="c4"), Where(min_price=5)])
    assert not back.compact()


def test_an_empty_index_can_be_saved(tmp_path: Path) -> None:
    snapshot.save(ExactIndex(ENCODER, 4), tmp_path)
    assert len(snapshot.load(tmp_path, ENCODER, 4)) == 0


def test_where_there_is_none(tmp_path: Path) -> None:
    assert snapshot.generation(tmp_path / "nowhere") == ""
    with pytest.raises(IndexUnreadable):
        snapshot.load(tmp_path / "nowhere", ENCODER, 4)


@pytest.mark.parametrize(("encoder", "dim"), [("other@1", 4), (ENCODER, 5)])
def test_that_of_another_encoder_is_refused(index: ExactIndex, tmp_path: Path, encoder: str, dim: int) -> None:
    snapshot.save(index, tmp_path)
    with pytest.raises(EncoderMismatch, match="lite0@abc"):
        snapshot.load(tmp_path, encoder, dim)


def test_any_file_that_is_cut_off_missing_or_something_else_is_told(tmp_path: Path) -> None:
    index, _ = large(5000)
    index.update(rows_of([], [], []), photos=[3])
    snapshot.save(index, tmp_path / "whole")
    files = [path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file()]
    assert len(files) > 12
    for path in files:
        for spoil in ("cut", "missing", "other"):
            shutil.copytree(tmp_path / "whole", tmp_path / "spoilt")
            file = tmp_path / "spoilt" / path
            content = file.read_bytes()
            file.unlink()
            if spoil == "cut":
                file.write_bytes(content[: len(content) * 2 // 3])
            elif spoil == "other":
                np.save(file.open("wb"), np.array([{"code": 1}], dtype=object), allow_pickle=True)
            with pytest.raises(IndexUnreadable):
                snapshot.load(tmp_path / "spoilt", "e", 64)
            shutil.rmtree(tmp_path / "spoilt")


@pytest.mark.parametrize("name", ["../elsewhere", "/etc", "a/b"])
def test_it_reads_nothing_outside_of_its_folder(index: ExactIndex, tmp_path: Path, name: str) -> None:
    snapshot.save(index, tmp_path)
    content = json.loads((tmp_path / "current.json").read_text())
    content["segments"][0]["name"] = name
    (tmp_path / "current.json").write_text(json.dumps(content))
    with pytest.raises(IndexUnreadable):
        snapshot.load(tmp_path, ENCODER, 4)


@pytest.mark.parametrize("step", range(1, 30, 4))
def test_a_save_that_fails_half_way_leaves_the_one_before(
    index: ExactIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """As on a full disk: one of the files cannot be written."""
    snapshot.save(index, tmp_path)
    before = snapshot.load(tmp_path, ENCODER, 4).search(CORNERS[0], 9, encoder=ENCODER)
    index.update(rows_of([700, 701], [7, 8], CORNERS[:2]))
    save, written = np.save, []

    def fail(path: Path, array: np.ndarray, allow_pickle: bool) -> None:
        written.append(path)
        if len(written) >= step:
            raise OSError(28, "No space left on device")
        save(path, array, allow_pickle=allow_pickle)

    monkeypatch.setattr(np, "save", fail)
    if step <= 12:  # the arrays of the new segment
        with pytest.raises(OSError, match="No space"):
            snapshot.save(index, tmp_path)
        assert snapshot.load(tmp_path, ENCODER, 4).search(CORNERS[0], 9, encoder=ENCODER) == before
        assert not list(tmp_path.rglob("*.part"))
    monkeypatch.setattr(np, "save", save)
    snapshot.save(index, tmp_path)
    assert len(snapshot.load(tmp_path, ENCODER, 4)) == len(index)
