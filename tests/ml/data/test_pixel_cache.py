import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ml.data.augment import ViewGenerator
from ml.data.pixel_cache import CHUNK, ViewCache, load_or_fill_cache, weights_digest
from ml.formats.atomic_files import UnwritableError
from ml.images.preprocess import Preprocess
from tests.helpers.drawn_pictures import drawn_picture
from tests.helpers.errors import raises_code

SIDE = 32
SQUASHED = Preprocess(SIDE, SIDE, "squash", "bicubic", (127.0,) * 3, (128.0,) * 3)
ABOUT = {"seed": "0"}


class Counting(ViewGenerator):
    """A viewer that counts the views it made."""

    def __init__(self, photos: int = 5) -> None:
        super().__init__([drawn_picture(seed, (40, 50)) for seed in range(photos)], SQUASHED, "flip", 0)
        self.made = 0

    def clean(self, photo: int) -> np.ndarray:
        self.made += 1
        return super().clean(photo)

    def view(self, photo: int, number: int) -> np.ndarray:
        self.made += 1
        return super().view(photo, number)


def halved(pictures: Tensor) -> Tensor:
    """A frozen stage that is easily followed: every second pixel, as numbers below 1, and one channel more."""
    small = pictures[:, :, ::2, ::2].float() / 256
    return torch.cat([small, small.sum(dim=1, keepdim=True)], dim=1)


def store(folder: Path, viewer: ViewGenerator, photos: range = range(5), views: int = 2, **more: object) -> ViewCache:
    options = {"about": ABOUT, "frozen": None, "workers": 0} | more
    return load_or_fill_cache(folder / "cache" / "train.npy", viewer=viewer, photos=photos, views=views, **options)


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "cache").iterdir()}


