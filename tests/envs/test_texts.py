"""The environment of a text: a slot per token, and credit for each of them by its effect on the end."""

import numpy as np
import pytest
import torch

from rltemp import InputError
from rltemp.agents import make_sb3_env
from rltemp.distillation import Task
from rltemp.envs import DistillationEnv, DistillationVectorEnv
from rltemp.recipes import Recipe, change_recipe, load_recipe
from rltemp.tasks import build_task

FEATURES = ("position", "teacher_rank", "student_rank", "divergence", "progress")


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe(
        "shakespeare-agents",
        {
            "data": {"context": 4, "train": 6, "validation": 6},
            "teacher": {"network": {"options": {"width": 8, "layers": 1, "heads": 2}}, "train": None, "epochs": 1},
            "student": {"options": {"width": 4, "layers": 1, "heads": 2}},
            "optimization": {"batch_size": 2},
            "policy": {"features": FEATURES, "scale_range": ()},
            "agent": {"students": 2},
        },
    )


@pytest.fixture(scope="module")
def task(recipe: Recipe) -> Task:
    return build_task(recipe)


def test_every_token_is_a_slot(recipe: Recipe, task: Task) -> None:
    env = DistillationVectorEnv(2 * 8, recipe, task=task)
    observation, _ = env.reset(seed=0)
    assert observation.shape == (16, 5)
    np.testing.assert_allclose(observation[:, 0], np.tile([0.0, 1 / 3, 2 / 3, 1.0], 4), rtol=1e-6)
    one = DistillationEnv(recipe, task=task)
    assert one.reset(seed=0)[0].shape == (8, 5)
    assert make_sb3_env(recipe, task=task).num_envs == 16
    with pytest.raises(InputError, match="multiple of the batch size 8"):
        DistillationVectorEnv(2 * 2, recipe, task=task)


def test_hindsight_is_what_another_temperature_of_one_token_does_to_the_end(recipe: Recipe, task: Task) -> None:
    step, token, change = 1, 5, 0.02

    def play(moved: float) -> tuple[float, DistillationEnv, np.ndarray]:
        env = DistillationEnv(recipe, task=task)
        env.reset(seed=3)
        actions = np.full((task.steps, 8), -0.3, np.float32)
        actions[step, token] += moved
        total = sum(env.step(part)[1] for part in actions)
        return total, env, actions

    low, high, (_, env, actions) = play(-change)[0], play(change)[0], play(0.0)
    shifted = [actions.copy() for _ in range(2)]
    for sign, part in zip((-1, 1), shifted, strict=True):
        part[step, token] += sign * change
    told = (env.effects(shifted[1]) - env.effects(shifted[0]))[step, token]
    # The return is the fall of a loss of float32 students: a few digits.
    assert told == pytest.approx(high - low, rel=0.1, abs=2e-8)
    assert abs(told) > 1e-7


def test_a_position_needs_tokens(tiny_recipe: Recipe, tiny_task: Task) -> None:
    recipe = change_recipe(tiny_recipe, {"policy.features": ("position",), "policy.alignment": "none"})
    with pytest.raises(InputError, match=r"policy\.features must do without 'position'"):
        DistillationEnv(recipe, task=tiny_task).reset(seed=0)
    assert tiny_task.position is None
    assert torch.equal(tiny_task.validation.labels, tiny_task.validation.targets)
