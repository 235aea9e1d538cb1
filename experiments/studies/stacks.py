"""What do students in smaller stacks cost, one after the other, and do their bits stay those of one stack?

    uv run python -m rltemp.experiments.studies.stacks

An episode of 16 students of `digits-short` at random actions, credited in hindsight, in stacks of every size in turn:
processor time as a ratio to one stack of all, and whether observations, rewards and credit are equal in all bits.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from rltemp.envs.split import SplitVectorEnv
from rltemp.experiments.machine import describe_machine
from rltemp.recipes import change_recipe, load_recipe
from rltemp.tasks import build_task

RECIPE, STUDENTS, SIZES, ROUNDS = "digits-short", 16, (16, 8, 4, 2, 1), 3


def main() -> None:
    torch.set_num_threads(1)
    recipe = change_recipe(load_recipe(RECIPE), {"agent.students": STUDENTS})
    task = build_task(recipe)
    slots = STUDENTS * recipe.optimization.batch_size
    envs = {size: SplitVectorEnv(slots, change_recipe(recipe, {"agent.stack": size}), task=task) for size in SIZES}
    ratios: dict[int, list[float]] = {size: [] for size in SIZES}
    same: dict[int, bool] = {}
    for _ in range(ROUNDS):
        whole, seconds = play(envs[STUDENTS])
        for size, env in envs.items():
            shown, own = play(env) if size != STUDENTS else (whole, seconds)
            ratios[size].append(own / seconds)
            same[size] = all(np.array_equal(one, other) for one, other in zip(shown, whole, strict=True))
    print(f"{describe_machine()['processor']}, one thread; {RECIPE}, {STUDENTS} students, {ROUNDS} rounds\n")
    print("| students of a stack | processor time | at most, with a worker for each | equal bits |\n|--:|--:|--:|---|")
    for size in SIZES:
        ratio = float(np.median(ratios[size]))
        fastest = STUDENTS / size / ratio
        print(f"| {size} | {ratio:.2f} | {fastest:.2f} | {'yes' if same[size] else 'no'} |")


def play(env: SplitVectorEnv) -> tuple[list[Any], float]:
    """All that an episode shows, and its seconds of the processor."""
    actions = np.random.default_rng(0).uniform(-1, 1, (env.horizon, env.num_envs, 1)).astype(np.float32)
    start = time.process_time()
    shown: list[Any] = [env.reset(seed=0)[0]]
    for step in actions:
        observation, reward, *_ = env.step(step)
        shown += [observation, reward]
    shown.append(env.effects(actions[..., 0]))
    env.forget()
    return shown, time.process_time() - start


if __name__ == "__main__":
    main()
