"""Trained policies that come with the package."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

from rltemp.errors import InputError

__all__ = ["list_pretrained", "pretrained_folder"]


def list_pretrained() -> list[str]:
    """Names of the policies that come with the package, which `load_policy` takes in place of a path."""
    return sorted(f"rltemp/{folder.name}" for folder in _root().iterdir() if (folder / "policy.json").is_file())


def pretrained_folder(name: str) -> Path:
    """The folder of a policy that comes with the package, such as "rltemp/digits".

    Raises:
        InputError: for an unknown name.
    """
    if name not in list_pretrained():
        known = ", ".join(list_pretrained()) or "none in this version"
        raise InputError(f"policies that come with rltemp: {known}; got {name!r}")
    return _root() / name.removeprefix("rltemp/")


def _root() -> Path:
    root = importlib.resources.files("rltemp.pretrained")
    assert isinstance(root, Path)  # wheels are unpacked, never imported from an archive
    return root
