"""Students of one environment in stacks that are computed apart: in one process, in several, or on several machines."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, Protocol

import numpy as np
from gymnasium.vector import AutoresetMode

from rltemp.checks import checks_values, unchecked
from rltemp.distillation.ranks import ALONE, Ranks
from rltemp.distillation.task import Task
from rltemp.envs.contract import Floats, Transition
from rltemp.envs.transition import joined
from rltemp.envs.vector import DistillationVectorEnv
from rltemp.errors import InputError
from rltemp.recipes import Recipe

__all__ = ["Hire", "SplitVectorEnv", "Stacks", "Worker"]


class Stacks:
    """Stacks of students, one computed after the other.

    Args:
        count: how many.
        slots: of each.
        recipe: as of `DistillationVectorEnv`.
        tasks: that its episodes play.
    """

    def __init__(self, count: int, slots: int, recipe: Recipe, tasks: Sequence[Task]) -> None:
        self._envs = [DistillationVectorEnv(slots, recipe, task=tasks) for _ in range(count)]

    def call(self, checked: bool, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Call a method of the environment of every stack with arguments of its own, its values checked or not."""
        with nullcontext() if checked else unchecked():
            return [getattr(env, method)(*own) for env, own in zip(self._envs, arguments, strict=True)]


class Worker(Protocol):
    """`Stacks`, wherever they are."""

    def begin(self, checked: bool, method: str, arguments: Sequence[tuple[Any, ...]]) -> Callable[[], list[Any]]:
        """Begin `Stacks.call`; what is returned waits for the result."""

    def close(self) -> None:
        """End what it runs in."""


Hire = Callable[[int, int, Recipe, Sequence[Task]], Worker]
"""Makes a worker, from the arguments of `Stacks`."""


class Here:
    """A worker in this process, which computes when it is waited for; arguments are those of `Stacks`."""

    def __init__(self, count: int, slots: int, recipe: Recipe, tasks: Sequence[Task]) -> None:
        self._stacks = Stacks(count, slots, recipe, tasks)

    def begin(self, checked: bool, method: str, arguments: Sequence[tuple[Any, ...]]) -> Callable[[], list[Any]]:
        """As in `Worker`."""
        return lambda: self._stacks.call(checked, method, arguments)

    def close(self) -> None:
        """As in `Worker`."""


class SplitVectorEnv(DistillationVectorEnv):
    """A `DistillationVectorEnv` whose students are computed in stacks of the recipe's `agent.stack`.

    A student's course follows from its own seed and actions, up to the last bits, which depend on how many students are
    computed in one product. Stacks of one size give the same bits whoever computes them, on one kind of processor.

    Args:
        num_envs: as of `DistillationVectorEnv`, of a multiple of `agent.stack` students.
        recipe: likewise.
        task: likewise.
        workers: how many share the stacks of this process out, at most as many as there are.
        hire: makes them; by default in this process.
        twins: as of `DistillationVectorEnv`.
        autoreset_mode: likewise.
        ranks: likewise; each process has a share of the stacks.

    Raises:
        InputError: as `DistillationVectorEnv`, for students that are no whole stacks, stacks that the processes cannot
            share equally, or too many workers.
    """

    def __init__(
        self,
        num_envs: int,
        recipe: Recipe,
        *,
        task: Task | Sequence[Task] | None = None,
        workers: int = 1,
        hire: Hire = Here,
        twins: bool = False,
        autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
        ranks: Ranks = ALONE,
    ) -> None:
        self._elsewhere = hire is not Here
        super().__init__(num_envs, recipe, task=task, twins=twins, autoreset_mode=autoreset_mode, ranks=ranks)
        stack = recipe.agent.stack or self.students // ranks.count
        total, rest = divmod(self.students, stack)
        if rest:
            raise InputError(f"num_envs must be that of a multiple of {stack} students, got {self.students} students")
        self._count = len(range(total)[ranks.share("agent.students / agent.stack", total)])
        if not 1 <= workers <= self._count:
            raise InputError(
                f"workers must lie in [1, {self._count}], the stacks of agent.stack = {stack} students, got {workers}"
            )
        counts = [len(part) for part in np.array_split(np.arange(self._count), workers)]
        self._ends = [0, *np.cumsum(counts).tolist()]
        self._workers = [hire(count, stack * self.batch_size, recipe, self._tasks) for count in counts]

    def forget(self) -> None:
        """As in `DistillationVectorEnv`."""
        super().forget()
        self._each("forget", [()] * self._count)

    def close_extras(self, **kwargs: Any) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.close()

    def _check_memory(self, students: int) -> None:
        if not self._elsewhere:
            super()._check_memory(students)

    def _begin(self, task: int, seeds: Sequence[int]) -> Floats:
        self._effects = self._effects_of  # stacks know whether they have any
        parts = np.split(np.asarray(seeds), self._count)
        return np.concatenate(self._each("start_students", [(task, part.tolist()) for part in parts]))

    def _step(self, actions: Floats) -> tuple[Floats, Transition]:
        answers = self._each("advance", [(part,) for part in np.split(actions, self._count)])
        seen, transitions = zip(*answers, strict=True)
        return np.concatenate(seen), joined(transitions)

    def _effects_of(self, actions: Floats) -> Floats:
        """Of actions [..., K, B], or [..., K, B, A], of this process's students; returns [..., K, B]."""
        axis = actions.ndim - (2 if self.actions == 1 else 3)
        steps, each = actions.shape[:axis], actions.shape[axis + 2 :]
        parts = np.split(actions, self._count, axis=axis)
        found = self._each("effects", [(part.reshape(*steps, -1, *each),) for part in parts])
        return np.concatenate([part.reshape(*steps, -1, self.batch_size) for part in found], axis=axis)

    def _each(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Results of a method of every stack; workers work side by side."""
        shares = [arguments[start:end] for start, end in itertools.pairwise(self._ends)]
        begun = [
            worker.begin(checks_values(), method, share) for worker, share in zip(self._workers, shares, strict=True)
        ]
        return [result for wait in begun for result in wait()]
