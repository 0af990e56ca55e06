"""Snapshots are atomic, belong to one encoder, and survive a process that dies while saving."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ml.search import ANY, EncoderMismatch, ExactIndex, IndexUnreadable, Where, build_rows
from ml.search.memory import snapshot
from tests.helpers.errors import raises_code
from tests.helpers.large_index import large_index, require_exact
from tests.helpers.search_contract import seven_garments
from tests.helpers.search_rows import CORNERS, ENCODER, as_tuples, rows_from


@pytest.fixture
def index() -> ExactIndex:
    index = ExactIndex(ENCODER, 4, sealed_at=3)
    for photo in sorted(seven_garments()):
        index.update(rows_from(seven_garments(), [photo]), position={"vector": photo, "change": 3})
    index.compact()
    index.update(build_rows([], [], []), photos=[101])
    return index


def test_a_loaded_index_equals_the_saved_one(index: ExactIndex, tmp_path: Path) -> None:
    generation = snapshot.save(index, tmp_path / "index")
    back = snapshot.load(tmp_path / "index", ENCODER, 4)
    assert snapshot.generation(tmp_path / "index") == generation
    assert (len(back), back.position) == (6, {"vector": 106, "change": 3})
    for where in (ANY, Where(category="hat"), Where(brand="BÄCKER", max_price=6)):
        assert as_tuples(back.search(CORNERS[0], 9, encoder=ENCODER, where=where)) == as_tuples(
            index.search(CORNERS[0], 9, encoder=ENCODER, where=where)
        )


def test_a_loaded_index_can_be_changed_and_saved_again(index: ExactIndex, tmp_path: Path) -> None:
    first = snapshot.save(index, tmp_path)
    back = snapshot.load(tmp_path, ENCODER, 4)
    back.update(build_rows([500], [500], CORNERS[2:3], category="Hat"), items=[2])
    segments = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert snapshot.save(back, tmp_path) != first
    assert len(segments & {path.name for path in tmp_path.iterdir()}) >= 1, "unchanged segments are not written again"
    again = snapshot.load(tmp_path, ENCODER, 4)
    assert [hit.item_id for hit in again.search(CORNERS[2], 9, encoder=ENCODER, where=Where(category="hat"))] == [
        500,
        1,
    ]
    assert not list(tmp_path.rglob("*.part"))


def test_a_large_index_is_mapped_and_exact(tmp_path: Path) -> None:
    index, photos = large_index(9_000)
    snapshot.save(index, tmp_path)
    back = snapshot.load(tmp_path, "e", 64)
    assert all(isinstance(segment.vectors, np.memmap) for segment in back.state.segments)
    require_exact(back, photos, 3, [ANY, Where(category="c0"), Where(category="c4"), Where(min_price=5)])
    assert not back.compact()


def test_an_empty_index_can_be_saved(tmp_path: Path) -> None:
    snapshot.save(ExactIndex(ENCODER, 4), tmp_path)
    assert len(snapshot.load(tmp_path, ENCODER, 4)) == 0


def test_a_missing_snapshot_has_no_generation_and_cannot_be_loaded(tmp_path: Path) -> None:
    assert snapshot.generation(tmp_path / "nowhere") == ""
    with pytest.raises(IndexUnreadable):
        snapshot.load(tmp_path / "nowhere", ENCODER, 4)


@pytest.mark.parametrize(("encoder", "dim"), [("other@1", 4), (ENCODER, 5)])
def test_a_snapshot_of_another_encoder_is_refused(index: ExactIndex, tmp_path: Path, encoder: str, dim: int) -> None:
    snapshot.save(index, tmp_path)
    with raises_code(EncoderMismatch, "encoder_mismatch", "lite0@abc"):
        snapshot.load(tmp_path, encoder, dim)


def test_a_truncated_missing_or_foreign_file_is_unreadable(tmp_path: Path) -> None:
    index, _ = large_index(5000)
    index.update(build_rows([], [], []), photos=[3])
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
def test_a_snapshot_cannot_name_files_outside_its_folder(index: ExactIndex, tmp_path: Path, name: str) -> None:
    snapshot.save(index, tmp_path)
    content = json.loads((tmp_path / "current.json").read_text())
    content["segments"][0]["name"] = name
    (tmp_path / "current.json").write_text(json.dumps(content))
    with pytest.raises(IndexUnreadable):
        snapshot.load(tmp_path, ENCODER, 4)


@pytest.mark.parametrize("step", range(1, 30, 4))
def test_a_failed_save_keeps_the_previous_snapshot(
    index: ExactIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """The write of one file fails, as on a full disk."""
    snapshot.save(index, tmp_path)
    before = snapshot.load(tmp_path, ENCODER, 4).search(CORNERS[0], 9, encoder=ENCODER)
    index.update(build_rows([700, 701], [7, 8], CORNERS[:2]))
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
