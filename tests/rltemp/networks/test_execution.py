"""Precision and layout change how networks run, not what they say."""

import copy
import functools
import shutil
import warnings
from typing import Any

import pytest
import torch
from torch.func import functional_call, jvp

from rltemp.networks import Execution, Network, execution, make_network

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


@pytest.mark.skipif(shutil.which("c++") is None, reason="compiling for the CPU needs a C++ compiler")
def test_compiled_networks_say_the_same_and_have_the_same_derivatives() -> None:
    execution = Execution(channels_last=True, compile=True)
    for seed in (1, 2):
        network = make_network("cnn", 5, (3, 16, 16), torch.Generator().manual_seed(seed), channels=(4, 4)).eval()
        compiled = execution.prepare(copy.deepcopy(network))
        logits, expected = execution.logits(compiled, IMAGES), network(IMAGES)
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
        logits.square().sum().backward()
        expected.square().sum().backward()
        for a, b in zip(compiled.parameters(), network.parameters(), strict=True):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-4)

        state = {name: value.detach() for name, value in network.named_parameters()}
        along = {name: torch.ones_like(value) for name, value in state.items()}
        runner = _Runner(compiled, execution)
        velocity = {f"network.{name}": value for name, value in along.items()}
        moved = {f"network.{name}": value for name, value in state.items()}
        tangent = jvp(lambda values, runner=runner: functional_call(runner, values, (IMAGES,)), (moved,), (velocity,))[
            1
        ]
        plain = jvp(lambda values, net=network: functional_call(net, values, (IMAGES,)), (state,), (along,))[1]
        torch.testing.assert_close(tangent, plain, rtol=1e-3, atol=1e-3)


class _Runner(torch.nn.Module):
    def __init__(self, network: Network, execution: Execution) -> None:
        super().__init__()
        self.network, self.execution = network, execution

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.execution.logits(self.network, images)


def test_networks_run_as_they_are_where_nothing_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("no compiler here")

    torch._dynamo.reset()  # what other tests have compiled would be taken, and no backend asked
    monkeypatch.setattr(execution, "_compiled", functools.cache(execution._Compiled))
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=broken))
    network = make_network("cnn", 5, (3, 16, 16), torch.Generator().manual_seed(0), channels=(4, 4)).eval()
    with pytest.warns(UserWarning, match="networks run uncompiled, since compiling failed: .*no compiler here"):
        logits = Execution(compile=True).logits(network, IMAGES)
    assert torch.equal(logits, network(IMAGES))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(Execution(compile=True).logits(network, IMAGES), logits)


@pytest.mark.parametrize(("bf16", "amx"), [(False, False), (True, False), (False, True)])
def test_half_precision_is_native_where_the_processor_says_so(
    bf16: bool, amx: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    want = torch.bfloat16 if bf16 or amx else torch.float32
    assert execution.native_dtype(torch.device("cpu")) == want
    assert execution.native_dtype(torch.device("meta")) == torch.float32


@pytest.mark.parametrize("native", [True, False])
def test_a_gpu_is_asked_for_units_and_not_for_emulation(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native or including_emulation)
    want = torch.bfloat16 if native else torch.float32
    assert execution.native_dtype(torch.device("cuda")) == want
