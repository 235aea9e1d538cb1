"""What one step of the environment costs beside the distillation in it, and on what it is spent."""

from __future__ import annotations

from collections.abc import Callable

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
from rltemp.experiments.bench.section import Phase, Row, Section
from rltemp.experiments.bench.timing import interleave
from rltemp.features import LogitFeatures
from rltemp.recipes import Recipe
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
    """An environment step of all students against the bare KD step of the same networks; then a rollout by phase."""
    recipe = recipe or default_recipe()
    task = build_task(recipe)
    students, batch = recipe.agent.students, recipe.optimization.batch_size
    env = DistillationVectorEnv(students * batch, recipe, task=task)
    times = interleave({"bare": kd_steps(task, students), "env": _env_steps(env)}, seconds)
    rows = (
        Row.of("bare KD step", times["bare"], times["bare"] / times["bare"]),
        Row.of("environment step", times["env"], times["env"] / times["bare"]),
    )
    title = f"environment: {students} students x {batch} instances; then a rollout"
    return Section(title, "of the bare step", rows, _rollout_phases(env, recipe))


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
