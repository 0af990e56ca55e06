import io
import threading

import numpy as np
import pytest
from PIL import Image

from ml.formats.errors import InputError
from ml.images.pictures import (
    PictureError,
    find_pictures,
    map_ahead,
    read_ahead,
    read_batches,
    read_picture,
    read_pixels,
    register_heic,
    stack_batches,
)
from ml.images.preprocess import Preprocess
from tests.helpers.drawn_pictures import drawn_folder, drawn_picture
from tests.helpers.errors import raises_code

SMALL = Preprocess(8, 8, "crop", "bicubic", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0))


def broken_files() -> dict[str, bytes]:
    jpeg, png = io.BytesIO(), io.BytesIO()
    drawn_picture(1).save(jpeg, "JPEG")
    drawn_picture(1).save(png, "PNG")
    return {
        "empty": b"",
        "text": b"this is no picture",
        "truncated jpeg": jpeg.getvalue()[: len(jpeg.getvalue()) // 2],
        "truncated png": png.getvalue()[:200],
        "header only": jpeg.getvalue()[:30],
        "damaged png": png.getvalue()[:60] + b"\xff" * 40 + png.getvalue()[100:],
    }


@pytest.mark.parametrize("name", broken_files())
@pytest.mark.parametrize("read", [read_picture, lambda path: read_pixels(path, SMALL)])
def test_a_broken_file_is_named(tmp_path, name, read):
    path = tmp_path / f"{name}.jpg"
    path.write_bytes(broken_files()[name])
    with raises_code(PictureError, "picture_unreadable", f"{name}.jpg"):
        read(path)


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    (path,) = drawn_folder(tmp_path, 1)
    with raises_code(PictureError, "picture_unreadable", path.name):
        read_pixels(path, SMALL)


def test_pictures_are_found_by_suffix_in_subfolders_and_sorted(tmp_path):
    drawn_folder(tmp_path / "b", 1)
    drawn_folder(tmp_path, 2)
    (tmp_path / "labels.csv").write_text("x")
    (tmp_path / "Z.PNG").write_bytes(b"")
    names = [path.relative_to(tmp_path).as_posix() for path in find_pictures(tmp_path)]
    assert names == ["000.jpg", "001.jpg", "Z.PNG", "b/000.jpg"]


def test_a_missing_folder_and_one_without_pictures_are_refused(tmp_path):
    for folder, code in ((tmp_path, "no_pictures"), (tmp_path / "none", "folder_missing")):
        with raises_code(InputError, code, folder):
            find_pictures(folder)


def test_reading_ahead_keeps_the_order_and_yields_the_error_of_a_broken_file_in_its_place(tmp_path):
    paths = drawn_folder(tmp_path, 150)
    paths[70].write_text("broken")
    read = list(read_ahead(paths, lambda path: read_pixels(path, SMALL)))
    assert [isinstance(pixels, PictureError) for pixels in read] == [number == 70 for number in range(150)]
    assert all(np.array_equal(read[at], read_pixels(paths[at], SMALL)) for at in (0, 69, 71, 149))


def test_reading_ahead_is_bounded():
    """A slow network must not fill the memory with decoded pictures."""
    started = []
    lock = threading.Lock()

    def read(job: int) -> np.ndarray:
        with lock:
            started.append(job)
        return np.zeros((3, 1, 1), dtype=np.float32)

    ahead = read_ahead(range(10_000), read)
    next(ahead)
    assert len(started) <= 66
    ahead.close()


def test_batches_are_full_except_the_last():
    pictures = [np.full((3, 2, 2), number, dtype=np.float32) for number in range(7)]
    assert [len(batch) for batch in stack_batches(pictures, 3)] == [3, 3, 1]
    assert np.array_equal(np.concatenate(list(stack_batches(pictures, 3))), np.stack(pictures))
    assert list(stack_batches([], 3)) == []


def test_reading_batches_stops_at_a_broken_picture(tmp_path):
    paths = drawn_folder(tmp_path, 3)
    paths[1].write_text("broken")
    with raises_code(PictureError, "picture_unreadable", "001.jpg"):
        list(read_batches(paths, lambda path: read_pixels(path, SMALL)))


def test_heic_is_read_after_registration(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    register_heic()
    pillow_heif.from_pillow(drawn_picture(1, (64, 96))).save(tmp_path / "a.heic")
    assert read_picture(tmp_path / "a.heic").size == (64, 96)


def test_running_jobs_are_finished_and_waiting_ones_cancelled_when_the_caller_stops():
    done = []
    ahead = map_ahead(range(1000), done.append, threads=2, ahead=8)
    next(ahead)
    ahead.close()
    assert 1 <= len(done) <= 8


def test_the_error_of_a_job_is_raised_in_its_place_and_ends_the_iteration():
    def work(job: int) -> int:
        if job == 5:
            raise ValueError("the sixth")
        return job

    ahead = map_ahead(range(20), work, threads=2, ahead=4)
    assert [next(ahead) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="the sixth"):
        next(ahead)
    assert list(ahead) == []


def test_jobs_are_iterated_in_the_thread_of_the_caller():
    """A job may come from a database whose connection belongs to that thread."""
    takers = []

    def jobs():
        for number in range(10):
            takers.append(threading.get_ident())
            yield number

    workers = list(map_ahead(jobs(), lambda _: threading.get_ident(), threads=2, ahead=4))
    assert set(takers) == {threading.get_ident()}
    assert threading.get_ident() not in workers
