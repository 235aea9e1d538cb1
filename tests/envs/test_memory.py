"""Over thousands of steps of many short episodes, memory does not grow."""

import gc
import subprocess
import sys
from collections.abc import Callable

import gymnasium
import numpy as np
import pytest
import torch

from rltemp.envs import DistillationVectorEnv
from rltemp.recipes import load_recipe

TINY = {
    "data": {"train": 16, "validation": 10},
    "teacher": {"network": {"options": {"hidden": [4]}}, "members": 1, "epochs": 1, "batch_size": 8},
    "student": {"options": {"hidden": [4]}},
    "optimization": {"epochs": 2, "batch_size": 8},
    "policy": {"alignment": "none"},
}
HORIZON = 4
STRETCHES, EPISODES = 7, 50  # with four steps each and the two credits 2,800 steps; caches are full after about five


def tensor_bytes() -> int:
    """What live tensors hold, which Python's own account does not see."""
    tensors = (thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor))
    return sum({tensor.data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}.values())


def leaks(episode: Callable[[], object]) -> bool:
    """Whether episodes keep something for good: in every stretch each leaves a tensor or one more block of Python's.

    Caches, which fill up once, leave something in some stretches alone.
    """
    used = np.zeros((STRETCHES, 2), dtype=np.int64)
    gc.freeze()  # what other tests left is not walked over at every collection
    try:
        for moment in range(STRETCHES):
            for _ in range(EPISODES):
                episode()
            gc.collect()
            used[moment] = tensor_bytes(), sys.getallocatedblocks()
    finally:
        gc.unfreeze()
    return bool((np.diff(used, axis=0) >= EPISODES).all(axis=0).any())


def episodes_leak(credit: str) -> bool:
    """Whether episodes of the environment do, with this credit."""
    recipe = load_recipe("digits-short", {**TINY, "agent": {"credit": credit}})
    env = gymnasium.make_vec("rltemp/Distillation-v0", num_envs=8, recipe=recipe)
    students = env.unwrapped
    assert isinstance(students, DistillationVectorEnv)
    actions = np.random.default_rng(0).uniform(-1, 1, (HORIZON, 8, 1)).astype(np.float32)
    env.reset(seed=0)

    def episode() -> None:
        for step in range(HORIZON):
            terminated = env.step(actions[step])[2]
        assert terminated.all()
        if credit == "hindsight":
            students.effects(actions)

    return leaks(episode)


@pytest.mark.parametrize("credit", ["uniform", "hindsight"])
def test_memory_is_flat(credit: str) -> None:
    # In a process of its own, since threads that other tests have started allocate as well.
    done = subprocess.run([sys.executable, __file__, credit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


@pytest.mark.parametrize("make", [lambda: torch.zeros(1), lambda: np.zeros(2), lambda: [1]])
def test_a_leak_in_every_episode_is_seen_and_what_is_let_go_is_none(make: Callable[[], object]) -> None:
    kept: list[object] = []
    assert leaks(lambda: kept.append(make()))
    assert not leaks(make)


if __name__ == "__main__":
    print(episodes_leak(sys.argv[1]))
