from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ml.data.manifest import Manifest
from ml.data.sampling import epoch_batches
from ml.training import dataset as module
from ml.training.dataset import CLEAN, PHONE, Batch, TrainingData
from ml.training.model import build_encoder
from ml.training.options import MetricOptions
from tests.helpers.tiny_training import load_run_data, metric_options


@pytest.fixture(scope="module")
def data(manifest, cache) -> TrainingData:
    return load_run_data(manifest, metric_options(), cache)


@pytest.fixture(scope="module")
def fresh(manifest, tmp_path_factory) -> Callable[..., TrainingData]:
    """Data with new views for each batch; the few cached ones are made once."""
    folder = tmp_path_factory.mktemp("fresh")
    return lambda **changes: load_run_data(manifest, metric_options(views=0, freeze_stages=0, **changes), folder)


def batches(data: TrainingData, epoch: int = 1, copies: int = 2) -> list[Batch]:
    options = data.options
    assert isinstance(options, MetricOptions)
    per_label, balance = options.per_label, options.balance
    chosen = epoch_batches(data.train.labels, options.batch_size, per_label, balance, options.seed, epoch)
    return list(data.batches(chosen, copies, epoch))


class TestCachedViews:
    def test_there_are_the_chosen_views_of_train_photos_and_two_of_held_out_photos(self, data):
        assert data.train_cache.array.shape[:2] == (36, 2)
        assert data.held_out_cache.array.shape[:2] == (18, 2)

    def test_the_maps_are_those_of_the_frozen_stages(self, data):
        encoder = build_encoder(data.options, 3)
        picture = torch.from_numpy(data.view_generator.view(5, 1)).permute(2, 0, 1)[None]
        expected = encoder.run_frozen_stages(picture)[0]
        maps = data.train_cache.batch(np.array([5]), np.array([1]))[0]
        assert maps.dtype == torch.float16
        assert maps.float().numpy() == pytest.approx(expected.numpy(), abs=0.01)

    def test_without_frozen_stages_they_are_pictures(self, fresh):
        data = fresh()
        assert (data.train_cache.array.dtype, data.train_cache.views) == (np.uint8, 1)
        assert np.array_equal(data.train_cache.array[3, CLEAN], data.view_generator.clean(3))

    def test_held_out_photos_come_after_the_train_photos(self, fresh):
        data = fresh()
        assert np.array_equal(data.held_out_cache.array[0, CLEAN], data.view_generator.clean(len(data.train)))

    def test_the_second_view_of_held_out_photos_is_a_phone_view_without_augmentation_too(self, fresh):
        data = fresh(augment="none")
        clean, phone = (data.held_out_cache.array[:, view].astype(int) for view in (CLEAN, PHONE))
        assert (np.abs(clean - phone).mean(axis=(1, 2, 3)) > 1).all()


