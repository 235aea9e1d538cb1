"""Trajectories of a vector environment, and comparisons of them by bits and by memory."""

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

__all__ = ["Step", "overlap", "play", "same"]


class Step(NamedTuple):
    """The result of `step`; for the result of `reset`, rewards, terminations, and truncations are None."""

    observations: Any
    rewards: Any
    terminations: Any
    truncations: Any
    infos: dict[str, Any]

    @property
    def ended(self) -> Any:
        """Slots whose episode ended in this step; [N] bool."""
        return np.asarray(self.terminations, dtype=bool) | np.asarray(self.truncations, dtype=bool)


def play(
    env: VectorEnv[Any, Any, Any],
    max_steps: int,
    seed: int | None,
    *,
    keep: bool = False,
    vandalize: bool = False,
) -> Iterator[Step]:
    """Play random actions, and yield the results of `reset` and of every step until two steps after an episode's end.

    If autoreset is disabled, `reset` follows the end, and its result is yielded as well.

    Args:
        env: the environment.
        max_steps: most calls after the first `reset`.
        seed: for the first `reset`.
        keep: yield the results themselves instead of copies.
        vandalize: overwrite each result and each action array before the next call.
    """
    actions = copy.deepcopy(env.action_space)
    actions.seed(0)
    disabled = env.metadata.get("autoreset_mode") is AutoresetMode.DISABLED
    observations, infos = env.reset(seed=seed)
    step, action, left = Step(observations, None, None, None, infos), None, max_steps
    while True:
        over = disabled and step.rewards is not None and bool(step.ended.all())
        yield step if keep else copy.deepcopy(step)
        if vandalize:
            _overwrite(step)
            _overwrite(action)
        if left == 0:
            return
        left -= 1
        if over:
            observations, infos = env.reset()
            step = Step(observations, None, None, None, infos)
            continue
        action = actions.sample()
        step = Step(*env.step(action))
        if np.any(step.terminations) or np.any(step.truncations):
            left = min(left, 2)


def same(a: Any, b: Any) -> bool:
    """Whether two nested results have equal types, shapes, dtypes, and bits."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        return same(a.tolist(), b.tolist()) if a.dtype == object else a.tobytes() == b.tobytes()
    return type(a) is type(b) and bool(a == b)


def overlap(a: Step, b: Step) -> bool:
    """Whether an array of one result shares memory with an array of the other."""
    return any(np.shares_memory(x, y) for x in _arrays(a) for y in _arrays(b))


def _arrays(value: Any) -> Iterator[np.ndarray[Any, Any]]:
    """All arrays in a nested result."""
    if isinstance(value, np.ndarray):
        yield value
        value = value.tolist() if value.dtype == object else []
    elif isinstance(value, dict):
        value = list(value.values())
    for part in value if isinstance(value, (list, tuple)) else []:
        yield from _arrays(part)


def _overwrite(value: Any) -> None:
    for array in list(_arrays(value)):
        if array.flags.writeable and array.dtype != object:
            array[...] = ~array if array.dtype == bool else array + 1
    if isinstance(value, Step):
        value.infos.clear()
