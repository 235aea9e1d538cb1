"""What training an agent takes, told before any of it is done.

Memory is counted: what is kept, part by part. Time is measured: a rollout of a few updates with the recipe's networks,
on images of noise where the source knows its instances unread, and with a teacher as it was drawn.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from pathlib import Path

import torch
from gymnasium.vector import AutoresetMode

from rltemp.agents.train import make_learner
from rltemp.agents.trainer import Trainer
from rltemp.distillation import Task
from rltemp.distillation.ranks import ALONE, Ranks
from rltemp.envs.credit_memory import CreditMemory, check_credit_memory
from rltemp.envs.credit_plan import CreditPlan
from rltemp.envs.reward import ProbeReward
from rltemp.envs.unrolling import UnrolledRun
from rltemp.envs.vector import DistillationVectorEnv
from rltemp.errors import InputError
from rltemp.experiments.bench.memory import peak_resident
from rltemp.experiments.bench.phases import OTHER, PhaseTimer
from rltemp.experiments.named_recipe import NamedRecipe
from rltemp.memory import free_bytes
from rltemp.recipes import Recipe, change_recipe
from rltemp.recipes.loading import count_updates
from rltemp.tasks.rehearsal import BATCHES, rehearse_task

__all__ = ["TrainingCost", "check_memory", "estimate_training"]

_NUMBER = 4
"""Bytes."""


@dataclasses.dataclass(frozen=True)
class TrainingCost:
    """Memory and time of an agent's training.

    Attributes:
        updates: of one run of its students.
        plan: which of them are credited in hindsight; None for other credit.
        memory: bytes by part.
        free: bytes that there are; None where the system does not say.
        seconds: of rollouts and their scoring, on this machine if it does nothing else, without the teacher's training.
    """

    updates: int
    plan: CreditPlan | None
    memory: dict[str, int]
    free: int | None
    seconds: float


def check_memory(setting: NamedRecipe, root: str, ranks: Ranks = ALONE) -> None:
    """Refuse credit that would run out of memory, before the teacher is trained.

    Args:
        setting: the recipe.
        root: folder of all runs, where decoded images are kept.
        ranks: processes that train together, each a share of the students.

    Raises:
        InputError: with the settings that would fit.
    """
    if setting.recipe.agent.credit == "hindsight":
        task = rehearse_task(setting.recipe, cache=Path(root), allow_code=setting.allow_code)
        _check(setting.recipe, task, ranks)


def estimate_training(setting: NamedRecipe) -> TrainingCost:
    """Memory and time of the training of a recipe's agent.

    Raises:
        InputError: for credit that would run out of memory, or data that must be read to tell and cannot be.
    """
    recipe, updates = setting.recipe, count_updates(setting.recipe)
    task = rehearse_task(change_recipe(recipe, {"optimization.epochs": 1}), allow_code=setting.allow_code)
    _check(recipe, task)
    plan = CreditPlan.of(recipe.agent, updates) if recipe.agent.credit == "hindsight" else None
    features, spent = _rehearse(recipe, task)
    memory = _memory(recipe, task, features)
    return TrainingCost(updates, plan, memory, free_bytes(task.device), _seconds(recipe, spent, task, plan))


def _check(recipe: Recipe, task: Task, ranks: Ranks = ALONE) -> None:
    students, images = recipe.agent.students // ranks.count, recipe.data.train
    check_credit_memory(recipe, task, students, updates=count_updates(recipe), images=images)


def _rehearse(recipe: Recipe, task: Task) -> tuple[int, dict[str, float]]:
    """Number of features, and seconds by phase of one rollout, in which every update is credited and kept."""
    whole = {"checkpoints": "none", "window": 1.0, "credit_every": 1, "reward_every": BATCHES, "variations": []}
    if recipe.agent.credit == "influence":
        whole["reward_every"] = 1
    # Gradient steps of the size that they will have.
    whole["minibatches"] = max(1, round(recipe.agent.minibatches * BATCHES / count_updates(recipe)))
    small = change_recipe(recipe, {f"agent.{name}": value for name, value in whole.items()})
    slots, twins, mode = recipe.agent.students * recipe.instances, recipe.agent.twins, AutoresetMode.DISABLED
    with contextlib.closing(DistillationVectorEnv(slots, small, task=task, twins=twins, autoreset_mode=mode)) as env:
        learner = make_learner(env, small.agent)
        with PhaseTimer(time.perf_counter if task.device.type == "cuda" else _own_time) as timer:
            timer.watch(ProbeReward, "loss", "reward")
            for name in ("note", "look_back", "effects_of_each"):
                timer.watch(UnrolledRun, name, "credit")
            if isinstance(learner, Trainer):
                timer.watch(learner.model, "train", "learning")
            learner.rollout()
        return env.features, timer.seconds


def _own_time() -> float:
    """Seconds that this process would have taken so far on a machine that does nothing else."""
    return time.process_time() / torch.get_num_threads()


def _seconds(recipe: Recipe, spent: dict[str, float], task: Task, plan: CreditPlan | None) -> float:
    """Of all rollouts, from the phases of one of `BATCHES` updates."""
    agent, updates = recipe.agent, count_updates(recipe)
    each = {phase: seconds / BATCHES for phase, seconds in spent.items()}
    made = updates + (plan.length if plan is not None and plan.checkpoints else 0)
    if agent.keep == "best":
        scored = 32 if task.stacked else agent.students
        made += math.ceil(updates * scored / agent.students)
    timed = BATCHES if agent.credit == "influence" else 1
    paid = spent["reward"] / (1 + timed) * (1 + math.ceil(updates / agent.reward_every))
    credit = each.get("credit", 0.0) * (plan.credited if plan is not None else 0)
    return agent.rollouts * (made * each[OTHER] + updates * each.get("learning", 0.0) + paid + credit)


def _memory(recipe: Recipe, task: Task, features: int) -> dict[str, int]:
    """Bytes of what is kept at once, by part."""
    agent, data, updates = recipe.agent, recipe.data, count_updates(recipe)
    instances = agent.students * recipe.instances
    views = (data.views or 0) * data.train * task.training.classes
    parts = {"images": (data.train + data.validation) * task.probe.images[0].nbytes + views * _NUMBER}
    if agent.credit == "hindsight":
        memory = CreditMemory.of(task, agent.students, data.train)
        parts["credit"] = memory.needed(CreditPlan.of(agent, updates))
    if agent.learner == "ppo":
        # Observations stand there twice while the buffer is shuffled; beside them action, reward, value, probability,
        # advantage, return and the start of an episode.
        row = 2 * features + recipe.policy.actions.count + 6
        parts["rollout"] = updates * instances * row * _NUMBER
        # Both networks' layers, their gradients and the activations between.
        widths = features + 2 * 3 * sum(agent.hidden)
        parts["agent"] = math.ceil(updates * instances / agent.minibatches) * widths * _NUMBER
    if task.device.type == "cpu":
        with contextlib.suppress(InputError):  # where the system does not say
            parts["all else, measured"] = peak_resident()
    return parts
