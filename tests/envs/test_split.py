"""Students in stacks are the same, bit for bit, whoever computes them; one stack of all is the whole environment."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from rltemp.agents import train_policy
from rltemp.distillation import Task
from rltemp.distillation.ranks import ALONE, Ranks
from rltemp.envs import DistillationVectorEnv
from rltemp.envs.split import SplitVectorEnv
from rltemp.envs.student_conformance import check_student_env
from rltemp.errors import InputError
from rltemp.recipes import Recipe, change_recipe, load_recipe
from rltemp.tasks.build import check_recipe

STUDENTS = 4


def small(recipe: Recipe, stack: int | None, **agent: Any) -> Recipe:
    values = {"students": STUDENTS, "stack": stack, "rollouts": 1, "hidden": [4], **agent}
    return change_recipe(recipe, {f"agent.{name}": value for name, value in values.items()})


def played(env: DistillationVectorEnv) -> dict[str, Any]:
    """All that an episode at random actions shows."""
    actions = np.random.default_rng(0).uniform(-1, 1, (env.horizon, env.num_envs, 1)).astype(np.float32)
    seen, rewards = [env.reset(seed=3)[0]], []
    for step in actions:
        observation, reward, *_ = env.step(step)
        seen.append(observation)
        rewards.append(reward)
    shown = {"seen": np.stack(seen), "rewards": np.stack(rewards), "influence": env.transition.influence}
    return {**shown, "effects": env.effects(actions[..., 0]) if "hindsight" in env.credit_kinds else None}


@pytest.mark.parametrize("credit", ["hindsight", "influence"])
def test_all_that_an_episode_shows_is_the_same(tiny_recipe: Recipe, tiny_task: Task, credit: str) -> None:
    slots = STUDENTS * tiny_recipe.optimization.batch_size
    whole = played(DistillationVectorEnv(slots, small(tiny_recipe, None, credit=credit), task=tiny_task))
    for stack, workers in ((STUDENTS, 1), (None, 1), (2, 1), (2, 2), (1, 3)):
        env = SplitVectorEnv(slots, small(tiny_recipe, stack, credit=credit), task=tiny_task, workers=workers)
        for name, value in played(env).items():
            if stack in (STUDENTS, None):
                np.testing.assert_array_equal(value, whole[name])
            elif value is not None:  # other kernels, other last bits
                np.testing.assert_allclose(value, whole[name], rtol=1e-2, atol=1e-3)


def test_it_keeps_the_contract(tiny_recipe: Recipe, tiny_task: Task) -> None:
    slots = STUDENTS * tiny_recipe.optimization.batch_size
    check_student_env(lambda: SplitVectorEnv(slots, small(tiny_recipe, 2), task=tiny_task, workers=2))


@pytest.mark.parametrize("agent", [{}, {"learner": "evolution", "credit": "uniform"}])
def test_a_policy_is_the_same_however_many_workers_there_are(tiny_recipe: Recipe, tiny_task: Task, agent: Any) -> None:
    recipe = small(tiny_recipe, 2, **agent)
    one, other = (
        train_policy(recipe, task=[tiny_task], make_env=partial(SplitVectorEnv, workers=workers)).state_dict()
        for workers in (1, 2)
    )
    assert all(torch.equal(value, other[name]) for name, value in one.items())


class Share(Ranks):
    """One of several processes, which asks nobody else."""

    def gather(self, do: Callable[[], Any]) -> list[Any]:
        return [do()]


@pytest.mark.parametrize("credit", ["hindsight", "influence"])
def test_processes_of_one_run_have_stacks_each(tiny_recipe: Recipe, tiny_task: Task, credit: str) -> None:
    recipe = small(tiny_recipe, 1, credit=credit)
    slots, seeds = STUDENTS * recipe.optimization.batch_size, range(STUDENTS)
    envs = [SplitVectorEnv(slots, recipe, task=tiny_task, ranks=ranks) for ranks in (ALONE, Share(0, 2), Share(1, 2))]
    whole, *shares = [[env.start_students(0, seeds)] for env in envs]
    shape = (envs[0].horizon, STUDENTS, recipe.optimization.batch_size)
    actions = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    for step in actions:
        for shown, env in zip((whole, *shares), envs, strict=True):
            seen, transition = env.advance(step)
            shown += [seen, transition.reward]
            if transition.influence is not None:
                shown.append(transition.influence)
    for all_of_them, *parts in zip(whole, *shares, strict=True):
        np.testing.assert_array_equal(all_of_them, np.concatenate(parts))
    if credit == "hindsight":
        effects = [env.effects(actions.reshape(len(actions), -1)) for env in envs]
        np.testing.assert_array_equal(effects[0], np.concatenate(effects[1:], axis=1))


def test_processes_of_one_run_share_whole_stacks(tiny_recipe: Recipe, tiny_task: Task) -> None:
    slots = STUDENTS * tiny_recipe.optimization.batch_size
    with pytest.raises(InputError, match=r"agent\.stack must be a multiple of the 2 processes of this run, got 1"):
        SplitVectorEnv(slots, small(tiny_recipe, STUDENTS), task=tiny_task, ranks=Share(0, 2))


def test_workers_have_a_stack_each_and_stacks_are_whole(tiny_recipe: Recipe, tiny_task: Task) -> None:
    recipe = small(tiny_recipe, 2)
    slots = STUDENTS * recipe.optimization.batch_size
    for workers in (0, 3):
        with pytest.raises(
            InputError, match=rf"workers must lie in \[1, 2\], the stacks .* = 2 students, got {workers}"
        ):
            SplitVectorEnv(slots, recipe, task=tiny_task, workers=workers)
    with pytest.raises(InputError, match=r"num_envs must be that of a multiple of 2 students, got 3 students"):
        SplitVectorEnv(3 * recipe.optimization.batch_size, recipe, task=tiny_task)
    with pytest.raises(InputError, match=r"agent\.stack must divide agent\.students, 16, got 3"):
        check_recipe(load_recipe("digits-short", {"agent.stack": 3}))
