"""The files of a saved policy, as tests make and bend them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from rltemp import LearnedPolicy, LogitFeatures
from rltemp.features import ALIGNED_FEATURES

WEIGHTS, DESCRIPTION, CARD = "policy.safetensors", "policy.json", "README.md"


def policy_of(seed: int = 0, **options: Any) -> LearnedPolicy:
    policy = LearnedPolicy(LogitFeatures(ALIGNED_FEATURES), (6, 4), low=1.0, high=16.0, **options)
    generator = torch.Generator().manual_seed(seed)
    for parameter in policy.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return policy


def same_weights(a: LearnedPolicy, b: LearnedPolicy) -> bool:
    return all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


def describe(folder: Path, **changes: Any) -> None:
    path = folder / DESCRIPTION
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def weigh(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS)
