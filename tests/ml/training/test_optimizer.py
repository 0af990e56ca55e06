import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from ml.training.losses import MetricLoss
from ml.training.optimizer import MovingAverage, build_optimizer, penalty, set_rates
from ml.training.options import MetricOptions
from tests.helpers.tiny_model import tiny_encoder, tiny_pictures

OPTIONS = MetricOptions(
    embedding_size=6, label_size=2, lr=0.1, head_lr=0.3, lr_decay=0.5, weight_decay=0.04, batch_size=2
)


def rates_by_weight(options: MetricOptions) -> dict[str, tuple[float, float]]:
    """Rate and decay of each weight, by its name."""
    encoder, loss = tiny_encoder(options), MetricLoss(options, 3)
    names = {id(weight): name for module in (encoder, loss) for name, weight in module.named_parameters()}
    groups = build_optimizer(encoder, loss, options).param_groups
    return {
        names[id(weight)]: (group["highest"], group["weight_decay"]) for group in groups for weight in group["params"]
    }


# --- learning rates


@pytest.mark.parametrize(("frozen", "expected"), [(0, {0: 0.025, 1: 0.05, 2: 0.1}), (1, {1: 0.05, 2: 0.1}), (3, {})])
def test_each_stage_has_a_share_of_the_rate_of_the_next(frozen, expected):
    rates = rates_by_weight(replace(OPTIONS, freeze_stages=frozen))
    stage_rates = {int(name.split(".")[3]): rate for name, (rate, _) in rates.items() if ".trunk." in name}
    assert stage_rates == pytest.approx(expected)


def test_the_head_and_the_proxies_have_their_own_rate():
    rates = rates_by_weight(OPTIONS)
    assert rates["network.head.layer.weight"][0] == rates["label.W"][0] == 0.3


def test_vectors_do_not_decay():
    rates = rates_by_weight(OPTIONS)
    assert {name for name, (_, decay) in rates.items() if decay == 0} == {
        *(f"network.trunk.blocks.{stage}.1.{kind}" for stage in range(3) for kind in ("weight", "bias")),
        "network.head.layer.bias",
        "network.head.split",
    }
    assert {decay for _, decay in rates.values()} == {0.0, 0.04}


def test_every_trained_weight_is_in_one_group():
    encoder, loss = tiny_encoder(replace(OPTIONS, freeze_stages=1)), MetricLoss(OPTIONS, 3)
    grouped = [
        id(weight) for group in build_optimizer(encoder, loss, OPTIONS).param_groups for weight in group["params"]
    ]
    trained = {id(weight) for module in (encoder, loss) for weight in module.parameters() if weight.requires_grad}
    assert len(grouped) == len(set(grouped))
    assert trained <= set(grouped)


def test_adam_has_no_decay_and_adamw_has():
    """One step without a gradient: AdamW takes rate x decay of a matrix, nothing of a vector."""
    for kind, left in (("adamw", 1 - 0.3 * 0.04), ("adam", 1.0)):
        options = replace(OPTIONS, optimizer=kind)
        encoder, loss = tiny_encoder(options), MetricLoss(options, 3)
        layer = encoder.network.head.layer
        before = layer.weight.detach().clone(), layer.bias.detach().clone()
        layer.weight.grad, layer.bias.grad = torch.zeros_like(layer.weight), torch.zeros_like(layer.bias)
        build_optimizer(encoder, loss, options).step()
        assert torch.allclose(layer.weight, before[0] * left, atol=1e-7)
        assert torch.equal(layer.bias, before[1])


# --- the schedule


def factors(shares, warmup: float) -> list[float]:
    weight = nn.Parameter(torch.zeros(2, 2))
    optimizer = torch.optim.AdamW([{"params": [weight], "lr": 0.1, "highest": 0.1}])
    values = []
    for share in shares:
        values.append(set_rates(optimizer, share, warmup))
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * values[-1])
    return values


