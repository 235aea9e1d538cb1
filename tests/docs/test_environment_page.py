"""The specification of the environment says what the environment does."""

import inspect
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from rltemp.distillation import Task
from rltemp.envs import DistillationEnv, DistillationVectorEnv
from rltemp.errors import InputError
from rltemp.features import ALIGNED_FEATURES, CONTEXT_FEATURES, LogitFeatures
from rltemp.recipes import Recipe, load_recipe

PAGE = (Path(__file__).parents[2] / "docs" / "environment.md").read_text(encoding="utf-8")


def _rows(section: str) -> list[list[str]]:
    """Cells of the first table of a section, without its head."""
    text = PAGE[PAGE.index(f"## {section}\n") :]
    table = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert table is not None
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in table[0].splitlines()[2:]]


@pytest.fixture(scope="module")
def env(tiny_recipe: Recipe, tiny_task: Task) -> DistillationVectorEnv:
    """Two students of 8 instances, 8 updates."""
    return DistillationVectorEnv(16, tiny_recipe, task=tiny_task)


def test_every_column_is_there_in_order(env: DistillationVectorEnv) -> None:
    rows = _rows("Observation")
    assert [int(row[0]) for row in rows] == list(range(len(ALIGNED_FEATURES)))
    assert [row[1] for row in rows] == list(env.feature_names) == list(ALIGNED_FEATURES)


def test_the_columns_of_a_batch_are_those_that_the_page_describes() -> None:
    _, _, of_batch, *_ = re.findall(r"(?:^\|.*\n)+", PAGE[PAGE.index("## Arguments\n") :], re.MULTILINE)
    own, losses, means, of_class = (re.findall(r"`(\w+)`", line.split("|")[1]) for line in of_batch.splitlines()[2:])
    prefix, last, *placed = means
    first_table = list(ALIGNED_FEATURES[: ALIGNED_FEATURES.index(last) + 1])
    described = {*own, *losses, *of_class, *(prefix + name for name in (*first_table, *placed))}
    assert described == set(CONTEXT_FEATURES)


def test_two_numbers_are_temperature_and_scale(tiny_recipe: Recipe, tiny_task: Task) -> None:
    space = replace(tiny_recipe.policy, scale_range=(1.0, 256.0))
    env = DistillationVectorEnv(16, replace(tiny_recipe, policy=space), task=tiny_task)
    assert env.single_action_space.shape == (2,)
    env.reset(seed=0)
    env.step(np.tile(np.array([0.0, 0.5], dtype=np.float32), (16, 1)))
    np.testing.assert_allclose(env.transition.temperatures, 4.0, rtol=1e-5)
    assert "1 · 256^((b + 1) / 2)" in PAGE
    chosen = space.actions.temperatures(torch.tensor([[0.0, 0.5]]))
    assert float(chosen.scale) == pytest.approx(256 ** ((0.5 + 1) / 2))
    single = DistillationEnv(replace(tiny_recipe, policy=space), task=tiny_task)
    assert single.action_space.shape == (8, 2)


def test_columns_stay_in_their_ranges_and_fill_them() -> None:
    generator = torch.Generator().manual_seed(0)
    heat = 10 ** torch.linspace(-3, 2, 4000)[:, None]
    student, teacher = (heat * torch.randn(4000, 5, generator=generator) for _ in range(2))
    alignment = heat * torch.randn(4000, 7, generator=generator)
    targets, progress = torch.arange(4000) % 5, torch.linspace(0, 1, 4000)
    seen = LogitFeatures(ALIGNED_FEATURES)(student, teacher, targets, progress, alignment)
    for column, (_, name, values, *_rest) in zip(seen.T, _rows("Observation"), strict=True):
        assert values in ("[0, 1]", "[0, 1)", "{0, 1}"), name
        assert float(column.min()) >= 0.0
        assert float(column.max()) <= 1.0
        assert float(column.max()) > 0.9, name
        if values == "{0, 1}":
            assert set(column.tolist()) == {0.0, 1.0}
        if values == "[0, 1)":
            assert float(column.max()) < 1.0, name
    assert float(seen[:, 0].min()) == pytest.approx(1 / 5, abs=1e-2)


