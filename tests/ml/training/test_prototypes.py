from copy import deepcopy
from itertools import product

import numpy as np
import pytest
import torch

from ml.training.dataset import CLEAN, PHONE, TrainingData
from ml.training.metric import MetricTask
from ml.training.model import build_encoder
from ml.training.prototypes import INVERSE_TEMPERATURES, MAX_GARMENT_LOSS, SHARES, refine_with_prototypes
from tests.helpers.tiny_training import RecordingWatcher, load_run_data, metric_options, prepare_run


@pytest.fixture(scope="module")
def trained(manifest, cache, tmp_path_factory):
    """The network of a short run and its task."""
    run = prepare_run(manifest, metric_options(), tmp_path_factory.mktemp("run"), cache)
    return run.train(RecordingWatcher()), run.task


@pytest.fixture
def encoder(trained):
    return deepcopy(trained[0])


@pytest.fixture
def task(trained) -> MetricTask:
    return trained[1]


@pytest.fixture(scope="module")
def data(manifest, cache) -> TrainingData:
    return load_run_data(manifest, metric_options(), cache)


def figures_of(task: MetricTask, encoder) -> dict[str, float]:
    return task.figures(
        task.embed_train(encoder), task.embed_held_out(encoder, CLEAN), task.embed_held_out(encoder, PHONE)
    )


def test_map_at_r_rises(encoder, task, data):
    before = figures_of(task, encoder)
    refine_with_prototypes(encoder, task, data)
    assert figures_of(task, encoder)["map_at_r"] > before["map_at_r"]


def test_the_chosen_setting_has_the_best_map_at_r_of_those_allowed(encoder, task, data):
    chosen = refine_with_prototypes(encoder, task, data)
    chosen_figures = figures_of(task, encoder)
    prototypes = encoder.network.head.prototypes.detach().clone()
    others = []
    for inverse_temperature, share in product(INVERSE_TEMPERATURES, SHARES):
        with torch.no_grad():
            encoder.network.head.refine(prototypes, inverse_temperature, share)
        others.append(figures_of(task, encoder))
    best = max(figures["garment_at_1"] for figures in others)
    allowed = [figures for figures in others if figures["garment_at_1"] >= best - MAX_GARMENT_LOSS]
    assert chosen in product(INVERSE_TEMPERATURES, SHARES)
    assert chosen_figures["garment_at_1"] >= best - MAX_GARMENT_LOSS
    assert chosen_figures["map_at_r"] == pytest.approx(max(figures["map_at_r"] for figures in allowed))


def test_a_prototype_is_the_mean_direction_of_its_label_s_train_photos(encoder, task, data):
    parts = task.embed_train(encoder)[:, :8]  # the label part before the refinement
    inverse_temperature, share = refine_with_prototypes(encoder, task, data)
    head = encoder.network.head
    for label, prototype in enumerate(head.prototypes.detach().numpy()):
        rows = [row / np.linalg.norm(row) for row, its in zip(parts, data.train.labels, strict=True) if its == label]
        mean = np.mean(rows, axis=0)
        assert prototype == pytest.approx(mean / np.linalg.norm(mean), abs=1e-4)
    assert head.split.tolist() == pytest.approx([8, share, inverse_temperature])


def test_a_vector_of_one_part_has_no_prototypes(task, data):
    with pytest.raises(TypeError):
        refine_with_prototypes(build_encoder(metric_options(label_size=0), 3), task, data)
