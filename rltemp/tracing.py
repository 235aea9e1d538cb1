"""Detecting whether PyTorch traces or transforms the running code."""

import torch

__all__ = ["is_transformed"]


def is_transformed() -> bool:
    """Whether PyTorch compiles or exports the running code, or `torch.func` (`vmap`, `grad`, ...) transforms it."""
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
