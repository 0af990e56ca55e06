"""Two real processes started by `torchrun`, compared with one process that has the joint batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from ml.training.distributed import (
    all_reduce_gradients,
    broadcast_from_first,
    gather_rows,
    process_group,
    rank,
    world_size,
)
from tests.helpers.joint_batch import CLASSIFIERS, METRIC, SMALL_RUN, compute_cases, train_classifier, train_metric

ROOT = Path(__file__).resolve().parents[3]


def run_processes(*words: str) -> subprocess.CompletedProcess[str]:
    """Run `python WORDS` in two processes of one core each."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([*launcher, *words], cwd=ROOT, env=environment, check=False, capture_output=True, text=True)


def rows_of(run: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: row[name] for name in row if name not in ("seconds", "photos_per_second")} for row in rows]


@pytest.fixture(scope="module")
def folder(manifest_file, tmp_path_factory) -> Path:
    """The results of `joint_batch` in two processes; `output` is what they printed."""
    folder = tmp_path_factory.mktemp("joint")
    ended = run_processes("-m", "tests.helpers.joint_batch", str(manifest_file), str(folder))
    assert ended.returncode == 0, ended.stderr[-2000:]
    (folder / "output").write_text(ended.stdout)
    return folder


@pytest.fixture(scope="module")
def shared(folder) -> list[dict]:
    """The results of either process."""
    return [torch.load(folder / f"{number}.pt", weights_only=True) for number in range(2)]


@pytest.fixture(scope="module")
def single() -> dict:
    return compute_cases()


@pytest.mark.parametrize("case", [*METRIC, *CLASSIFIERS])
def test_the_losses_are_those_of_one_process_with_the_joint_batch(shared, single, case):
    compared = slice(2) if case == "remembered in part" else slice(None)  # a full memory depends on the order of rows
    for values in (process[case]["values"] for process in shared):
        assert np.array(values[compared]) == pytest.approx(
            np.array(single[case]["values"][compared]), rel=1e-4, abs=1e-6
        )


@pytest.mark.parametrize("case", [case for case in (*METRIC, *CLASSIFIERS) if case != "remembered in part"])
def test_the_gradients_are_those_of_one_process_with_the_joint_batch(shared, single, case):
    expected = single[case]["gradients"]
    assert any(gradient.abs().max() > 1e-3 for gradient in expected.values())
    for gradients in (process[case]["gradients"] for process in shared):
        assert gradients.keys() == expected.keys()
        for name, gradient in gradients.items():
            assert torch.allclose(gradient, expected[name], rtol=1e-3, atol=1e-5), name


@pytest.mark.parametrize("case", [*METRIC, *CLASSIFIERS])
def test_both_processes_have_the_same_to_the_last_bit(shared, case):
    first, second = (process[case] for process in shared)
    assert first["values"] == second["values"]
    assert all(torch.equal(gradient, second["gradients"][name]) for name, gradient in first["gradients"].items())


def test_the_proxies_get_their_gradient_once(single):
    assert {"label.W", "label.proxies"} <= {name for case in METRIC for name in single[case]["gradients"]}


def test_the_value_of_rank_0_is_broadcast(shared):
    assert [process["broadcast"] for process in shared] == [0.0, 0.0]


def test_a_batch_too_small_for_all_processes_is_refused_before_training(folder, shared):
    for process in shared:
        assert "3 photos" in process["too small"] and "2 processes" in process["too small"]
    assert not (folder / "small.run").exists()


def test_a_classifier_with_penalties_and_unequal_shares_trains_as_in_one_process(folder, manifest_file):
    """Four batches of 9 an epoch, shared as 5 and 4; the gradients are clipped, so each factor would show."""
    assert train_classifier(manifest_file, folder / "alone") == 0
    for row, expected in zip(rows_of(folder / "shared.run"), rows_of(folder / "alone.run"), strict=True):
        assert row == pytest.approx(expected, rel=1e-3, abs=1e-5)
    weights, expected = (load_file(folder / name / "weights.safetensors") for name in ("shared", "alone"))
    for name, array in weights.items():
        assert np.allclose(array.astype(np.float32), expected[name].astype(np.float32), rtol=0, atol=2e-3), name


def test_one_process_of_torchrun_is_like_no_torchrun(monkeypatch):
    for name, value in {"WORLD_SIZE": "1", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}.items():
        monkeypatch.setenv(name, value)
    rows = torch.rand(3, 2, requires_grad=True)
    with process_group():
        assert torch.distributed.is_initialized()
        assert (rank(), world_size()) == (0, 1)
        with process_group():  # the outer one keeps the group
            assert gather_rows(rows) is rows
        assert torch.distributed.is_initialized()
        gather_rows(rows).sum().backward()
        all_reduce_gradients([rows], [])
        assert broadcast_from_first(0.25) == 0.25
    assert not torch.distributed.is_initialized()
    assert torch.equal(rows.grad, torch.ones(3, 2))


def test_without_torchrun_there_is_one_process_and_no_group():
    with process_group():
        assert not torch.distributed.is_initialized()
        assert (rank(), world_size()) == (0, 1)


# --- a whole run


@pytest.fixture(scope="module")
def single_run(manifest_file, tmp_path_factory) -> Path:
    """The metric encoder trained by one process."""
    out = tmp_path_factory.mktemp("single") / "one"
    assert train_metric(manifest_file, out, "none") == 0
    return out


def test_two_processes_end_with_one_encoder_and_the_figures_of_one_process(folder, single_run):
    two, one = (json.loads((out / "card.json").read_text()) for out in (folder / "two", single_run))
    assert two["metrics"] == pytest.approx(one["metrics"], abs=0.02)
    for row, expected in zip(rows_of(folder / "two.run"), rows_of(single_run.with_name("one.run")), strict=True):
        assert row == pytest.approx(expected, rel=1e-3, abs=2e-3)


def test_only_rank_0_reports_progress(folder):
    output = (folder / "output").read_text()
    events = [json.loads(line) for line in output.splitlines() if line.startswith("{") and line.endswith("}")]
    assert sorted(event["epoch"] for event in events if event["event"] == "epoch") == [1, 2]
    steps = [(event["epoch"], event["step"]) for event in events if event["event"] == "step"]
    assert steps
    assert len(set(steps)) == len(steps)
    assert output.count("the process with rank 0 writes the encoder") == 1  # printed by the other one


@pytest.mark.nightly
def test_torchrun_can_start_the_command_line_itself(manifest_file, tmp_path):
    """`torchrun -m ml` as docs/training.md has it, with the shipped trunk: the command opens the process group."""
    out = tmp_path / "encoder"
    words = ["train-metric", "--data", str(manifest_file), *SMALL_RUN, "--embedding-size=12", "--label-size=6"]
    ended = run_processes("-m", "ml", *words, "--out", str(out), "--progress", "none")
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert json.loads((out / "card.json").read_text())["dim"] == 12
