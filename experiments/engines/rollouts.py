"""Students of one training as actors of Ray's: each worker has a process of its own, on any machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from rltemp.distillation import Task
from rltemp.envs.split import Hire, Stacks
from rltemp.experiments.engines.on_ray import OnRay, cause
from rltemp.recipes import Recipe

__all__ = ["hiring"]


@contextmanager
def hiring(engine: OnRay) -> Iterator[Hire]:
    """What makes workers for a `SplitVectorEnv`, for the time of the block.

    Args:
        engine: where; a worker takes what it says of a unit.

    Raises:
        InputError: without Ray, or without a machine in its cluster that has what a worker needs.
    """
    with engine.connected() as ray:
        actor = ray.remote(_Stacks).options(**engine.needs)
        shared: dict[int, Any] = {}

        def hire(count: int, slots: int, recipe: Recipe, tasks: Sequence[Task]) -> _Worker:
            if id(tasks) not in shared:  # once to each machine, however many workers are there
                shared[id(tasks)] = ray.put(list(tasks))
            return _Worker(ray, actor.remote(torch.get_num_threads(), count, slots, recipe, shared[id(tasks)]))

        yield hire


class _Stacks(Stacks):
    def __init__(self, threads: int, count: int, slots: int, recipe: Recipe, tasks: Sequence[Task]) -> None:
        # As many as where the policy learns: sums over another number round otherwise.
        torch.set_num_threads(threads)
        super().__init__(count, slots, recipe, tasks)


class _Worker:
    def __init__(self, ray: Any, stacks: Any) -> None:
        self._ray, self._stacks = ray, stacks

    def begin(self, checked: bool, method: str, arguments: Sequence[tuple[Any, ...]]) -> Callable[[], list[Any]]:
        """As in `Worker`."""
        reference = self._stacks.call.remote(checked, method, arguments)

        def result() -> list[Any]:
            try:
                results: list[Any] = self._ray.get(reference)
            except self._ray.exceptions.RayTaskError as error:
                raise cause(error) from None
            return results

        return result

    def close(self) -> None:
        """As in `Worker`."""
        self._ray.kill(self._stacks)
