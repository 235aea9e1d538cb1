"""What networks draw at random in training, dropout above all, from streams of the students' own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from rltemp.seeding import make_generator

__all__ = ["ForwardSeeds", "random_layers", "seeded_forward"]


class ForwardSeeds:
    """Seeds of the training forwards of K students, each from a stream of its own.

    Args:
        seeds: one per student; none for students that draw nothing.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._generators = [make_generator(seed, "dropout") for seed in seeds]

    def draw(self) -> tuple[int, ...]:
        """One seed per student, for its next forward."""
        return tuple(int(torch.randint(2**63 - 1, (), generator=generator)) for generator in self._generators)

    def state_dict(self) -> list[Tensor]:
        """State of each stream."""
        return [generator.get_state() for generator in self._generators]

    def load_state_dict(self, state: Sequence[Tensor]) -> None:
        """Go on where `state` was taken."""
        for generator, saved in zip(self._generators, state, strict=True):
            generator.set_state(saved)


def random_layers(network: nn.Module) -> tuple[str, ...]:
    """Names of the layers that draw in training, told by what they hold.

    That is a number > 0 under a name with "drop" in it (attention of torch and torchvision, timm's `DropPath`, rates
    that `forward` hands to `F.dropout`), or under `p` or `prob` in a class of the family of dropout or stochastic
    depth; besides, PyTorch's layers that always draw. A layer too many is harmless: its network is seeded in vain. Not
    seen are draws that are written out in a `forward` with constants of its own, and rates that rise from 0 later.
    """
    return tuple(name for name, module in network.named_modules() if _draws(module))


@contextlib.contextmanager
def seeded_forward(seed: int, device: torch.device) -> Iterator[None]:
    """Let what is drawn from PyTorch's global generators depend on `seed` alone; afterwards they are as they were."""
    on_accelerator = device.type != "cpu"
    with torch.random.fork_rng([device] if on_accelerator else [], device_type=device.type):
        # One generator after the other: `torch.manual_seed` would also reach those of other devices.
        torch.default_generator.manual_seed(seed)
        if on_accelerator:
            module = torch.get_device_module(device)
            with module.device(device):
                module.manual_seed(seed)
        # Each kernel of attention draws masks of its own; this one has second derivatives as well.
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
