"""`rltemp train`: a temperature policy from a recipe, or what it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch

from rltemp.agents.callbacks import RolloutCallback
from rltemp.agents.train import load_start, train_policy
from rltemp.display import progress
from rltemp.distillation import Task
from rltemp.distillation.ranks import ALONE, Ranks
from rltemp.envs.contract import StudentVectorEnv
from rltemp.envs.split import SplitVectorEnv
from rltemp.errors import InputError
from rltemp.experiments.named_recipe import NamedRecipe, build_all
from rltemp.experiments.run_folder import RunFolder
from rltemp.experiments.training_cost import TrainingCost, check_memory, estimate_training
from rltemp.memory import readable_bytes
from rltemp.policies.artifact import save_policy
from rltemp.progress import Progress
from rltemp.recipes import dump_recipe
from rltemp.tasks.build import check_files

__all__ = ["dry_run", "train", "updates"]


def train(
    setting: NamedRecipe,
    root: str,
    name: str,
    tasks: Sequence[Task] | None = None,
    ranks: Ranks = ALONE,
    *,
    display: Progress | None = None,
    callbacks: Sequence[RolloutCallback] = (),
    make_env: Callable[..., StudentVectorEnv] = SplitVectorEnv,
) -> Path:
    """Train a policy in `<root>/<recipe>/<name>/`, or go on where this run was interrupted.

    Args:
        setting: the recipe.
        root: folder of all runs.
        name: of this run.
        tasks: what the recipe and its variations build, if they are at hand already.
        ranks: processes that train this policy together, each a share of the students; the first one writes.
        display: advances with every update; by default one of its own.
        callbacks: called after every rollout.
        make_env: as of `train_policy`.

    Returns:
        The policy's folder.

    Raises:
        InputError: if this run has finished, was started with another recipe, or would run out of memory; for a number
            of students that the processes cannot share equally.
        DivergenceError: for a teacher or an agent that diverges, or where no student is left; what was measured before
            is kept.
    """
    # Before a folder is made: what is wrong leaves nothing behind.
    load_start(setting.recipe)
    agent = setting.recipe.agent
    ranks.share("agent.students", agent.students)
    ranks.share("agent.students / agent.stack", agent.students // (agent.stack or 1))
    if tasks is None and make_env is SplitVectorEnv:  # others may have their students elsewhere
        ranks.agree(lambda: check_memory(setting, root, ranks))
    config = dump_recipe(setting.recipe)
    folder = ranks.agree(lambda: RunFolder.start(root, setting.name, name, config) if ranks.is_first else None)
    path = Path(root) / setting.name / name
    with folder.measuring() if folder is not None else nullcontext():
        tasks = tasks or build_all(setting, root, ranks)
        steps = updates(setting, tasks)
        with nullcontext(display) if display else progress("policy", steps, shown=ranks.is_first) as shown:
            policy = train_policy(
                setting.recipe,
                task=tasks,
                run_dir=path,
                resume=True,
                progress=shown,
                callbacks=callbacks,
                ranks=ranks,
                make_env=make_env,
            )
    if folder is not None:
        policy.card = {"recipe": setting.name, **policy.card}
        save_policy(policy, path / "policy", overwrite=True)
        folder.finish()
    return path / "policy"


def updates(setting: NamedRecipe, tasks: Sequence[Task]) -> int:
    """Updates that a whole training makes of each student."""
    return tasks[0].steps * setting.recipe.agent.rollouts


def dry_run(setting: NamedRecipe) -> str:
    """What training the recipe's agent takes, in lines of text; data and checkpoints may be missing.

    Raises:
        InputError: for credit that would run out of memory, or data that must be read to tell and cannot be.
    """
    cost, agent = estimate_training(setting), setting.recipe.agent
    lines = [
        f"{setting.name}: {_count(agent.rollouts, 'rollout')} of {_count(agent.students, 'student')}, "
        f"{cost.updates:,} updates each",
        _credit(cost, agent.credit),
        _memory(cost),
        f"time: about {_hours(cost.seconds)} without the teacher's, from a rollout of a few updates on this machine "
        f"if it does nothing else ({_count(torch.get_num_threads(), 'thread')})",
    ]
    try:
        check_files(setting.recipe, allow_download=setting.allow_download, allow_code=setting.allow_code)
    except InputError as error:
        lines.append(f"still missing: {error}")
    return "\n".join(lines)


def _credit(cost: TrainingCost, credit: str) -> str:
    if cost.plan is None:
        return f"credit: {credit}"
    kept = f"{len(cost.plan.starts)} checkpoints" if cost.plan.checkpoints else "every one of them kept"
    return f"credit: {credit}, {cost.plan.credited:,} of the last {cost.plan.length:,} updates, {kept}"


def _memory(cost: TrainingCost) -> str:
    parts = ", ".join(f"{name} {readable_bytes(size)}" for name, size in cost.memory.items())
    there = "" if cost.free is None else f" of the {readable_bytes(cost.free)} that this machine has"
    return f"memory: about {readable_bytes(sum(cost.memory.values()))}{there} ({parts})"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds < 36_000 else f"{seconds / 3600:.0f} hours"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
