"""Whether a policy was trained on images that it is judged on, found by their rows in the source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rltemp.errors import InputError
from rltemp.policies.learned import LearnedPolicy
from rltemp.recipes import Recipe, change_recipe, load_recipe, vary
from rltemp.tasks.parts import part_rows

__all__ = ["cut_alike", "runs_spent_on", "shared_images", "training_recipes", "training_runs"]


def training_recipes(policy: LearnedPolicy) -> list[Recipe] | None:
    """The tasks that a policy was trained on, as its card says; None if it does not say.

    Cards of before `trained_on` name a recipe and the agent's variations of it. That does not say what a policy was
    trained on which the training started from.
    """
    card = policy.card
    try:
        if "trained_on" in card:
            return [change_recipe(Recipe(), changes) for changes in card["trained_on"].values()] or None
        if card["training"].get("agent.start") is not None:
            return None
        variations = card["training"].get("agent.variations", [])
        return vary(load_recipe(card["recipe"], {"agent.variations": variations}))
    except (AttributeError, InputError, LookupError, TypeError):
        return None


def training_runs(policy: LearnedPolicy) -> int | None:
    """Student runs of a policy's training, as its card says; None if it does not say."""
    try:
        return int(policy.card["training"]["rollouts"]) * int(policy.card["training"]["agent.students"])
    except (LookupError, TypeError, ValueError):
        return None


def runs_spent_on(policy: LearnedPolicy, judged: Recipe) -> int:
    """Student runs of a policy's training that count as a search of the judged task; 0 where it does not say.

    A policy that was trained on other data took none on this task, as a single setting chosen on other tasks did.
    """
    runs, recipes = training_runs(policy), training_recipes(policy)
    if runs is None or recipes is None or not any(_same_source(recipe, judged) for recipe in recipes):
        return 0
    return runs


def shared_images(trained: Recipe, judged: Recipe, source: Mapping[str, Any]) -> int:
    """Images of the source that an agent's task and a judged one have in common, whatever the part.

    Args:
        trained: the agent's task; its training, teacher's and validation images count.
        judged: the other; its test images count as well.
        source: "images", how many it has, and "own_test", whether its test images are apart from them.

    Raises:
        InputError: for a task that asks for more images than the source has.
    """
    if not _same_source(trained, judged):
        return 0
    total, with_test = source["images"], not source["own_test"]
    seen = part_rows(trained, total, with_test=with_test)
    used = part_rows(judged, total, with_test=with_test)
    rows = {row for part in ("teacher", "validation") for row in seen[part].tolist()}
    return len(rows & {row for part in used.values() for row in part.tolist()})


def cut_alike(trained: Recipe, judged: Recipe) -> bool:
    """Whether rows of two tasks can be compared: a text in other windows, or in another file, has other rows."""
    if not _same_source(trained, judged) or judged.data.context is None:
        return True
    return trained.data.context == judged.data.context and _same_place(trained, judged)


def _same_source(a: Recipe, b: Recipe) -> bool:
    """Whether two recipes name the same images; folders of two names are taken for two sources."""
    return a.data.name == b.data.name and (a.data.name not in ("folder", "text") or _same_place(a, b))


def _same_place(a: Recipe, b: Recipe) -> bool:
    """Whether data are in a folder or file of the same name: cards leave out where it is."""
    return Path(a.data.path or "").name == Path(b.data.path or "").name
