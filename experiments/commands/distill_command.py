"""`rltemp distill`: one new KD run that reuses a policy, or whose agent learns in it."""

from __future__ import annotations

import dataclasses
import io
import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import save

from rltemp.display import progress
from rltemp.distillation import Scores, Task, score
from rltemp.distillation.policy_run import PolicyRun
from rltemp.distillation.ranks import ALONE, Ranks
from rltemp.errors import InputError
from rltemp.experiments.evaluation.results import QUANTILES
from rltemp.experiments.evaluation.specs import PolicySpec, check_probe
from rltemp.experiments.evaluation.trace import TraceRecorder
from rltemp.experiments.named_recipe import NamedRecipe, build
from rltemp.experiments.run_folder import RunFolder
from rltemp.files import atomic_write
from rltemp.policies.artifact import save_policy
from rltemp.progress import Progress
from rltemp.reading import restore
from rltemp.recipes import dump_recipe

if TYPE_CHECKING:
    from rltemp.agents import OnlineRun
    from rltemp.experiments.evaluation.agent_specs import AgentSpec

__all__ = ["Distilled", "distill"]

_CHECKPOINT = "run.pt"


@dataclasses.dataclass(frozen=True)
class Distilled:
    """What one run came to.

    Attributes:
        folder: config, metrics by epoch, scores, the student's weights in student.safetensors, and in policy/ what an
            agent learned, if a policy can hold it.
        test: scores of the one student on the test images after the last epoch, each [1].
    """

    folder: Path
    test: Scores


def distill(
    setting: NamedRecipe,
    spec: PolicySpec | AgentSpec,
    seed: int,
    root: str,
    name: str,
    task: Task | None = None,
    ranks: Ranks = ALONE,
) -> Distilled:
    """Train one student under a policy or an agent, in `<root>/<recipe>/<name>/`, or go on where it was interrupted.

    Args:
        setting: the recipe.
        spec: the policy, or the agent that learns in this run.
        seed: of the student.
        root: folder of all runs.
        name: of this run.
        task: what the recipe builds, if it is at hand already.
        ranks: processes that make this run together; each takes its share of every minibatch, the first one writes.

    Raises:
        InputError: for an agent that cannot learn in such a run, or with several processes; for a batch size that they
            cannot share equally; if this run has finished, or was started with another recipe, policy, agent or seed.
        DivergenceError: for a teacher, a student or an agent that diverges; whole epochs before are kept.
    """
    kind, label = ("policy", spec.label) if isinstance(spec, PolicySpec) else ("agent", spec.name)
    ranks.share("optimization.batch_size", setting.recipe.optimization.batch_size)
    if isinstance(spec, PolicySpec):
        check_probe([spec], setting.recipe.policy)
    elif ranks.count > 1:
        raise InputError(f"--agent must learn in a run of one process, got {ranks.count}")
    else:
        spec.online.check(setting.recipe.optimization)
    config = f"{dump_recipe(setting.recipe, agent=False)}# {kind}: {spec.name}\n# seed: {seed}\n"
    folder = ranks.agree(lambda: RunFolder.start(root, setting.name, name, config) if ranks.is_first else None)
    with folder.measuring() if folder is not None else nullcontext():
        task = dataclasses.replace(task or build(setting, root, ranks), ranks=ranks)
        whole = spec.start(task, [seed], setting.recipe.policy)
        _resume(whole, folder)
        with progress(f"student under {label}", task.steps, shown=ranks.is_first) as display:
            display.advance(whole.run.step)
            while not whole.run.finished:
                _epoch(whole, folder, display)
    test = score(whole.run.students, task.test, task.augmentation)
    if folder is not None:
        _finish(whole, folder, test)
    return Distilled(Path(root) / setting.name / name, test)


def _finish(whole: PolicyRun | OnlineRun, folder: RunFolder, test: Scores) -> None:
    """Write what the run came to."""
    scores = {field.name: float(getattr(test, field.name)) for field in dataclasses.fields(test)}
    # What papers report that choose the epoch on the test images; here for comparison with them alone.
    scores["best_epoch_accuracy"] = float(folder.read_metrics()["test_accuracy"].max())
    weights = whole.run.students.extract(0).state_dict()
    atomic_write(
        folder.path / "student.safetensors", save({name: value.cpu().contiguous() for name, value in weights.items()})
    )
    atomic_write(folder.path / "scores.json", json.dumps(scores, indent=1) + "\n")
    if not isinstance(whole, PolicyRun) and whole.is_exportable:
        save_policy(whole.export(), folder.path / "policy", overwrite=True)
    folder.finish()


def _epoch(whole: PolicyRun | OnlineRun, folder: RunFolder | None, display: Progress) -> None:
    """One pass over the training images, then its metrics and the checkpoint, where there is a folder for them."""
    task = whole.run.task
    updates = task.steps // task.optimization.epochs
    recorder = TraceRecorder(updates)
    for _ in range(updates):
        whole.advance(recorder)
        display.advance()
    whole.run.check()
    if folder is not None:
        _keep(whole, folder, recorder)


def _keep(whole: PolicyRun | OnlineRun, folder: RunFolder, recorder: TraceRecorder) -> None:
    """The metrics of the last epoch, then the checkpoint: what it says has happened, has."""
    task = whole.run.task
    updates = task.steps // task.optimization.epochs
    validation = score(whole.run.students, task.validation, task.augmentation)
    quantiles = np.median(recorder.trace().quantiles, axis=0)
    folder.append_metrics(
        {
            "epoch": whole.run.step // updates,
            "validation_accuracy": float(validation.accuracy),
            "validation_nll": float(validation.nll),
            "test_accuracy": float(score(whole.run.students, task.test, task.augmentation).accuracy),
        }
        | {f"temperature_{100 * q:.0f}": float(t) for q, t in zip(QUANTILES, quantiles, strict=True)}
    )
    state = io.BytesIO()
    torch.save(whole.state_dict(), state)
    atomic_write(folder.checkpoints / _CHECKPOINT, state.getvalue())


def _resume(whole: PolicyRun | OnlineRun, folder: RunFolder | None) -> None:
    """Go on from the checkpoint, if there is one; the process that has the folder reads it for all."""
    task = whole.run.task
    path = None if folder is None else folder.checkpoints / _CHECKPOINT
    found = task.ranks.first(lambda: str(path) if path is not None and path.exists() else None)
    if found is not None:
        restore(whole.load_state_dict, found, task.ranks.first)
    if folder is not None and (folder.path / "metrics.csv").exists():
        folder.keep_metrics(whole.run.step // (task.steps // task.optimization.epochs))
