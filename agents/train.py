"""Training of a temperature policy from a recipe."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path
from typing import Any

from gymnasium.vector import AutoresetMode

from rltemp import display
from rltemp.agents.callbacks import Checkpoint, MetricsCsv, RolloutCallback, TensorBoard
from rltemp.agents.checkpoint import load_checkpoint
from rltemp.agents.descent import Descent
from rltemp.agents.evolution import Evolution
from rltemp.agents.learner import Learner
from rltemp.agents.policy_io import check_continuable
from rltemp.agents.selection import validation_score
from rltemp.agents.trainer import Trainer
from rltemp.distillation.ranks import ALONE, Ranks
from rltemp.distillation.task import Task
from rltemp.envs.contract import StudentVectorEnv
from rltemp.envs.episode import make_features
from rltemp.envs.split import SplitVectorEnv
from rltemp.errors import InputError
from rltemp.policies.artifact import load_policy
from rltemp.policies.learned import LearnedPolicy
from rltemp.progress import NoProgress, Progress
from rltemp.recipes.loading import vary
from rltemp.recipes.schema import Agent, Recipe
from rltemp.tasks import prepare_task

__all__ = ["load_start", "make_learner", "run_training", "train_policy"]

CHECKPOINT = "checkpoint.pt"
_ALGORITHM = {"ppo": "PPO", "evolution": "evolution strategies", "descent": "gradient descent"}
_LEARNERS: dict[str, Callable[[StudentVectorEnv, Agent], Learner]] = {
    "ppo": Trainer,
    "evolution": Evolution,
    "descent": Descent,
}


def train_policy(
    recipe: Recipe,
    *,
    task: Task | Sequence[Task] | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    callbacks: Sequence[RolloutCallback] = (),
    score: Callable[[LearnedPolicy], float] | None = None,
    ranks: Ranks = ALONE,
    make_env: Callable[..., StudentVectorEnv] = SplitVectorEnv,
) -> LearnedPolicy:
    """Train a temperature policy. The same recipe gives the same policy, bit for bit.

    Several processes may train one policy: each trains a share of a rollout's students, and all learn from all of them,
    the same in every process.

    Args:
        recipe: the settings; `recipe.agent` says how the agent learns.
        task: the recipe's task and those of its variations (see `vary`), if they are already built, which saves
            training the teachers again.
        run_dir: folder, created if missing, for metrics (CSV and TensorBoard) and the checkpoint.
        resume: continue from the checkpoint in `run_dir`, if there is one; the result is that of an uninterrupted run.
        progress: advances with every step, rollouts * horizon in all; by default a bar on a terminal, and nothing
            elsewhere.
        callbacks: called after every rollout.
        score: scores the policy after every rollout, higher is better, if `agent.keep` is "best". By default
            `validation_score`. It must not read test data.
        ranks: the processes, by default this one alone; the first one writes into `run_dir`.
        make_env: makes the environment, from the arguments of `DistillationVectorEnv`; by default with all students of
            this process in it, in stacks of `agent.stack`.

    Returns:
        The policy of the rollout with the best score, or of the last one, on the CPU.

    Raises:
        InputError: for a recipe that cannot be built, variations of the loss's weights for a policy that chooses the
            scale, a checkpoint of another run, students that the processes cannot share equally, or processes whose
            arithmetic differs.
        DivergenceError: for an agent that diverges, or where no student is left.
    """
    start, weights = load_start(recipe), _weights(recipe)
    if task is None:
        task = [prepare_task(variation) for variation in vary(recipe)]
    slots = recipe.agent.students * recipe.instances
    mode = AutoresetMode.DISABLED
    options: dict[str, Any] = {"task": task, "twins": recipe.agent.twins, "autoreset_mode": mode, "ranks": ranks}
    with closing(make_env(slots, recipe, **options)) as env:
        trainer = make_learner(env, recipe.agent)
        features = make_features(recipe.policy)
        if start is not None:
            trainer.start_from(start)

        def export() -> LearnedPolicy:
            policy = trainer.export(features, recipe.policy, _card(recipe, trainer, start))
            policy.weights = weights
            return policy

        hooks = list(callbacks)
        if recipe.agent.keep == "best":
            judge = score or validation_score(recipe, (task,) if isinstance(task, Task) else task, ranks)
            hooks.insert(0, lambda trainer: trainer.keep_best(judge(export())))
        steps = recipe.agent.rollouts * env.horizon
        with nullcontext(progress) if progress else display.progress("training", steps, lines=False) as shown:
            run_training(trainer, run_dir=run_dir, resume=resume, progress=shown, callbacks=hooks, ranks=ranks)
        trainer.restore_best()
        return export()


def make_learner(env: StudentVectorEnv, agent: Agent) -> Learner:
    """The learner that `agent.learner` names, at its start; arguments and errors are those of its class."""
    return _LEARNERS[agent.learner](env, agent)


def load_start(recipe: Recipe) -> LearnedPolicy | None:
    """The trained policy that `recipe.agent.start` names, from which training continues; None without one.

    Raises:
        InputError: for a folder without a policy, or a policy whose features, hidden layers, or temperatures are not
            the recipe's, or whose network is not of the learner's kind.
    """
    agent, space = recipe.agent, recipe.policy
    if agent.start is None:
        return None
    policy = load_policy(agent.start)
    theirs = {"features": policy.features.names, "hidden layers": policy.hidden, **policy.actions.named()}
    ours = {"features": make_features(space).names, "hidden layers": agent.hidden, **space.actions.named()}
    for name, want in ours.items():
        if theirs[name] != want:
            raise InputError(f"agent.start must have the recipe's {name} {want}, got {theirs[name]}")
    check_continuable("agent.start", policy, agent.squash or agent.learner != "ppo")
    return policy


def run_training(
    trainer: Learner,
    *,
    run_dir: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    callbacks: Sequence[RolloutCallback] = (),
    ranks: Ranks = ALONE,
) -> None:
    """Make the rollouts of `trainer` that its settings ask for and that it has not made yet.

    An interruption (Ctrl-C) leaves a checkpoint in `run_dir` after the last complete rollout.

    Args:
        trainer: at its start, or resumed.
        run_dir: folder, created if missing, for metrics (CSV and TensorBoard) and the checkpoint; None writes nothing.
        resume: continue from the checkpoint in `run_dir`, if there is one.
        progress: advances with every step, rollouts * horizon in all.
        callbacks: called after every rollout, before metrics and checkpoint are written.
        ranks: processes that make the same rollouts; the first one reads and writes.

    Raises:
        InputError: for a checkpoint of another run, or processes that come to different weights.
        DivergenceError: for an agent that diverges, or where no student is left.
    """
    progress = progress or NoProgress()
    with ExitStack() as stack:
        hooks = list(callbacks)
        if ranks.count > 1:
            hooks.insert(0, lambda trainer: _check_same(trainer, ranks))
        if run_dir is not None and resume and ranks.first((Path(run_dir) / CHECKPOINT).exists):
            load_checkpoint(trainer, Path(run_dir) / CHECKPOINT, ranks)
        if run_dir is not None and ranks.is_first:
            folder = Path(run_dir)
            folder.mkdir(parents=True, exist_ok=True)
            board = stack.enter_context(TensorBoard(folder / "tensorboard"))
            # The checkpoint comes last, so that all that it records is written before.
            hooks += [MetricsCsv(folder / "metrics.csv"), board, Checkpoint(folder / CHECKPOINT)]
        progress.advance(len(trainer.history) * trainer.steps)
        while len(trainer.history) < trainer.agent.rollouts:
            progress.describe(_describe(trainer))
            trainer.rollout(progress)
            for hook in hooks:
                hook(trainer)


def _check_same(trainer: Learner, ranks: Ranks) -> None:
    """Raise `InputError` unless the policy is the same in all processes, whose learning is not exchanged."""
    own = [part.double().sum().item() for part in trainer.weights().values()]
    first, *others = ranks.gather(lambda: own)
    if any(other != first for other in others):
        raise InputError("processes must come to the same policy, got different ones: use machines of one kind")


def _weights(recipe: Recipe) -> dict[str, float]:
    """The loss's weights, which a policy that chooses more than temperatures is made for; empty for all others.

    Raises:
        InputError: for such a policy with variations that differ in them, which it cannot see.
    """
    if recipe.policy.actions.count == 1:
        return {}
    met = {(v.optimization.kd_weight, v.optimization.ce_weight) for v in vary(recipe)}
    if len(met) > 1:
        raise InputError(
            f"agent.variations must not change optimization.kd_weight or ce_weight with policy.scale_range "
            f"or policy.label_range, got {met}"
        )
    kd_weight, ce_weight = met.pop()
    return {"kd_weight": kd_weight, "ce_weight": ce_weight}


def _describe(trainer: Learner) -> str:
    done = len(trainer.history)
    if not done:
        return f"rollout 1 of {trainer.agent.rollouts}"
    last = trainer.history[-1]
    lost = f", {last['diverged']:.0f} diverged" if last.get("diverged") else ""
    return f"rollout {done + 1} of {trainer.agent.rollouts}, return {last['return']:.3f}{lost}"


def _card(recipe: Recipe, trainer: Learner, start: LearnedPolicy | None) -> dict[str, Any]:
    """How the policy was trained and what it scored, for its model card.

    It says what images that took unless the card of its start does not.
    """
    history = trainer.history
    training = {
        "algorithm": _ALGORITHM[trainer.agent.learner],
        "rollouts": len(history),
        **{f"agent.{k}": v for k, v in _plain(recipe).items()},
    }
    if history:
        training |= {"first return": history[0]["return"], "last return": history[-1]["return"]}
    if trainer.best is not None:
        training |= {"chosen after rollout": trainer.best["rollout"], "score": trainer.best["score"]}
    images = [_images(variation) for variation in vary(recipe)]
    different = [seen for i, seen in enumerate(images) if seen not in images[:i]]
    trained_on = {f"task {i}": seen for i, seen in enumerate(different)}
    if start is not None:
        before = start.card.get("trained_on")
        if not isinstance(before, dict):
            return {"training": training}
        trained_on |= {f"start, {name}": images for name, images in before.items()}
    return {"training": training, "trained_on": trained_on}


def _images(recipe: Recipe) -> dict[str, Any]:
    """The values of a recipe that say which images an agent saw, so that nobody judges its policy on them."""
    data, folder = recipe.data, recipe.data.path
    return {
        "data.name": data.name,
        "data.path": None if folder is None else Path(folder).name,
        **{f"data.{name}": getattr(data, name) for name in ("pool", "train", "validation", "split_seed", "context")},
        "teacher.train": recipe.teacher.train,
    }


def _plain(recipe: Recipe) -> dict[str, Any]:
    settings = dataclasses.asdict(recipe.agent)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}
