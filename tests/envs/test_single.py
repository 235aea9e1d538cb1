"""`gymnasium.make("rltemp/Distillation-v0")`: the plain environment."""

import dataclasses
import warnings
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3

import rltemp.envs  # noqa: F401 (registers)
from rltemp.distillation import Task
from rltemp.envs import DistillationEnv, DistillationVectorEnv
from rltemp.errors import InputError
from rltemp.features import ALIGNED_FEATURES, LOGIT_FEATURES
from rltemp.recipes import Recipe

NAME = "rltemp/Distillation-v0"


@pytest.fixture
def env(tiny_recipe: Recipe, tiny_task: Task) -> Iterator[gymnasium.Env[Any, Any]]:
    made = gymnasium.make(NAME, recipe=tiny_recipe, task=tiny_task)
    yield made
    made.close()


def test_gymnasiums_checker_has_nothing_to_say(env: gymnasium.Env[Any, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # The environment that `make` gives wraps the one to check.
        check_env(env.unwrapped, skip_render_check=True)


def test_sb3s_checker_has_nothing_to_say_but_that_the_observation_is_no_vector(env: gymnasium.Env[Any, Any]) -> None:
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        check_env_for_sb3(env)
    said = [str(warning.message) for warning in raised]
    # [B, F] is neither an image nor a vector: SB3 asks for a custom or flattening policy, which is the user's choice.
    assert all("unconventional shape" in message for message in said), said


def test_spaces_are_the_minibatch(env: gymnasium.Env[Any, Any]) -> None:
    assert env.observation_space == gymnasium.spaces.Box(0.0, 1.0, (8, len(ALIGNED_FEATURES)), np.float32)
    assert env.action_space == gymnasium.spaces.Box(-1.0, 1.0, (8,), np.float32)


def test_an_episode_is_a_run_and_terminates(env: gymnasium.Env[Any, Any]) -> None:
    for seed in (5, None):
        env.reset(seed=seed)
        ends = []
        for _ in range(8):
            observation, reward, terminated, truncated, info = env.step(np.zeros(8, dtype=np.float32))
            assert observation in env.observation_space
            assert isinstance(reward, float)
            assert (truncated, info) == (False, {})
            ends.append(terminated)
        assert ends == [False] * 7 + [True]


def test_the_recipe_says_how_it_is_paid_and_credited(tiny_recipe: Recipe, tiny_task: Task) -> None:
    """As the vector environment of the same recipe."""
    zeros = np.zeros(8, dtype=np.float32)
    agent = dataclasses.replace(tiny_recipe.agent, credit="hindsight", reward_every=3)
    recipe = dataclasses.replace(tiny_recipe, agent=agent)
    single = DistillationEnv(recipe, task=tiny_task)
    vector = DistillationVectorEnv(8, recipe, task=tiny_task, autoreset_mode=AutoresetMode.DISABLED)
    single.reset(seed=5)
    vector.reset(seed=5)
    paid = [(single.step(zeros)[1], vector.step(zeros[:, None])[1][0]) for _ in range(8)]
    assert [mine for mine, _ in paid] == [theirs for _, theirs in paid]
    assert [mine != 0.0 for mine, _ in paid] == [False, False, True, False, False, True, False, True]
    actions = np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8)
    assert np.array_equal(single.effects(actions), vector.effects(actions))
    assert single.transition.influence is None
    influence = dataclasses.replace(tiny_recipe, agent=dataclasses.replace(tiny_recipe.agent, credit="influence"))
    single = DistillationEnv(influence, task=tiny_task)
    single.reset(seed=5)
    single.step(zeros)
    assert single.transition.influence is not None
    with pytest.raises(InputError, match=r"agent\.credit 'hindsight'"):
        single.effects(actions)


def _rewards(env: gymnasium.Env[Any, Any], seed: int | None, action: float = 0.0) -> list[float]:
    env.reset(seed=seed)
    return [float(env.step(np.full(8, action, dtype=np.float32))[1]) for _ in range(8)]


def test_a_seed_fixes_this_episode_and_all_that_follow(env: gymnasium.Env[Any, Any]) -> None:
    first = [_rewards(env, 5), _rewards(env, None), _rewards(env, None)]
    assert [_rewards(env, 5), _rewards(env, None), _rewards(env, None)] == first
    assert first[0] != first[1] != first[2]
    assert _rewards(env, 6) != first[0]


def test_the_action_causes_the_reward(env: gymnasium.Env[Any, Any]) -> None:
    cold, hot = _rewards(env, 5, -1.0), _rewards(env, 5, 1.0)
    assert _rewards(env, 5, -1.0) == cold
    assert all(a != b for a, b in zip(cold, hot, strict=True))


def test_observations_are_new_arrays(env: gymnasium.Env[Any, Any]) -> None:
    first, _ = env.reset(seed=1)
    kept = first.copy()
    second = env.step(np.zeros(8, dtype=np.float32))[0]
    assert np.array_equal(first, kept)
    assert not np.shares_memory(first, second)


def test_the_transition_says_what_the_last_step_did(tiny_recipe: Recipe, tiny_task: Task) -> None:
    env = DistillationEnv(tiny_recipe, task=tiny_task)
    with pytest.raises(InputError, match="there was none yet"):
        _ = env.transition
    observation, _ = env.reset(seed=0)
    _, reward, *_ = env.step(np.zeros(8, dtype=np.float32))
    assert np.array_equal(env.transition.features[0], observation)
    assert float(env.transition.reward[0]) == reward
    env.reset()
    with pytest.raises(InputError, match="there was none yet"):
        _ = env.transition


def test_overrides_are_values_of_the_recipe(tiny_task: Task) -> None:
    env = gymnasium.make(NAME, task=tiny_task, policy={"alignment": "none", "low": 2.0, "high": 8.0})
    assert env.observation_space.shape == (8, len(LOGIT_FEATURES))
    env.reset(seed=0)
    env.step(np.full(8, -1.0, dtype=np.float32))
    unwrapped = env.unwrapped
    assert isinstance(unwrapped, DistillationEnv)
    assert unwrapped.transition.temperatures.tolist() == [[2.0] * 8]


def test_a_task_that_is_given_decides_the_batch(tiny_recipe: Recipe, tiny_task: Task) -> None:
    optimization = dataclasses.replace(tiny_task.optimization, batch_size=16)
    env = DistillationEnv(tiny_recipe, task=dataclasses.replace(tiny_task, optimization=optimization))
    observation, _ = env.reset(seed=0)
    assert observation.shape == env.observation_space.shape == (16, len(ALIGNED_FEATURES))
    env.step(np.zeros(16, dtype=np.float32))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipe": "mnist"}, "recipe must be one of .*digits-short.*got 'mnist'"),
        ({"recipe": "nowhere.yaml"}, "recipe file nowhere.yaml cannot be read"),
        ({"optimization": {"epoch": 3}}, "recipe digits-short: unknown key 'optimization.epoch', want one of epochs"),
        ({"optimization": {"epochs": "many"}}, "optimization.epochs must be an integer, got 'many'"),
        ({"optimization": 3}, "recipe digits-short: optimization must be a mapping of values, got 3"),
        ({"colour": "red"}, "recipe digits-short: unknown key 'colour', want one of data"),
        ({"data": {"train": 5}}, "batch_size must be at most data.train = 5, got 32"),
    ],
)
def test_a_bad_setting_is_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        gymnasium.make(NAME, **options)
    assert "\n" not in str(refusal.value)


def test_overrides_beside_a_recipe_that_is_a_value_are_refused(tiny_recipe: Recipe) -> None:
    with pytest.raises(InputError, match=r"overrides need the name or file of a recipe, .*\['data'\]"):
        DistillationEnv(tiny_recipe, data={"train": 3})
