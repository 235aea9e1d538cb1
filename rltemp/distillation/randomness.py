"""Random draws of networks in training, such as dropout, from generators of the students' own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from rltemp.seeding import make_generator

__all__ = ["ForwardSeeds", "random_layers", "seeded_forward"]


class ForwardSeeds:
    """Seeds of the training forwards of K students, each student's from its own generator.

    Args:
        seeds: one per student; empty for students without random layers.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._generators = [make_generator(seed, "dropout") for seed in seeds]

    def draw(self) -> tuple[int, ...]:
        """Draw one seed per student for its next forward pass; empty for students without random layers."""
        return tuple(int(torch.randint(2**63 - 1, (), generator=generator)) for generator in self._generators)

    def state_dict(self) -> list[Tensor]:
        """State of each student's generator."""
        return [generator.get_state() for generator in self._generators]

    def load_state_dict(self, state: Sequence[Tensor]) -> None:
        """Restore the generators from states that `state_dict()` returned, so that the seeds to come are the same."""
        for generator, saved in zip(self._generators, state, strict=True):
            generator.set_state(saved)


def random_layers(network: nn.Module) -> tuple[str, ...]:
    """Names of the layers that draw in training, found by their attributes.

    A layer counts if it has a number > 0 under a name with "drop" in it (attention of torch and torchvision, timm's
    `DropPath`, rates that `forward` passes to `F.dropout`), or under `p` or `prob` in a class named after dropout or
    stochastic depth, or if it is a PyTorch layer that always draws. A layer found in error is harmless: its network
    gets seeds that it does not use. Not found are draws with constants inside `forward`, and rates that rise from 0
    later.
    """
    return tuple(name for name, module in network.named_modules() if _draws(module))


@contextlib.contextmanager
def seeded_forward(seed: int, device: torch.device) -> Iterator[None]:
    """Make draws from PyTorch's global generators inside the block depend on `seed` alone, and restore them afterwards.

    Args:
        seed: in [0, 2**63).
        device: where the network runs; its generator and the CPU's are seeded.
    """
    on_accelerator = device.type != "cpu"
    with torch.random.fork_rng([device] if on_accelerator else [], device_type=device.type):
        # Not `torch.manual_seed`, which would also seed the generators of other devices.
        torch.default_generator.manual_seed(seed)
        if on_accelerator:
            module = torch.get_device_module(device)
            with module.device(device):
                module.manual_seed(seed)
        # Kernels of attention draw different masks from one seed; this kernel has second derivatives as well.
        with sdpa_kernel(SDPBackend.MATH):
            yield


def _draws(module: nn.Module) -> bool:
    if isinstance(module, nn.RReLU | nn.FractionalMaxPool2d | nn.FractionalMaxPool3d):
        return True
    family = any(word in type(module).__name__.lower() for word in ("drop", "stochasticdepth"))
    return any(
        isinstance(value, int | float) and value > 0 and ("drop" in name or (family and name in ("p", "prob")))
        for name, value in vars(module).items()
    )