def test_the_rate_rises_linearly_and_falls_along_a_half_cosine_to_zero():
    shares = [0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0]
    expected = [0.0, 0.5, 1.0, 0.5 + math.sqrt(0.5) / 2, 0.5, 0.5 - math.sqrt(0.5) / 2, 0.0]
    assert factors(shares, 0.2) == pytest.approx(expected, abs=1e-12)


def test_without_warm_up_it_only_falls_and_with_nothing_else_it_only_rises():
    assert factors([0.0, 0.5, 1.0], 0.0) == pytest.approx([1.0, 0.5, 0.0], abs=1e-12)
    assert factors([0.0, 0.5, 1.0], 1.0) == pytest.approx([0.0, 0.5, 1.0], abs=1e-12)


# --- penalties


class Mixed(nn.Module):
    """A matrix, filters, vectors, and a matrix that is not trained."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(3, 2)
        self.conv = nn.Conv2d(2, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)


@pytest.mark.parametrize(("l1", "l2"), [(0.1, 0.0), (0.0, 0.2), (0.3, 0.05)])
def test_a_penalty_is_the_sum_over_trained_matrices_and_filters(l1, l2):
    module = Mixed()
    numbers = [*module.linear.weight.flatten().tolist(), *module.conv.weight.flatten().tolist()]
    expected = sum(l1 * abs(number) + l2 * number * number for number in numbers)
    value = penalty([module.linear, module.conv, module.norm, module.frozen], l1, l2)
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_the_gradient_of_a_penalty_has_the_sign_and_the_size_of_each_weight():
    module = Mixed()
    penalty([module], 0.3, 0.05).backward()
    for layer in (module.linear, module.conv):
        for number, pull in zip(layer.weight.flatten().tolist(), layer.weight.grad.flatten().tolist(), strict=True):
            assert pull == pytest.approx(0.3 * math.copysign(1, number) + 0.1 * number, rel=1e-5)
    assert module.linear.bias.grad is None
    assert module.norm.weight.grad is None
    assert module.frozen.weight.grad is None


def test_without_a_penalty_nothing_is_computed():
    assert penalty([Mixed()], 0.0, 0.0) == 0.0


# --- the moving average


def changing(step: int, network: nn.Module) -> None:
    draw = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=draw))
            else:
                tensor.fill_(step)


@pytest.mark.parametrize("memory", [0.5, 0.9])
def test_the_average_equals_that_of_a_plain_loop(memory):
    network = Mixed()
    average = MovingAverage(network, memory)
    expected = [tensor.double().clone() for tensor in (*network.parameters(), *network.buffers())]
    for step in range(12):
        changing(step, network)
        average.update(network)
        keep = min(memory, (1 + step) / (10 + step))
        for at, tensor in enumerate((*network.parameters(), *network.buffers())):
            is_float = tensor.is_floating_point()
            expected[at] = keep * expected[at] + (1 - keep) * tensor.double() if is_float else tensor.double()
    for tensor, value in zip((*average.network.parameters(), *average.network.buffers()), expected, strict=True):
        assert torch.allclose(tensor.double(), value, atol=1e-6)


def test_without_memory_the_average_is_the_network_itself():
    network = Mixed()
    average = MovingAverage(network, 0.0)
    assert average.network is network
    changing(1, network)
    before = network.linear.weight.clone()
    average.update(network)
    assert torch.equal(network.linear.weight, before)
    assert network.training
    assert network.linear.weight.requires_grad


def test_the_averaged_encoder_shares_no_weights():
    """Its list of stages, too, refers to the copied weights."""
    encoder = tiny_encoder(replace(OPTIONS, freeze_stages=1))
    average = MovingAverage(encoder, 0.9).network
    with torch.no_grad():
        expected = average(tiny_pictures(2))
        for weight in encoder.parameters():
            weight.zero_()
        assert torch.equal(average(tiny_pictures(2)), expected)
    assert not average.training
    assert not any(weight.requires_grad for weight in average.parameters())
    copies = {id(weight) for weight in average.parameters()}
    assert {
        id(weight) for stage in average.frozen_stages + average.trained_stages for weight in stage.parameters()
    } <= copies
