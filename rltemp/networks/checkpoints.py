"""Loading of weights: our own files, the published CIFAR-100 teachers, and files of other libraries' models."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rltemp.errors import InputError, short
from rltemp.networks.external import ExternalNetwork
from rltemp.reading import read_safetensors, read_torch, require_file

__all__ = ["load_checkpoint", "load_crd_checkpoint"]

# From the layer names of "Contrastive Representation Distillation" to ours; applied in this order.
_RENAMES = (
    (re.compile(r"^module\."), ""),
    (re.compile(r"^(fc|linear|classifier\.0)\."), "classifier."),
    (re.compile(r"\.(downsample|convShortcut)\."), ".shortcut."),
    (re.compile(r"^(layer|block(?=\d\.layer\.))(\d)\.(layer\.)?"), lambda match: f"layers.{int(match[2]) - 1}."),
)
_REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def load_checkpoint(network: nn.Module, path: str | Path) -> None:
    """Load a `.safetensors` file with the network's own names, or a checkpoint in the format of CRD, in place.

    The network is unchanged if anything does not fit.

    Args:
        network: receives the weights; for CRD's format one of this package's CIFAR networks.
        path: the file; any suffix but `.safetensors` means CRD's format (see `load_crd_checkpoint`), or, for a network
            of torchvision or timm, a state dict with that library's names, such as those that torchvision publishes.

    Raises:
        InputError: for a missing, damaged, or too large file, another architecture or number of classes, or weights
            that are not dense, real, and finite.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        rename = network.own_name if isinstance(network, ExternalNetwork) else _rename
        _load(network, _read(path, _most_bytes(network), rename), path)
        return
    require_file(path, "a safetensors file", _most_bytes(network))
    _load(network, read_safetensors(path), path)


def load_crd_checkpoint(network: nn.Module, path: str | Path) -> None:
    """Load a checkpoint in the format of "Contrastive Representation Distillation" (Tian et al., 2020), in place.

    Their published CIFAR-100 teachers have this format, and so do those of most later papers. Nothing in the file is
    executed. The network is unchanged if anything does not fit.

    Args:
        network: one of this package's CIFAR networks, of the same architecture.
        path: a file that holds a state dict, alone or under "model" or "state_dict".

    Raises:
        InputError: for a missing, damaged, or too large file, one that holds more than tensors and plain values,
            another architecture or number of classes, or weights that are not dense, real, and finite.
    """
    _load(network, _read(Path(path), _most_bytes(network), _rename), Path(path))


def _most_bytes(network: nn.Module) -> int:
    """Upper bound of a checkpoint's bytes: weights in double precision with an optimizer's averages, and more."""
    return 16 * sum(int(value.nbytes) for value in network.state_dict().values()) + (64 << 20)


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
    fitting = {name: _fitting(tensor, own[name], f"{name} of {path}") for name, tensor in weights.items()}
    network.load_state_dict({**own, **fitting})


def _fitting(tensor: Tensor, own: Tensor, name: str) -> Tensor:
    """The tensor in the dtype of the network's `own`; all but the values is checked before memory is allocated."""
    if tensor.is_meta or tensor.is_quantized or tensor.is_nested or tensor.layout != torch.strided:
        got = "no values" if tensor.is_meta else f"{tensor.layout} {tensor.dtype}"
        raise InputError(f"{name} must be a dense tensor of {own.dtype}, got {got}")
    if not (tensor.dtype == own.dtype or (tensor.dtype in _REAL and own.dtype in _REAL)):
        raise InputError(f"{name} must be of {own.dtype}, or a type that turns into it, got {tensor.dtype}")
    if tensor.shape != own.shape:
        raise InputError(f"{name} must have shape {list(own.shape)}, got {short(list(tensor.shape))}")
    cast = tensor.to(own.dtype)
    if not bool(torch.isfinite(cast).all()):
        raise InputError(f"{name} must be finite, got NaN or infinite values")
    return cast


def _read(path: Path, most_bytes: int, rename: Callable[[str], str]) -> dict[str, Tensor]:
    """The state dict in the checkpoint at `path`, with this package's names."""
    content: Any = read_torch(path, map_location="cpu", most_bytes=most_bytes)
    if isinstance(content, Mapping):
        content = content.get("model", content.get("state_dict", content))
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise InputError(f"path must hold a state dict, alone or under 'model' or 'state_dict', {path} does not")
    weights: dict[str, Tensor] = {}
    for name, tensor in content.items():
        if (own := rename(name)) in weights:
            raise InputError(f"path must hold each weight once, {path} has two of {own}")
        weights[own] = tensor
    return weights


def _rename(name: str) -> str:
    for pattern, replacement in _RENAMES:
        name = pattern.sub(replacement, name)
    return name


def _some(names: list[str]) -> str:
    if not names:
        return "nothing"
    shown = [name if name.isprintable() and len(name) < 80 else short(name) for name in names[:3]]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
