"""What every training instance got over the runs of a few students."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from rltemp.distillation import ForwardPass, Task
from rltemp.distillation.training_images import index_orders
from rltemp.experiments.evaluation.results import FloatArray
from rltemp.experiments.evaluation.specs import PolicySpec
from rltemp.experiments.evaluation.units import side_by_side
from rltemp.recipes.schema import PolicySpace
from rltemp.temperatures import Temperatures

__all__ = ["InstanceCourses", "record_instances"]

_MOST_VISITS = 24
"""Visits of an instance that are kept, evenly spread over the epochs: what a small line can show."""


@dataclass(frozen=True, eq=False)
class InstanceCourses:
    """What each of N training instances got at V moments, its visits; NaN where an epoch left it out.

    Of a text, N counts windows, and values are means over the tokens of one.

    Attributes:
        progress: how far the run was, [N, V], in [0, 1].
        temperature: the student's temperature, [N, V], > 0.
        difficulty: the student's cross-entropy with the label before the update, [N, V], >= 0.
    """

    progress: FloatArray
    temperature: FloatArray
    difficulty: FloatArray

    @property
    def visited(self) -> FloatArray:
        """How many of its visits are kept, [N]."""
        counts: FloatArray = np.isfinite(self.progress).sum(axis=1).astype(np.float64)
        return counts

    @property
    def mean_difficulty(self) -> FloatArray:
        """Mean over visits, [N]; NaN for an instance without any."""
        return self._mean(self.difficulty)

    @property
    def mean_temperature(self) -> FloatArray:
        """Geometric mean over visits, [N]; NaN for an instance without any."""
        means: FloatArray = np.exp(self._mean(np.log(self.temperature)))
        return means

    def _mean(self, values: FloatArray) -> FloatArray:
        visits = self.visited
        means: FloatArray = np.where(visits > 0, np.nansum(values, axis=1) / np.maximum(visits, 1), np.nan)
        return means


def record_instances(
    task: Task, spec: PolicySpec, seeds: Sequence[int], space: PolicySpace, advance: Callable[[], None]
) -> list[InstanceCourses]:
    """Distill the students once more under a policy, and note what every instance gets.

    Args:
        task: with training images in memory.
        spec: the policy.
        seeds: of the students.
        space: settings of the probe.
        advance: called once per student and update.

    Raises:
        DivergenceError: for students that diverge.
    """
    courses: list[InstanceCourses] = []
    for group in side_by_side(seeds, task.stacked):
        whole = spec.start(task, group, space)
        recorder = _Recorder(task, group)
        while not whole.run.finished:
            whole.advance(recorder)
            for _ in group:
                advance()
        courses += recorder.courses()
    return courses


class _Recorder:
    """Notes every update of K students; in each epoch an instance has one visit or none."""

    def __init__(self, task: Task, seeds: Sequence[int]) -> None:
        # A minibatch does not know which images it holds; its order, which is the seed's alone, does.
        self._orders = index_orders(len(task.training), seeds, task.optimization.batch_size)
        self._updates = task.steps // task.optimization.epochs
        self._every = math.ceil(task.optimization.epochs / _MOST_VISITS)
        self._step = 0
        visits = math.ceil(task.optimization.epochs / self._every)
        self._kept = np.full((3, len(seeds), len(task.training), visits), np.nan)

    def __call__(self, observation: ForwardPass, temperatures: Temperatures) -> None:
        rows = torch.stack([order.take() for order in self._orders])
        epoch, self._step = self._step // self._updates, self._step + 1
        if epoch % self._every:
            return
        logits = observation.student.logits.detach().flatten(0, 1)
        difficulty = F.cross_entropy(logits, observation.minibatch.targets.flatten(), reduction="none")
        students, visit = np.arange(len(rows))[:, None], epoch // self._every
        chosen = temperatures.student.detach()
        values = [torch.full_like(chosen, observation.progress), chosen, difficulty.clamp(min=0.0)]
        for kept, value in zip(self._kept, values, strict=True):
            kept[students, rows.numpy(), visit] = value.double().cpu().view(*rows.shape, -1).mean(-1).numpy()

    def courses(self) -> list[InstanceCourses]:
        """What was noted, a value per student."""
        return [InstanceCourses(*self._kept[:, student]) for student in range(self._kept.shape[1])]
