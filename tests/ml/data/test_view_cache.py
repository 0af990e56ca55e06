import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ml.data.augment import ViewGenerator
from ml.data.view_cache import CHUNK, ViewCache, load_or_fill_cache, weights_digest
from ml.formats.atomic_files import UnwritableError
from ml.images.preprocess import Preprocess
from tests.helpers.drawn_pictures import drawn_picture
from tests.helpers.errors import raises_code

SIDE = 32
SQUASHED = Preprocess(SIDE, SIDE, "squash", "bicubic", (127.0,) * 3, (128.0,) * 3)
SOURCE = {"seed": "0"}


class CountingViewGenerator(ViewGenerator):
    """Counts the views it makes."""

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
    """A simple frozen stage: every second pixel, scaled to 0..1, and the sum of the channels as a fourth."""
    small = pictures[:, :, ::2, ::2].float() / 256
    return torch.cat([small, small.sum(dim=1, keepdim=True)], dim=1)


def load(
    folder: Path, view_generator: ViewGenerator, photos: range = range(5), views: int = 2, **options: object
) -> ViewCache:
    options = {"source": SOURCE, "frozen": None, "workers": 0} | options
    return load_or_fill_cache(
        folder / "cache" / "train.npy", view_generator=view_generator, photos=photos, views=views, **options
    )


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "cache").iterdir()}