class TestCacheReuse:
    @pytest.fixture
    def written(self, manifest, tmp_path) -> Callable[..., dict[str, int]]:
        """Load with these options and return when each array was written."""

        def stamps(photos: Manifest = manifest, **changes: object) -> dict[str, int]:
            load_run_data(photos, metric_options(**{"freeze_stages": 1} | changes), tmp_path)
            return {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.npy")}

        return stamps

    def test_a_second_run_reads_the_views_of_the_first(self, written):
        first = written()
        assert set(first) == {"train.npy", "held.npy"}
        assert written(lr=0.5, batch_size=6, embedding_size=10, label_size=0) == first

    @pytest.mark.parametrize(
        ("change", "remade"),
        [
            ({"seed": 1}, {"train.npy", "held.npy"}),
            ({"side": 96}, {"train.npy", "held.npy"}),
            ({"resize": "pad"}, {"train.npy", "held.npy"}),
            ({"pretrained": False}, {"train.npy", "held.npy"}),
            ({"freeze_stages": 2}, {"train.npy", "held.npy"}),
            ({"train_splits": "train,test"}, {"train.npy", "held.npy"}),
            ({"views": 3}, {"train.npy"}),
            ({"augment": "flip"}, {"train.npy"}),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
    )
    def test_views_that_depend_on_a_changed_option_are_made_again(self, written, change, remade):
        first, second = written(), written(**change)
        assert {name for name in first if first[name] != second[name]} == remade

    def test_photos_with_other_bytes_get_new_views(self, written, manifest, tmp_path):
        first = written()
        folder = tmp_path / "photos"
        copied(manifest, folder)
        assert written(Manifest(folder, manifest.photos)) == first
        (folder / manifest.photos[0].path).write_bytes((folder / manifest.photos[1].path).read_bytes())
        assert all(stamp != first[name] for name, stamp in written(Manifest(folder, manifest.photos)).items())

    def test_the_same_photos_in_another_order_get_new_views(self, written, manifest):
        first = written()
        turned = Manifest(manifest.folder, manifest.photos[::-1])
        assert all(stamp != first[name] for name, stamp in written(turned).items())


def copied(manifest: Manifest, folder: Path) -> None:
    folder.mkdir()
    for photo in manifest.photos:
        (folder / photo.path).write_bytes(manifest.file(photo).read_bytes())


class TestBatches:
    def test_all_first_views_precede_all_second_views_each_with_its_label_and_item(self, data):
        for batch in batches(data):
            labels, items = batch.labels.reshape(2, -1), batch.items.reshape(2, -1)
            assert torch.equal(labels[0], labels[1])
            assert torch.equal(items[0], items[1])
            photos = [int(np.flatnonzero(data.train.items == item)[0]) for item in items[0].tolist()]
            assert data.train.labels[photos].tolist() == labels[0].tolist()
            both = batch.inputs.reshape(2, len(photos), *batch.inputs.shape[1:])
            for at, photo in enumerate(photos):  # both cached views, in either order
                cached = [data.train_cache.batch(np.array([photo]), np.array([view]))[0] for view in (0, 1)]
                order = (0, 1) if torch.equal(both[0, at], cached[0]) else (1, 0)
                assert torch.equal(both[0, at], cached[order[0]])
                assert torch.equal(both[1, at], cached[order[1]])

    def test_one_copy_is_one_view_of_each_photo(self, data):
        assert [len(batch.inputs) for batch in batches(data, copies=1)] == [12, 12, 12]

    def test_fresh_views_follow_from_their_numbers(self, fresh):
        data = fresh()
        batch = batches(data, epoch=3)[0]
        photos = [int(np.flatnonzero(data.train.items == item)[0]) for item in batch.items[:12].tolist()]
        for at, photo in enumerate(photos):
            for copy in (0, 1):
                expected = torch.from_numpy(data.view_generator.view(photo, 1 + 3 * 2 + copy)).permute(2, 0, 1)
                assert torch.equal(batch.inputs[copy * 12 + at], expected)

    def test_each_epoch_has_fresh_views(self, fresh):
        data = fresh()
        views = {
            picture.numpy().tobytes() for epoch in (1, 2) for batch in batches(data, epoch) for picture in batch.inputs
        }
        assert len(views) > 0.75 * 2 * 2 * 36  # plain photos and their mirror images repeat

    def test_worker_processes_make_the_same_fresh_views(self, fresh):
        single, parallel = batches(fresh()), batches(fresh(workers=1))
        assert all(torch.equal(one.inputs, other.inputs) for one, other in zip(single, parallel, strict=True))
        assert all(torch.equal(one.labels, other.labels) for one, other in zip(single, parallel, strict=True))

    @pytest.mark.parametrize("views", [0, 2])
    def test_the_shares_of_two_processes_make_up_the_batch(self, data, fresh, monkeypatch, views):
        data = data if views else fresh()
        whole = batches(data)
        monkeypatch.setattr(module, "world_size", lambda: 2)
        shares = []
        for process in (0, 1):
            monkeypatch.setattr(module, "rank", lambda process=process: process)
            shares.append(batches(data))
        for batch, first, second in zip(whole, *shares, strict=True):
            both = batch.inputs.reshape(2, 12, *batch.inputs.shape[1:])
            for share, rows in ((first, both[:, 0::2]), (second, both[:, 1::2])):
                assert torch.equal(share.inputs.reshape(2, 6, *share.inputs.shape[1:]), rows)
            assert sorted(first.items.tolist() + second.items.tolist()) == sorted(batch.items.tolist())
