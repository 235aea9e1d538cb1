"""Is the mean of several trainings better than each of them?

    uv run rltemp train general --seeds 0-4
    uv run python -m rltemp.experiments.studies.average

The mean of the weights of policies that were trained from the same start (Wortsman et al. 2022, arXiv 2203.05482),
kept as a policy, and what share of the validation images of the trainings' tasks is wrong with it and with each, on
students that none was trained with.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from rltemp.errors import InputError
from rltemp.experiments.named_recipe import NamedRecipe, build_all
from rltemp.experiments.studies.general import errors_on, more
from rltemp.policies.artifact import load_policy, save_policy
from rltemp.policies.learned import LearnedPolicy
from rltemp.recipes import load_recipe

RECIPE = "general"


def main() -> None:
    """Average, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trainings", default="train-seed*", help="in the recipe's folder (default: %(default)s)")
    parser.add_argument("--runs", default="runs", help="folder of all runs (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    root = Path(options.runs, RECIPE)
    found = {path.parent.name: load_policy(path) for path in sorted(root.glob(f"{options.trainings}/policy"))}
    if len(found) < 2:
        raise InputError(f"--trainings must name two or more in {root}, got {', '.join(found) or 'none'}")
    mean = average(list(found.values()))
    save_policy(mean, root / "mean" / "policy", overwrite=True)
    recipe = load_recipe(RECIPE)
    errors = errors_on(recipe, build_all(NamedRecipe(RECIPE, recipe), options.runs))
    least = errors(mean)
    print("| | wrong | more than their mean |\n|---|---|---|")
    print(f"| mean of {len(found)} | {least.mean():.2f} | |", flush=True)
    for name, policy in found.items():
        wrong = errors(policy)
        print(f"| {name} | {wrong.mean():.2f} | {more(wrong, least)} |", flush=True)
    print(f"policy: {root / 'mean' / 'policy'}")


def average(policies: Sequence[LearnedPolicy]) -> LearnedPolicy:
    """The mean of the weights of policies that are alike; its card counts the rollouts of them all.

    Raises:
        InputError: for policies that differ in more than weights.
    """
    first, *others = policies
    for other in others:
        if _kind(other) != _kind(first):
            raise InputError(f"policies must be of one kind, got {_kind(first)} and {_kind(other)}")
    mean = copy.deepcopy(first)
    mean.card["training"] = _training([policy.card["training"] for policy in policies])
    with torch.no_grad():
        for own, *parts in zip(*(policy.parameters() for policy in (mean, *policies)), strict=True):
            own.copy_(torch.stack(parts).mean(0))
    return mean


def _kind(policy: LearnedPolicy) -> dict[str, Any]:
    return {
        **{"features": policy.features.names, "hidden layers": policy.hidden, **policy.actions.named()},
        **{"activation": policy.activation, "squash": policy.squash, "weights": policy.weights},
    }


def _training(cards: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is the same of all, and the sum of what was spent."""
    first, *others = cards
    same = {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}
    whole = {"algorithm": f"{first['algorithm']}, mean of {len(cards)} trainings"}
    return {**same, **whole, "rollouts": sum(card["rollouts"] for card in cards)}


if __name__ == "__main__":
    main()