def test_ids_and_spaces(env: DistillationVectorEnv, tiny_recipe: Recipe, tiny_task: Task) -> None:
    table = PAGE[PAGE.index("| id |") :].split("\n\n")[0]
    ids = set(re.findall(r"rltemp/[\w-]+", table))
    assert ids == {name for name in gymnasium.registry if name.startswith("rltemp/")}
    (name,) = ids
    assert f"- `{name.split('-')[-1]}`: " in PAGE
    single = gymnasium.make(name, recipe=tiny_recipe, task=tiny_task)
    assert isinstance(single.unwrapped, DistillationEnv)
    assert (single.observation_space.shape, single.action_space.shape) == ((8, 23), (8,))
    assert (env.observation_space.shape, env.action_space.shape) == ((16, 23), (16, 1))
    assert "[32, 23]" in PAGE
    assert "(32, 23)" in (DistillationEnv.__doc__ or "")


def test_arguments_are_those_of_the_environment() -> None:
    named = [row[0] for row in _rows("Arguments")]
    parameters = inspect.signature(DistillationVectorEnv.__init__).parameters
    assert named[:5] == [name for name in parameters if name not in ("self", "num_envs", "overrides")]
    assert parameters["recipe"].default == _rows("Arguments")[0][1].strip('"')
    assert parameters["autoreset_mode"].default.name == _rows("Arguments")[3][1]


def test_actions_are_the_temperatures_and_scales_of_the_table(tiny_recipe: Recipe, tiny_task: Task) -> None:
    rows = [[float(cell) for cell in row] for row in _rows("Action")]
    assert (tiny_recipe.policy.low, tiny_recipe.policy.high, tiny_recipe.policy.scale) == (0.5, 32.0, None)
    env = DistillationEnv(tiny_recipe, task=tiny_task)
    env.reset(seed=0)
    actions = [row[0] for row in rows]
    env.step(np.array([*actions, 0.0, -3.0, 3.0], dtype=np.float32))
    told = env.transition.temperatures[0]
    np.testing.assert_allclose(told, [*(row[1] for row in rows), 4.0, 0.5, 32.0], rtol=1e-3)
    for action, temperature, scale, constant in rows:
        assert temperature == pytest.approx(0.5 * 64 ** ((action + 1) / 2), rel=1e-3)
        assert scale == pytest.approx(temperature**2, rel=1e-3)
        assert constant == 16


def test_the_reward_is_the_decrease_and_its_sum_that_of_the_run(tiny_recipe: Recipe, tiny_task: Task) -> None:
    """Paid for every 3 updates: at the third, the sixth, and the last."""
    totals = {}
    for every in (1, 3):
        recipe = replace(tiny_recipe, agent=replace(tiny_recipe.agent, reward_every=every))
        env = DistillationEnv(recipe, task=tiny_task)
        env.reset(seed=0)
        rewards = [env.step(np.zeros(8, dtype=np.float32))[1] for _ in range(8)]
        totals[every] = sum(rewards)
        if every == 3:
            assert [index for index, reward in enumerate(rewards) if reward] == [2, 5, 7]
    assert totals[3] == pytest.approx(totals[1], abs=1e-5)


def test_the_length_of_an_episode() -> None:
    recipe = load_recipe("digits-short")
    steps = recipe.optimization.epochs * (recipe.data.train // recipe.optimization.batch_size)
    assert f"{steps} for `digits-short`" in PAGE


@pytest.mark.parametrize("row", _rows("Autoreset"), ids=lambda row: row[0])
def test_autoreset_modes_tell_what_the_table_says(row: list[str], tiny_recipe: Recipe, tiny_task: Task) -> None:
    mode = AutoresetMode[row[0].split("`")[0]]
    env = DistillationVectorEnv(16, tiny_recipe, task=tiny_task, autoreset_mode=mode)
    observation, infos = env.reset(seed=0)
    actions = np.zeros((16, 1), dtype=np.float32)
    assert infos == {}
    told: dict[str, Any] = {}
    for step in range(8):
        observation, _, terminated, truncated, told = env.step(actions)
        assert terminated.all() == terminated.any() == (step == 7)
        assert not truncated.any()
        assert bool(told) == (step == 7)
    progress = observation[0, ALIGNED_FEATURES.index("progress")]
    assert progress == (0.0 if row[1].startswith("the first observation") else 1.0)
    assert {key for key in told if not key.startswith("_")} == set(re.findall(r"\w+", row[2]))
    assert {f"_{key}" for key in told if not key.startswith("_")} <= set(told)
    if row[3] == "is refused; `reset` begins the next episode":
        with pytest.raises(InputError):
            env.step(actions)
        return
    observation, rewards, *_ = env.step(np.ones((16, 1), dtype=np.float32))
    assert (not rewards.any()) == ("pays 0" in row[3])


def test_what_is_beyond_gymnasium_is_there(env: DistillationVectorEnv) -> None:
    for row in _rows("Beyond Gymnasium"):
        assert hasattr(DistillationVectorEnv, re.split(r"\W", row[0])[0])