class TestContent:
    def test_without_frozen_stages_the_pictures_are_cached_and_view_0_is_the_clean_one(self, tmp_path):
        view_generator = CountingViewGenerator()
        cache = load(tmp_path, view_generator, range(1, 5), views=3)
        assert (cache.array.shape, cache.array.dtype, cache.views) == ((4, 3, SIDE, SIDE, 3), np.uint8, 3)
        for at, photo in enumerate(range(1, 5)):
            assert np.array_equal(cache.array[at, 0], view_generator.clean(photo))
            assert np.array_equal(cache.array[at, 2], view_generator.view(photo, 2))

    def test_feature_maps_of_the_frozen_stages_are_cached_as_float16(self, tmp_path):
        view_generator = CountingViewGenerator()
        cache = load(tmp_path, view_generator, frozen=halved)
        assert (cache.array.shape, cache.array.dtype) == ((5, 2, SIDE // 2, SIDE // 2, 4), np.float16)
        picture = torch.from_numpy(view_generator.view(3, 1)).permute(2, 0, 1)[None]
        assert np.array_equal(cache.array[3, 1], halved(picture)[0].permute(1, 2, 0).half().numpy())

    def test_photos_of_several_batches_stay_in_order(self, tmp_path):
        view_generator = CountingViewGenerator(CHUNK + 3)
        cache = load(tmp_path, view_generator, range(CHUNK + 3), views=1)
        assert all(np.array_equal(cache.array[at, 0], view_generator.clean(at)) for at in range(CHUNK + 3))

    def test_a_worker_process_makes_the_same_views(self, tmp_path):
        cache = [
            load(tmp_path / str(workers), CountingViewGenerator(), workers=workers, frozen=halved) for workers in (0, 1)
        ]
        assert np.array_equal(cache[0].array, cache[1].array)

    def test_a_batch_is_selected_by_photo_and_view_in_memory_format_channels_last(self, tmp_path):
        cache = load(tmp_path, CountingViewGenerator())
        batch = cache.batch(np.array([4, 0, 4]), np.array([1, 0, 0]))
        assert batch.shape == (3, 3, SIDE, SIDE)
        assert batch.is_contiguous(memory_format=torch.channels_last)
        for row, (photo, view) in zip(batch, [(4, 1), (0, 0), (4, 0)], strict=True):
            assert np.array_equal(row.permute(1, 2, 0), cache.array[photo, view])


class TestReuse:
    def test_a_cache_of_the_same_source_is_read_and_not_written(self, tmp_path):
        first = load(tmp_path, CountingViewGenerator())
        stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
        view_generator = CountingViewGenerator()
        assert np.array_equal(load(tmp_path, view_generator).array, first.array)
        assert view_generator.made == 0
        assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}

    @pytest.mark.parametrize(
        "change",
        [{"source": {"seed": "1"}}, {"source": SOURCE | {"side": "64"}}, {"photos": range(4)}, {"views": 3}],
        ids=["another seed", "another source", "other photos", "more views"],
    )
    def test_views_of_another_source_replace_the_cache(self, tmp_path, change):
        load(tmp_path, CountingViewGenerator())
        view_generator = CountingViewGenerator()
        cache = load(tmp_path, view_generator, **change)
        assert view_generator.made == cache.array.shape[0] * cache.array.shape[1]
        assert names(tmp_path) == {"train.npy", "train.json"}
        again = CountingViewGenerator()
        load(tmp_path, again, **change)
        assert again.made == 0

    @pytest.mark.parametrize(
        "left", [-1, 200, 60, 0], ids=["one byte missing", "header and some data", "half a header", "empty"]
    )
    def test_a_truncated_file_is_replaced(self, tmp_path, left):
        first = np.array(load(tmp_path, CountingViewGenerator()).array)
        path = tmp_path / "cache" / "train.npy"
        path.write_bytes(path.read_bytes()[:left])
        assert np.array_equal(load(tmp_path, CountingViewGenerator()).array, first)

    @pytest.mark.parametrize("text", ["", '{"seed": "0", "pho', "[]", "\xff"])
    def test_a_label_that_cannot_be_read_is_as_good_as_none(self, tmp_path, text):
        load(tmp_path, CountingViewGenerator())
        label = tmp_path / "cache" / "train.json"
        label.write_text(text, encoding="latin-1")
        view_generator = CountingViewGenerator()
        load(tmp_path, view_generator)
        assert view_generator.made == 10
        assert json.loads(label.read_text())["seed"] == "0"

    def test_a_file_of_pickled_objects_is_replaced_and_not_unpickled(self, tmp_path):
        load(tmp_path, CountingViewGenerator())
        np.save(tmp_path / "cache" / "train.npy", np.array([print], dtype=object), allow_pickle=True)
        assert load(tmp_path, CountingViewGenerator()).array.dtype == np.uint8


class TestFailures:
    def test_a_full_disk_is_an_error_and_leaves_no_file(self, tmp_path, file_size_limit):
        with file_size_limit(5_000), raises_code(UnwritableError, "unwritable", "train.npy"):
            load(tmp_path, CountingViewGenerator())
        assert names(tmp_path) == set()

    def test_too_little_disk_space_is_an_error_before_the_file_is_written(self, tmp_path, monkeypatch):
        """Writing to a memory-mapped file on a full disk kills the process (SIGBUS)."""
        monkeypatch.setattr("ml.formats.atomic_files.shutil.disk_usage", lambda _: type("Usage", (), {"free": 1_000})())
        with raises_code(UnwritableError, "disk_space_short"):
            load(tmp_path, CountingViewGenerator())
        assert names(tmp_path) == set()

    def test_an_older_cache_survives_a_failure(self, tmp_path, file_size_limit):
        first = np.array(load(tmp_path, CountingViewGenerator()).array)
        with file_size_limit(5_000), pytest.raises(UnwritableError):
            load(tmp_path, CountingViewGenerator(), views=4)
        view_generator = CountingViewGenerator()
        assert np.array_equal(load(tmp_path, view_generator).array, first)
        assert view_generator.made == 0

    def test_an_unwritable_place_is_an_error(self, tmp_path):
        (tmp_path / "cache").write_text("a file")
        with raises_code(UnwritableError, "unwritable", "train.npy"):
            load(tmp_path, CountingViewGenerator())

    def test_an_interrupted_run_leaves_no_file(self, tmp_path):
        def stopped(_: Tensor) -> Tensor:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            load(tmp_path, CountingViewGenerator(), frozen=stopped)
        assert names(tmp_path) == set()


def test_the_digest_depends_on_the_values_and_the_names_of_weights():
    one, other = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    other.load_state_dict(one.state_dict())
    assert weights_digest(one) == weights_digest([one]) == weights_digest(other)
    assert weights_digest([one, one]) != weights_digest(one) != weights_digest([])
    with torch.no_grad():
        other.bias[0] += 1e-6
    assert weights_digest(one) != weights_digest(other)
