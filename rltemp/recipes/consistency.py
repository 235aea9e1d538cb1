"""Checks of a recipe's values against each other; the ranges of single values are in the schema."""

from __future__ import annotations

from itertools import pairwise

from rltemp.errors import InputError
from rltemp.features import LogitFeatures
from rltemp.recipes.schema import Agent, Data, Optimization, PolicySpace, Recipe, Teacher
from rltemp.recipes.typed import typed

__all__ = ["check_consistency", "check_settings"]


def check_consistency(recipe: Recipe) -> None:
    """Raise `InputError` for a recipe that cannot be built, as far as can be told without files and networks.

    Raises:
        InputError: for values of wrong type or range, values that contradict each other, or data, teacher, and batch
            size that do not fit together.
    """
    check_settings(recipe)
    _check_data(recipe.data)
    _check_teacher(recipe.teacher, recipe.data)
    batch, images = recipe.optimization.batch_size, recipe.data.train
    if batch > images:
        raise InputError(f"optimization.batch_size must be at most data.train = {images}, got {batch}")


def check_settings(recipe: Recipe) -> None:
    """Raise `InputError` for invalid optimization, policy, or agent settings, whatever the data and the teacher are.

    Raises:
        InputError: for a value of another type than the schema's or out of its range, which a recipe made in Python may
            have, or values that contradict each other.
    """
    typed(Recipe, recipe, "")
    _check_optimization(recipe.optimization)
    _check_policy(recipe.policy)
    _check_agent(recipe.agent)
    _check_label_weights(recipe)


def _check_label_weights(recipe: Recipe) -> None:
    if not recipe.policy.label_range:
        return
    if recipe.agent.credit == "influence":
        raise InputError(
            "agent.credit must not be 'influence' with policy.label_range: it is the effect of the distillation alone"
        )
    if recipe.optimization.ce_weight == 0.0:
        raise InputError("optimization.ce_weight must be > 0 with policy.label_range, got 0")


def _check_data(data: Data) -> None:
    if data.junk and not data.in_memory:
        raise InputError(f"data.junk must be 0 where data.in_memory is false, got {data.junk:g}")
    if data.junk and data.train < 2:
        raise InputError(f"data.train must be at least 2 for blends of two images (data.junk), got {data.train}")


def _check_teacher(teacher: Teacher, data: Data) -> None:
    if teacher.train is not None and teacher.train < data.train:
        raise InputError(f"teacher.train must be at least data.train = {data.train}, got {teacher.train}")
    if teacher.checkpoint is not None and teacher.members != 1:
        raise InputError(f"teacher.members must be 1 for a teacher out of a checkpoint, got {teacher.members}")
    if teacher.source is None and teacher.path is not None:
        raise InputError(f"teacher.path must be null without teacher.source, got {teacher.path!r}")
    if teacher.checkpoint is not None and teacher.source is not None:
        raise InputError(f"teacher.source must be null for a teacher out of a checkpoint, got {teacher.source!r}")
    if data.context is not None and teacher.without:
        raise InputError(f"teacher.without must be 0 for texts, got {teacher.without:g}")
    if teacher.checkpoint is not None and teacher.without:
        raise InputError(f"teacher.without must be 0 for a teacher out of a checkpoint, got {teacher.without:g}")


def _check_optimization(optimization: Optimization) -> None:
    if optimization.nesterov and optimization.momentum == 0:
        raise InputError("optimization.nesterov must be false without optimization.momentum, got true")
    if optimization.schedule == "multistep" and not optimization.milestones:
        raise InputError("optimization.milestones must be at least one share of the run for 'multistep', got none")
    if any(early >= late for early, late in pairwise(optimization.milestones)):
        raise InputError(f"optimization.milestones must increase, got {list(optimization.milestones)}")


def _check_policy(space: PolicySpace) -> None:
    if space.low >= space.high:
        raise InputError(f"policy.low must be less than policy.high = {space.high:g}, got {space.low:g}")
    try:
        _ = space.actions
    except InputError as error:
        raise InputError(f"policy.{error}") from error
    if not space.features:
        return
    try:
        features = LogitFeatures(space.features)
    except InputError as error:
        raise InputError(f"policy.{error}") from error
    if space.alignment == "none" and "alignment" in features.needs:
        raise InputError(f"policy.features need policy.alignment, got 'none' with {', '.join(features.names)}")


def _check_agent(agent: Agent) -> None:
    if agent.credit == "influence" and agent.reward_every > 1:
        raise InputError(f"agent.reward_every must be 1 for agent.credit 'influence', got {agent.reward_every}")
    if agent.objective == "error" and agent.credit in ("influence", "hindsight"):
        raise InputError(
            f"agent.objective must have a gradient for agent.credit {agent.credit!r}, got 'error'; "
            "take 'soft-error', or agent.credit 'uniform'"
        )
    if agent.stack is not None and agent.students % agent.stack:
        raise InputError(f"agent.stack must divide agent.students, {agent.students}, got {agent.stack}")
    credit = {"evolution": "uniform", "descent": "hindsight"}.get(agent.learner, agent.credit)
    if agent.credit != credit:
        raise InputError(f"agent.credit must be {credit!r} for agent.learner {agent.learner!r}, got {agent.credit!r}")
    if agent.twins and agent.students % 2:
        why = "agent.learner 'evolution'" if agent.learner == "evolution" else "agent.baseline 'twin'"
        raise InputError(f"agent.students must be even for {why}, got {agent.students}")
