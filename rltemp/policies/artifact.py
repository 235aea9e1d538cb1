"""A trained policy on disk: a folder that is safe to load from an untrusted source.

    policy.safetensors    the weights, float32
    policy.json           format version, features, temperature range, scale of the loss, layer sizes, activation,
                          how it was trained, what it scored
    README.md             a model card, for people

Reading runs no code from the files: the weights are plain arrays whose names, shapes, and dtypes the JSON fixes before
any is read, and the JSON must have a closed list of keys.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rltemp.actions import HIGHEST, LOWEST
from rltemp.errors import InputError, first_line, short
from rltemp.features import ALL_FEATURES, FEATURES_VERSION, LogitFeatures
from rltemp.files import atomic_write, new_draft, sweep_drafts
from rltemp.policies.card import render_card
from rltemp.policies.learned import ACTIVATIONS, MOST_LAYERS, WEIGHTS, WIDEST, LearnedPolicy

__all__ = ["FORMAT_VERSION", "load_policy", "save_policy"]

FORMAT_VERSION = 1
"""Increases whenever a reader of the old format would misread the new one."""

_WEIGHTS, _DESCRIPTION, _CARD = "policy.safetensors", "policy.json", "README.md"
_KEYS = {"format_version", "features_version", "features", "temperature_range", "hidden", "card"}
_OPTIONAL_KEYS = {"scale", "scale_range", "label_range", "activation", "squash", "weights"}
_MOST_JSON = 1 << 20


def save_policy(policy: LearnedPolicy, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a policy's folder, completely or not at all.

    Args:
        policy: the policy to save.
        path: the folder to create, its parents included.
        overwrite: replace a policy that already exists at `path`.

    Returns:
        The path of the folder.

    Raises:
        InputError: if `path` exists and must not be replaced or holds no policy, if it cannot be written, or if the
            policy could not be read back: weights that are not finite, or a card that is not plain JSON.
    """
    target = Path(path).resolve()
    if target.exists() and not (overwrite and (target / _DESCRIPTION).is_file()):
        wanted = "a folder that does not exist yet" if not overwrite else "a policy's folder, or none"
        raise InputError(f"path must be {wanted}, got {path}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = new_draft(target)
        draft.mkdir()
    except OSError as error:
        raise InputError(f"path must lie in a folder that can be written to, got {path} ({error.strerror})") from error
    try:
        _write(policy, draft)
        load_policy(draft)
        _put(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    sweep_drafts(target.parent)
    return Path(path)


def load_policy(path: str | os.PathLike[str]) -> LearnedPolicy:
    """Read a trained policy onto the CPU.

    Args:
        path: the policy's folder, or the name of one that comes with the package, such as "rltemp/digits".

    Raises:
        InputError: for anything but a complete policy of this format version and these features.
    """
    from safetensors import SafetensorError

    folder = _resolve(path)
    description = _read_description(folder / _DESCRIPTION)
    policy = _build(description, folder)
    try:
        weights = _read_weights(folder / _WEIGHTS, policy.state_dict())
    except (SafetensorError, OSError) as error:
        raise InputError(f"{folder / _WEIGHTS} must be a safetensors file, got a broken one: {error}") from error
    _check_finite(weights, folder)
    policy.load_state_dict(weights)
    return policy


def _put(draft: Path, target: Path) -> None:
    """Move the folder `draft` to `target`.

    A folder cannot be replaced in one step: an old one is renamed first, and renamed back if the move fails.
    """
    aside = new_draft(target)
    try:
        if target.exists():
            target.rename(aside)
        draft.rename(target)
    except BaseException:
        if aside.exists() and not target.exists():
            aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _write(policy: LearnedPolicy, folder: Path) -> None:
    from safetensors.torch import save

    description = {
        "format_version": FORMAT_VERSION,
        "features_version": FEATURES_VERSION,
        "features": list(policy.features.names),
        "temperature_range": [policy.low, policy.high],
        "scale": policy.scale,
        "hidden": list(policy.hidden),
        "card": policy.card,
    }
    # Readers from before there were these keys read every other policy, and refuse what they would misread.
    if policy.activation != "tanh":
        description["activation"] = policy.activation
    if policy.squash:
        description["squash"] = True
    for name, limits in (("scale_range", policy.scale_range), ("label_range", policy.label_range)):
        if limits is not None:
            description[name] = list(limits)
    if policy.weights:
        description["weights"] = policy.weights
    try:
        text = json.dumps(description, indent=2, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"card must be plain JSON values, got something else: {error}") from error
    atomic_write(folder / _DESCRIPTION, text + "\n")
    weights = {name: value.detach().cpu().float().contiguous() for name, value in policy.state_dict().items()}
    atomic_write(folder / _WEIGHTS, save(weights))
    atomic_write(folder / _CARD, render_card(policy))


def _resolve(path: str | os.PathLike[str]) -> Path:
    name = os.fspath(path)
    folder = Path(name)
    if not folder.exists() and name.startswith("rltemp/"):
        from rltemp.pretrained import pretrained_folder

        return pretrained_folder(name)
    if not folder.is_dir():
        raise InputError(f"path must be a policy's folder, got {name}, which {_what_is(folder)}")
    for file in (_DESCRIPTION, _WEIGHTS):
        entry = folder / file
        if not entry.exists():
            raise InputError(f"path must be a policy's folder with {_DESCRIPTION} and {_WEIGHTS}; {name} lacks {file}")
        if not stat.S_ISREG(entry.lstat().st_mode):
            raise InputError(f"{entry} must be a plain file, got a link or something else")
    return folder


def _what_is(path: Path) -> str:
    return "is a file" if path.exists() else "does not exist"


def _read_description(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    if size > _MOST_JSON:
        raise InputError(f"{path} must be at most {_MOST_JSON} bytes, got {size}")
    try:
        description = json.loads(
            path.read_bytes().decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_unique
        )
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} must be plain JSON, got something else: {first_line(error)}") from error
    if not isinstance(description, dict):
        raise InputError(f"{path} must hold a JSON object, got {type(description).__name__}")
    version = description.get("format_version")
    if not _is_version(version, FORMAT_VERSION):
        raise InputError(f"{path}: format_version must be {FORMAT_VERSION}, got {short(version)}")
    if set(description) - _OPTIONAL_KEYS != _KEYS:
        raise InputError(f"{path} must have the keys {sorted(_KEYS)}, got {short(sorted(description))}")
    return description


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object as a dict; raises `ValueError` for a repeated key, which readers resolve in different ways."""
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key stands twice")
    return content


def _is_version(value: object, wanted: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value == wanted


def _build(description: Mapping[str, Any], folder: Path) -> LearnedPolicy:
    """The policy without its weights; every value is checked before it decides the size of anything."""
    version, names = description["features_version"], description["features"]
    if not _is_version(version, FEATURES_VERSION):
        raise InputError(f"{folder}: features_version must be {FEATURES_VERSION}, got {short(version)}")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{folder}: features must be a list of names, got {short(names)}")
    if len(names) != len(set(names)) or not set(names) <= set(ALL_FEATURES) or not names:
        raise InputError(f"{folder}: features must be names this version has, each once, got {short(names)}")
    hidden = description["hidden"]
    if not isinstance(hidden, list) or len(hidden) > MOST_LAYERS or not all(_is_width(width) for width in hidden):
        raise InputError(f"{folder}: hidden must be at most {MOST_LAYERS} widths in [1, {WIDEST}], got {short(hidden)}")
    low, high = _read_range(description, "temperature_range", folder)
    ranges = {
        name: _read_range(description, name, folder) for name in ("scale_range", "label_range") if name in description
    }
    scale = description.get("scale")
    if scale is not None and not _in_limits(scale):
        raise InputError(f"{folder}: scale must be null or a number in [{LOWEST:g}, {HIGHEST:g}], got {short(scale)}")
    activation, squash = description.get("activation", "tanh"), description.get("squash", False)
    if activation not in list(ACTIVATIONS):
        raise InputError(f"{folder}: activation must be one of {', '.join(ACTIVATIONS)}, got {short(activation)}")
    if not isinstance(squash, bool):
        raise InputError(f"{folder}: squash must be true or false, got {short(squash)}")
    weights = description.get("weights", {})
    if not isinstance(weights, dict) or ("weights" in description and weights.keys() != WEIGHTS):
        raise InputError(f"{folder}: weights must be {' and '.join(sorted(WEIGHTS))}, got {short(weights)}")
    if not all(_in_limits(value) or value == 0 for value in weights.values()):
        raise InputError(f"{folder}: weights must be 0 or in [{LOWEST:g}, {HIGHEST:g}], got {short(weights)}")
    if not isinstance(description["card"], dict):
        raise InputError(f"{folder}: card must be an object, got {short(description['card'])}")
    _check_size(folder / _WEIGHTS, (len(names), *hidden, 1 + len(ranges)))
    return LearnedPolicy(
        LogitFeatures(names),
        hidden,
        low=low,
        high=high,
        scale=None if scale is None else float(scale),
        **ranges,
        activation=activation,
        squash=squash,
        weights={name: float(value) for name, value in weights.items()},
        card=description["card"],
    )


def _read_range(description: Mapping[str, Any], name: str, folder: Path) -> tuple[float, float]:
    limits = description[name]
    if not isinstance(limits, list) or len(limits) != 2 or not all(_in_limits(limit) for limit in limits):
        raise InputError(f"{folder}: {name} must be two numbers in [{LOWEST:g}, {HIGHEST:g}], got {short(limits)}")
    return float(limits[0]), float(limits[1])


def _check_size(path: Path, widths: Sequence[int]) -> None:
    """Raise `InputError` unless the file has about the size of layers of these widths, before memory is allocated."""
    least = 4 * sum((wide + 1) * narrow for wide, narrow in pairwise(widths))
    size = path.stat().st_size
    if not least <= size <= least + _MOST_JSON:
        raise InputError(f"{path} must have {least} to {least + _MOST_JSON} bytes for these layers, got {size}")


def _is_width(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= WIDEST


def _in_limits(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and LOWEST <= value <= HIGHEST


def _read_weights(path: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    from safetensors import safe_open

    with safe_open(path, framework="pt", device="cpu") as file:
        names = set(file.keys())
        if names != set(expected):
            missing, extra = sorted(set(expected) - names), sorted(names - set(expected))
            raise InputError(f"{path}: tensors missing {short(missing)}, unexpected {short(extra)}")
        for name, value in expected.items():
            part = file.get_slice(name)
            if list(part.get_shape()) != list(value.shape) or part.get_dtype() != "F32":
                raise InputError(
                    f"{path}: {name} must be F32 {list(value.shape)}, "
                    f"got {part.get_dtype()} {short(list(part.get_shape()))}"
                )
        return {name: file.get_tensor(name) for name in expected}


def _check_finite(weights: Mapping[str, Tensor], where: Path) -> None:
    bad = [name for name, value in weights.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise InputError(f"{where}: weights must be finite, got NaN or infinity in {', '.join(bad)}")
