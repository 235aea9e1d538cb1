"""Whether somebody else traces or transforms the computation."""

import torch

__all__ = ["is_transformed"]


def is_transformed() -> bool:
    """True while compiling or exporting, and inside `torch.func` (`vmap`, `grad`, ...)."""
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
