"""Precision and layout change how networks run, not what they say."""

import copy

import pytest
import torch

from rltemp.networks import Execution, make_network

IMAGES = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["cnn", "resnet8", "mlp"])
@pytest.mark.parametrize("channels_last", [True, False])
def test_layout_changes_nothing_but_rounding(name: str, channels_last: bool) -> None:
    network = make_network(name, 5, (3, 16, 16), torch.Generator().manual_seed(1)).eval()
    execution = Execution(channels_last=channels_last)
    prepared = execution.prepare(copy.deepcopy(network))
    torch.testing.assert_close(execution.logits(prepared, IMAGES), network(IMAGES), rtol=1e-4, atol=1e-5)
    convolutions = [module for module in prepared.modules() if isinstance(module, torch.nn.Conv2d)]
    for convolution in convolutions:
        if convolution.kernel_size == (1, 1):
            continue  # both layouts at once
        assert convolution.weight.is_contiguous(memory_format=torch.channels_last) is channels_last


@pytest.mark.parametrize("name", ["cnn", "resnet8", "mlp"])
def test_half_precision_is_close_and_stays_inside(name: str) -> None:
    network = make_network(name, 5, (3, 16, 16), torch.Generator().manual_seed(1)).eval()
    exact, rough = network(IMAGES), Execution(torch.bfloat16).logits(network, IMAGES)
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, exact)
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=0.05 * float(exact.detach().abs().max()))
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())
    rough.sum().backward()
    assert all(
        parameter.grad is not None and parameter.grad.dtype == torch.float32 for parameter in network.parameters()
    )
