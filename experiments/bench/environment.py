"""What one step of the environment costs beside the distillation in it, and on what it is spent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rltemp.agents.trainer import Trainer
from rltemp.distillation.population_probe import PopulationProbe
from rltemp.distillation.run import DistillationRun
from rltemp.distillation.students import StackedStudents
from rltemp.distillation.teacher import Teacher
from rltemp.distillation.training_images import Minibatches
from rltemp.envs.reward import ProbeReward
from rltemp.envs.unrolling import UnrolledRun
from rltemp.envs.vector import DistillationVectorEnv
from rltemp.experiments.bench.kd_steps import default_recipe, kd_steps
from rltemp.experiments.bench.phases import OTHER, PhaseTimer
from rltemp.experiments.bench.section import AtMost, Phase, Row, Section
from rltemp.experiments.bench.timing import interleave
from rltemp.features import LogitFeatures
from rltemp.recipes import Recipe, change_recipe
from rltemp.tasks import build_task

__all__ = ["measure"]

_PHASES = (
    (Minibatches, "draw", "data"),
    (Teacher, "answer", "teacher"),
    (StackedStudents, "forward", "student"),
    (DistillationRun, "update", "student"),
    (ProbeReward, "loss", "reward"),
    (ProbeReward, "influence", "credit"),
    (UnrolledRun, "note", "credit"),
    (UnrolledRun, "look_back", "credit"),
    (UnrolledRun, "effects", "credit"),
    (PopulationProbe, "alignment", "alignment"),
    (LogitFeatures, "__call__", "features"),
)


def measure(seconds: float, recipe: Recipe | None = None) -> Section:
    """An environment step of all students against the bare KD step of the same networks; then a rollout by phase.

    What an agent asks for beyond the environment itself is added piece by piece: the loss of held-out images that
    rewards every update, the probe that shows alignments, and what credit in hindsight keeps and computes.
    """
    recipe = recipe or default_recipe()
    task = build_task(recipe)
    students, batch = recipe.agent.students, recipe.optimization.batch_size
    plainest = {"policy.alignment": "none", "policy.features": [], "agent.credit": "uniform"}
    steps: dict[str, dict[str, Any]] = {
        "environment step, one reward, no probe, no credit": {**plainest, "agent.reward_every": task.steps},
        "and a reward for every update": plainest,
        "and the probe": {"agent.credit": "uniform"},
        "and credit: the recipe's own step": {},
    }
    envs = {
        name: DistillationVectorEnv(students * batch, change_recipe(recipe, changes), task=task)
        for name, changes in steps.items()
    }
    bare = "bare KD step"
    times = interleave(
        {bare: kd_steps(task, range(students)), **{name: _env_steps(env) for name, env in envs.items()}}, seconds
    )
    bars = {next(iter(steps)): AtMost(1.15)}
    rows = tuple(Row.of(name, times[name], times[name] / times[bare], bars.get(name)) for name in times)
    title = f"environment: {students} students x {batch} instances; then a rollout"
    return Section(title, "of the bare step", rows, _rollout_phases(list(envs.values())[-1], recipe))


def _env_steps(env: DistillationVectorEnv) -> Callable[[], object]:
    env.reset(seed=0)
    actions = np.zeros(env.action_space.shape or (), dtype=np.float32)
    return lambda: env.step(actions)


def _rollout_phases(env: DistillationVectorEnv, recipe: Recipe) -> tuple[Phase, ...]:
    """One rollout and its update, divided by the steps of the environment."""
    trainer = Trainer(env, recipe.agent)
    policy = trainer.model.policy
    watched = (*_PHASES, (policy, "forward", "policy"), (policy, "predict_values", "policy"))
    with PhaseTimer() as timer:
        for owner, name, phase in (*watched, (trainer.model, "train", "PPO update")):
            timer.watch(owner, name, phase)
        trainer.rollout()
    shares = timer.shares
    return tuple(
        Phase("host copies, other" if phase == OTHER else phase, 1e3 * spent / env.horizon, shares[phase])
        for phase, spent in timer.seconds.items()
    )