class TestWhatIsKept:
    def test_pictures_are_those_of_the_viewer_view_nought_the_clean_one(self, tmp_path):
        viewer = Counting()
        kept = store(tmp_path, viewer, range(1, 5), views=3)
        assert (kept.array.shape, kept.array.dtype, kept.views) == ((4, 3, SIDE, SIDE, 3), np.uint8, 3)
        for at, photo in enumerate(range(1, 5)):
            assert np.array_equal(kept.array[at, 0], viewer.clean(photo))
            assert np.array_equal(kept.array[at, 2], viewer.view(photo, 2))

    def test_maps_are_those_of_the_frozen_stages_in_float16(self, tmp_path):
        viewer = Counting()
        kept = store(tmp_path, viewer, frozen=halved)
        assert (kept.array.shape, kept.array.dtype) == ((5, 2, SIDE // 2, SIDE // 2, 4), np.float16)
        picture = torch.from_numpy(viewer.view(3, 1)).permute(2, 0, 1)[None]
        assert np.array_equal(kept.array[3, 1], halved(picture)[0].permute(1, 2, 0).half().numpy())

    def test_more_photos_than_are_worked_on_at_a_time_stay_in_order(self, tmp_path):
        viewer = Counting(CHUNK + 3)
        kept = store(tmp_path, viewer, range(CHUNK + 3), views=1)
        assert all(np.array_equal(kept.array[at, 0], viewer.clean(at)) for at in range(CHUNK + 3))

    def test_a_process_beside_makes_the_same(self, tmp_path):
        kept = [store(tmp_path / str(workers), Counting(), workers=workers, frozen=halved) for workers in (0, 1)]
        assert np.array_equal(kept[0].array, kept[1].array)

    def test_a_batch_is_picked_by_photo_and_view_channels_first_in_shape_and_last_in_memory(self, tmp_path):
        kept = store(tmp_path, Counting())
        batch = kept.batch(np.array([4, 0, 4]), np.array([1, 0, 0]))
        assert batch.shape == (3, 3, SIDE, SIDE)
        assert batch.is_contiguous(memory_format=torch.channels_last)
        for row, (photo, view) in zip(batch, [(4, 1), (0, 0), (4, 0)], strict=True):
            assert np.array_equal(row.permute(1, 2, 0), kept.array[photo, view])


class TestUsedAgain:
    def test_the_same_views_are_found_and_nothing_is_written(self, tmp_path):
        first = store(tmp_path, Counting())
        stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
        viewer = Counting()
        assert np.array_equal(store(tmp_path, viewer).array, first.array)
        assert viewer.made == 0
        assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}

    @pytest.mark.parametrize(
        "change",
        [{"about": {"seed": "1"}}, {"about": ABOUT | {"side": "64"}}, {"photos": range(4)}, {"views": 3}],
        ids=["another seed", "something new to tell", "other photos", "more views"],
    )
    def test_views_of_other_things_are_made_anew_in_their_place(self, tmp_path, change):
        store(tmp_path, Counting())
        viewer = Counting()
        kept = store(tmp_path, viewer, **change)
        assert viewer.made == kept.array.shape[0] * kept.array.shape[1]
        assert names(tmp_path) == {"train.npy", "train.json"}
        again = Counting()
        store(tmp_path, again, **change)
        assert again.made == 0

    @pytest.mark.parametrize(
        "left", [-1, 200, 60, 0], ids=["a byte short", "heading and a bit", "half a heading", "empty"]
    )
    def test_a_file_that_was_cut_short_is_made_anew(self, tmp_path, left):
        first = np.array(store(tmp_path, Counting()).array)
        path = tmp_path / "cache" / "train.npy"
        path.write_bytes(path.read_bytes()[:left])
        assert np.array_equal(store(tmp_path, Counting()).array, first)

    @pytest.mark.parametrize("text", ["", '{"seed": "0", "pho', "[]", "\xff"])
    def test_a_label_that_cannot_be_read_is_as_good_as_none(self, tmp_path, text):
        store(tmp_path, Counting())
        label = tmp_path / "cache" / "train.json"
        label.write_text(text, encoding="latin-1")
        viewer = Counting()
        store(tmp_path, viewer)
        assert viewer.made == 10
        assert json.loads(label.read_text())["seed"] == "0"

    def test_a_file_that_holds_no_array_is_made_anew_and_not_unpickled(self, tmp_path):
        store(tmp_path, Counting())
        np.save(tmp_path / "cache" / "train.npy", np.array([print], dtype=object), allow_pickle=True)
        assert store(tmp_path, Counting()).array.dtype == np.uint8


class TestNoRoom:
    def test_a_full_disk_is_one_sentence_and_leaves_nothing(self, tmp_path, file_size_limit):
        with file_size_limit(5_000), raises_code(UnwritableError, "unwritable", "train.npy"):
            store(tmp_path, Counting())
        assert names(tmp_path) == set()

    def test_a_disk_with_too_little_room_is_known_before_it_is_full(self, tmp_path, monkeypatch):
        """A file that is mapped into memory and finds no room half-way kills the process."""
        monkeypatch.setattr("ml.formats.atomic_files.shutil.disk_usage", lambda _: type("Usage", (), {"free": 1_000})())
        with raises_code(UnwritableError, "disk_space_short"):
            store(tmp_path, Counting())
        assert names(tmp_path) == set()

    def test_views_that_were_there_outlive_a_failure(self, tmp_path, file_size_limit):
        first = np.array(store(tmp_path, Counting()).array)
        with file_size_limit(5_000), pytest.raises(UnwritableError):
            store(tmp_path, Counting(), views=4)
        viewer = Counting()
        assert np.array_equal(store(tmp_path, viewer).array, first)
        assert viewer.made == 0

    def test_a_place_where_nothing_can_be_written_is_one_sentence(self, tmp_path):
        (tmp_path / "cache").write_text("a file")
        with raises_code(UnwritableError, "unwritable", "train.npy"):
            store(tmp_path, Counting())

    def test_whatever_stops_the_work_no_half_of_it_stays(self, tmp_path):
        def stopped(_: Tensor) -> Tensor:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            store(tmp_path, Counting(), frozen=stopped)
        assert names(tmp_path) == set()


def test_the_digest_tells_weights_apart_by_value_and_by_name():
    one, other = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    other.load_state_dict(one.state_dict())
    assert weights_digest(one) == weights_digest([one]) == weights_digest(other)
    assert weights_digest([one, one]) != weights_digest(one) != weights_digest([])
    with torch.no_grad():
        other.bias[0] += 1e-6
    assert weights_digest(one) != weights_digest(other)
