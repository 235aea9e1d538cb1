"""The policies that come with the package, as their cards describe them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import metadata
from typing import Any

from cells import cell

from rltemp import LearnedPolicy, load_policy
from rltemp.experiments.evaluation.passes import count_passes
from rltemp.pretrained import list_pretrained, pretrained_folder
from rltemp.recipes import load_recipe

__all__ = ["policy_zoo"]

_MOST_NAMED = 8
"""Variations of a recipe that are written out."""


def policy_zoo() -> str:
    """A section for every policy of the package, as Markdown."""
    return "\n\n".join(_section(name) for name in list_pretrained())


def _section(name: str) -> str:
    policy = load_policy(name)
    card = policy.card
    rows = {
        "looks at": _inputs(policy),
        "chooses": f"temperatures from {policy.low:g} to {policy.high:g}; the loss is scaled by {_scale(policy)}",
        "was trained on": _training(card["recipe"], card["training"]),
        **_in_the_arena(card["arena"]),
        **_first_scores(card.get("scores", {})),
        "costs": _costs(policy, card["recipe"]),
        "size": f"{sum(file.stat().st_size for file in pretrained_folder(name).iterdir()) / 1024:.0f} KiB",
        "licence": metadata("rltemp")["License-Expression"],
    }
    table = "\n".join(f"| {cell(title)} | {cell(text)} |" for title, text in rows.items())
    return f"## {name}\n\n| | |\n| :-- | :-- |\n{table}"


def _first_scores(scores: Mapping[str, Any]) -> dict[str, Any]:
    """What policies of before the arena were said to score."""
    told = {f"first scores, {task}": text for task, text in scores.items() if task != "where"}
    return {**told, "first scores, where": scores["where"]} if scores else {}


def _inputs(policy: LearnedPolicy) -> str:
    if policy.is_schedule:
        return "the progress of the run and nothing else: a schedule"
    if "alignment" in policy.needs:
        return "both networks' logits, labels, progress, and clean training images through a probe"
    if policy.over_batch:
        return "both networks' logits and labels, of the instance and in the mean of its minibatch, and progress"
    return "both networks' logits, labels and progress"


def _in_the_arena(found: Mapping[str, Any]) -> dict[str, str]:
    """What the arena found, from short runs to long ones."""
    lengths = [length for length in found if length != "scores"]
    return {
        f"in the arena, {length}": found[length] for length in sorted(lengths, key=lambda text: int(text.split()[0]))
    }


def _scale(policy: LearnedPolicy) -> str:
    if policy.scale_range is not None:
        weights = ", ".join(f"{name} {value:g}" for name, value in policy.weights.items())
        labels = policy.actions.describe_labels()
        return f"{policy.actions.describe_scale()}, chosen for each instance, in a loss of {weights}{labels}"
    return "T²" if policy.scale is None else f"{policy.scale:g} for all instances"


def _training(recipe: str, training: Mapping[str, Any]) -> str:
    variations = _variations(training)
    others = ["; then " + ", ".join(f"{key} {value}" for key, value in task.items()) for task in variations]
    if len(variations) > _MOST_NAMED:
        others = [f" and {len(variations)} variations of it, which the recipe lists"]
    credit = training.get("agent.credit")
    return (
        f"`{recipe}`{''.join(others)}: {training['rollouts']} rollouts of {training['agent.students']} students, "
        f"credit `{credit}`, seed {training['agent.seed']}"
    )


def _variations(training: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tasks beside the recipe's, flat: the options of a student by their dotted names."""
    flat = []
    for task in training["agent.variations"]:
        options = {f"student.options.{key}": value for key, value in task.get("student.options", {}).items()}
        flat.append({key: value for key, value in task.items() if key != "student.options"} | options)
    return flat


def _costs(policy: LearnedPolicy, recipe: str) -> str:
    times = 1.0 / (1.0 - count_passes(load_recipe(recipe), "alignment" in policy.needs).overhead)
    if times == 1.0:
        return "no pass beyond those of a static temperature"
    return f"{times:.1f} times the passes of a static temperature, with the probe of its recipe"
