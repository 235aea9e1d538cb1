"""Tensors that took long to compute, kept under names that say what they were computed from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from torch import Tensor

from rltemp.errors import InputError
from rltemp.files import atomic_write
from rltemp.reading import read_safetensors

__all__ = ["FolderShelf", "Shelf", "pack"]


class Shelf(ABC):
    """Tensors by name, wherever they are kept."""

    @abstractmethod
    def holds(self, name: str) -> bool:
        """Whether something is kept under this name."""

    @abstractmethod
    def read(self, name: str) -> dict[str, Tensor] | None:
        """What is kept under this name, on the CPU; None if there is nothing, or nothing that can be read."""

    @abstractmethod
    def keep(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep tensors under this name."""


class FolderShelf(Shelf):
    """A safetensors file for each name.

    Args:
        folder: made when something is first kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def holds(self, name: str) -> bool:
        """As in `Shelf`."""
        return self.path(name).exists()

    def read(self, name: str) -> dict[str, Tensor] | None:
        """As in `Shelf`."""
        try:
            return read_safetensors(self.path(name))
        except InputError:
            return None

    def keep(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Write tensors in one step."""
        self.keep_packed(name, pack(tensors))

    def keep_packed(self, name: str, content: bytes) -> None:
        """Write what `pack` made, in one step."""
        self.folder.mkdir(parents=True, exist_ok=True)
        atomic_write(self.path(name), content)

    def path(self, name: str) -> Path:
        """The file of this name."""
        return self.folder / f"{name}.safetensors"


def pack(tensors: Mapping[str, Tensor]) -> bytes:
    """Tensors as the content of a safetensors file."""
    return safetensors.torch.save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
