"""Published weights of the teachers of the CIFAR-100 tables."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from rltemp.errors import InputError

__all__ = ["load_checkpoint", "load_crd_checkpoint"]

# What "Contrastive Representation Distillation" calls the layers, in the order in which names are rewritten.
_RENAMES = (
    (re.compile(r"^module\."), ""),
    (re.compile(r"^(fc|linear|classifier\.0)\."), "classifier."),
    (re.compile(r"\.(downsample|convShortcut)\."), ".shortcut."),
    (re.compile(r"^(layer|block(?=\d\.layer\.))(\d)\.(layer\.)?"), lambda match: f"layers.{int(match[2]) - 1}."),
)


def load_checkpoint(network: nn.Module, path: str | Path) -> None:
    """Load a `.safetensors` file with the network's own names, or else a checkpoint as `load_crd_checkpoint` takes it.

    Raises:
        InputError: as `load_crd_checkpoint`.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        load_crd_checkpoint(network, path)
        return
    _require_file(path)
    try:
        weights = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(f"path must be a safetensors file, {path} is not: {error}") from error
    _load(network, weights, path)


def load_crd_checkpoint(network: nn.Module, path: str | Path) -> None:
    """Load a checkpoint in the format of "Contrastive Representation Distillation" (Tian et al., 2020) into a network.

    Their published CIFAR-100 teachers have this format, and so do those of most later papers. Nothing in the file is
    executed. The network is unchanged if anything does not fit.

    Args:
        network: one of this package's CIFAR networks of the same architecture, in place.
        path: a file holding a state dict, alone or under "model" or "state_dict".

    Raises:
        InputError: for a missing or unreadable file, one that holds more than tensors and plain values, another
            architecture or number of classes, or weights that are not finite.
    """
    _load(network, {_rename(name): tensor for name, tensor in _read(Path(path)).items()}, Path(path))


def _load(network: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    own = network.state_dict()
    # Checkpoints older than PyTorch 0.4.1 lack the counters of batch normalization, which evaluation does not read.
    missing = [name for name in own if name not in weights and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in weights if name not in own]
    if missing or unexpected:
        raise InputError(
            f"path must hold the weights of this {type(network).__name__}: {path} lacks {_some(missing)} "
            f"and has besides {_some(unexpected)}"
        )
    for name, tensor in weights.items():
        if tensor.shape != own[name].shape:
            raise InputError(f"{name} of {path} must have shape {list(own[name].shape)}, got {list(tensor.shape)}")
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{name} of {path} must be finite, got NaN or infinite values")
    network.load_state_dict({**own, **weights})


def _read(path: Path) -> Mapping[str, Tensor]:
    _require_file(path)
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"path must be a checkpoint of tensors and plain values, {path} is not: {reason}") from error
    if isinstance(content, Mapping):
        content = content.get("model", content.get("state_dict", content))
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"path must hold a state dict, alone or under 'model' or 'state_dict', {path} does not")
    return content


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"path must be a checkpoint file, got {path}, which does not exist")


def _rename(name: str) -> str:
    for pattern, replacement in _RENAMES:
        name = pattern.sub(replacement, name)
    return name


def _some(names: list[str]) -> str:
    if not names:
        return "nothing"
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
