"""`gymnasium.make_vec("rltemp/Distillation-v0")`: one slot per instance, K students."""

import dataclasses
from typing import Any, get_args

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import NormalizeObservation

import rltemp.envs  # noqa: F401 (registers)
from rltemp.distillation import Task
from rltemp.distillation.training_images import ImagesInMemory
from rltemp.envs import DistillationVectorEnv
from rltemp.envs.conformance import CLAUSES
from rltemp.envs.contract import draw_seeds
from rltemp.envs.episode import Episode
from rltemp.envs.student_conformance import STUDENT_CLAUSES
from rltemp.errors import InputError
from rltemp.features import ALIGNED_FEATURES
from rltemp.recipes import Recipe
from rltemp.recipes.schema import Credit

NAME = "rltemp/Distillation-v0"


def _with_brightness(task: Task, factor: float) -> Task:
    images = dataclasses.replace(task.probe, images=factor * task.probe.images)
    return dataclasses.replace(task, training=ImagesInMemory(images, task.augmentation), probe=images)


@pytest.fixture
def env(tiny_recipe: Recipe, tiny_task: Task) -> DistillationVectorEnv:
    return DistillationVectorEnv(24, tiny_recipe, task=tiny_task)


@pytest.mark.parametrize("clause", CLAUSES)
@pytest.mark.parametrize("alignment", ["none", "classifier", "network"])
def test_it_conforms(tiny_recipe: Recipe, tiny_task: Task, clause: str, alignment: Any) -> None:
    recipe = dataclasses.replace(tiny_recipe, policy=dataclasses.replace(tiny_recipe.policy, alignment=alignment))
    CLAUSES[clause](lambda: DistillationVectorEnv(16, recipe, task=tiny_task), 20)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
@pytest.mark.parametrize("clause", CLAUSES)
def test_it_conforms_in_the_other_autoreset_modes(
    tiny_recipe: Recipe, tiny_task: Task, clause: str, mode: AutoresetMode
) -> None:
    CLAUSES[clause](lambda: DistillationVectorEnv(16, tiny_recipe, task=tiny_task, autoreset_mode=mode), 20)


@pytest.mark.parametrize("clause", STUDENT_CLAUSES)
@pytest.mark.parametrize("credit", get_args(Credit))
def test_it_conforms_to_the_contract_of_students(
    tiny_recipe: Recipe, tiny_task: Task, clause: str, credit: Credit
) -> None:
    recipe = dataclasses.replace(tiny_recipe, agent=dataclasses.replace(tiny_recipe.agent, credit=credit))
    STUDENT_CLAUSES[clause](lambda: DistillationVectorEnv(16, recipe, task=tiny_task))


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_the_autoreset_mode_changes_when_the_next_episode_starts_and_nothing_in_it(
    env: DistillationVectorEnv, tiny_recipe: Recipe, tiny_task: Task, mode: AutoresetMode
) -> None:
    other = gymnasium.make_vec(NAME, num_envs=24, recipe=tiny_recipe, task=tiny_task, autoreset_mode=mode)
    actions = np.random.default_rng(0).uniform(-1, 1, (16, 24, 1)).astype(np.float32)
    assert np.array_equal(env.reset(seed=3)[0], other.reset(seed=3)[0])
    for number, action in enumerate(actions):
        observation, rewards, terminated, _, infos = env.step(action)
        there = other.step(action)
        assert np.array_equal(rewards, there[1])
        assert np.array_equal(terminated, there[2])
        if not terminated.any():
            assert np.array_equal(observation, there[0])
            continue
        assert np.array_equal(np.stack(list(infos["final_obs"])), there[0])
        assert np.array_equal(infos["final_info"]["return"], there[4]["return"])
        if number == 7:
            first = other.step(action)[0] if mode is AutoresetMode.NEXT_STEP else other.reset()[0]
            assert np.array_equal(observation, first)


def test_gymnasiums_observation_normalizer_takes_it(tiny_recipe: Recipe, tiny_task: Task) -> None:
    env = gymnasium.make_vec(
        NAME, num_envs=16, recipe=tiny_recipe, task=tiny_task, autoreset_mode=AutoresetMode.NEXT_STEP
    )
    normalized = NormalizeObservation(env)
    normalized.reset(seed=0)
    for _ in range(12):
        observation = normalized.step(np.zeros((16, 1), np.float32))[0]
    assert np.isfinite(observation).all()


def test_an_autoreset_mode_that_is_none_is_refused(tiny_recipe: Recipe, tiny_task: Task) -> None:
    mode: Any = "SameStep"
    with pytest.raises(InputError, match=r"autoreset_mode must be a gymnasium\.vector\.AutoresetMode, got 'SameStep'"):
        DistillationVectorEnv(16, tiny_recipe, task=tiny_task, autoreset_mode=mode)


def test_make_vec_gives_it(tiny_recipe: Recipe, tiny_task: Task) -> None:
    env = gymnasium.make_vec(NAME, num_envs=16, recipe=tiny_recipe, task=tiny_task)
    assert isinstance(env.unwrapped, DistillationVectorEnv)
    assert (env.num_envs, env.unwrapped.students, env.unwrapped.batch_size) == (16, 2, 8)
    assert env.single_observation_space == gymnasium.spaces.Box(0.0, 1.0, (len(ALIGNED_FEATURES),), np.float32)
    assert env.single_action_space == gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    env.close()


@pytest.mark.parametrize("num_envs", [0, -8, 4, 12])
def test_no_multiple_of_the_batch_is_refused(tiny_recipe: Recipe, tiny_task: Task, num_envs: int) -> None:
    with pytest.raises(InputError, match=rf"num_envs must be a multiple of the batch size 8, .*got {num_envs}"):
        DistillationVectorEnv(num_envs, recipe=tiny_recipe, task=tiny_task)


def test_slots_of_a_student_are_its_own_episode(tiny_recipe: Recipe, tiny_task: Task) -> None:
    """Slots k * B .. k * B + B - 1 see, and are paid, what an episode of that student's seed alone is."""
    recipe = dataclasses.replace(tiny_recipe, policy=dataclasses.replace(tiny_recipe.policy, probe_size=64))
    env = DistillationVectorEnv(24, recipe, task=tiny_task)
    observations, _ = env.reset(seed=9)
    actions = np.random.default_rng(0).uniform(-1, 1, (8, 24, 1)).astype(np.float32)
    steps = [env.step(action) for action in actions]
    seeds = draw_seeds(np.random.Generator(np.random.PCG64(np.random.SeedSequence(9))), 3)
    for k, seed in enumerate(seeds):
        slots = slice(8 * k, 8 * k + 8)
        alone = Episode(tiny_task, recipe, [seed])
        np.testing.assert_allclose(observations[slots], alone.observation[0], atol=1e-4)
        for action, step in zip(actions, steps, strict=True):
            transition = alone.step(action[slots, 0][None])
            assert step[1][slots] == pytest.approx(float(transition.reward[0]), abs=1e-5)
            assert (step[2][slots] == alone.finished).all()
            last = np.stack(list(step[4]["final_obs"])) if alone.finished else step[0]
            np.testing.assert_allclose(last[slots], alone.observation[0], atol=1e-3)


def test_rewards_of_an_episode_add_up_to_the_return_it_reports(env: DistillationVectorEnv) -> None:
    env.reset(seed=2)
    total = np.zeros(24)
    for episode in range(2):
        total[:] = 0
        for step in range(8):
            _, rewards, terminated, truncated, infos = env.step(np.full((24, 1), 0.3 * episode, dtype=np.float32))
            total += rewards
            assert terminated.all() == (step == 7)
            assert not truncated.any()
            assert all(len(set(rewards[8 * k : 8 * k + 8])) == 1 for k in range(3))
        np.testing.assert_allclose(infos["final_info"]["return"], total, rtol=1e-12)
        assert infos["final_info"]["_return"].all()


def test_the_action_causes_the_reward_of_its_student_alone(env: DistillationVectorEnv) -> None:
    actions = np.zeros((24, 1), dtype=np.float32)
    env.reset(seed=4)
    plain = env.step(actions)[1]
    env.reset(seed=4)
    assert np.array_equal(env.step(actions)[1], plain)
    actions[10] = 1.0  # an instance of the second student
    env.reset(seed=4)
    changed = env.step(actions)[1]
    assert (changed[8:16] != plain[8:16]).all()
    np.testing.assert_allclose(np.delete(changed, range(8, 16)), np.delete(plain, range(8, 16)), atol=1e-7)


def test_the_transition_is_of_the_step_not_of_the_next_episode(env: DistillationVectorEnv) -> None:
    with pytest.raises(InputError, match="there was none yet"):
        _ = env.transition
    observations, _ = env.reset(seed=4)
    for _ in range(8):
        before = observations
        observations, rewards, *_ = env.step(np.zeros((24, 1), dtype=np.float32))
        assert np.array_equal(env.transition.features.reshape(24, -1), before)
        assert np.array_equal(np.repeat(env.transition.reward, 8).astype(np.float64), rewards)
    env.reset()
    with pytest.raises(InputError, match="there was none yet"):
        _ = env.transition


def test_a_task_that_is_given_decides_the_batch(tiny_recipe: Recipe, tiny_task: Task) -> None:
    optimization = dataclasses.replace(tiny_task.optimization, batch_size=16)
    env = DistillationVectorEnv(32, tiny_recipe, task=dataclasses.replace(tiny_task, optimization=optimization))
    assert (env.students, env.batch_size, env.horizon) == (2, 16, 4)
    env.reset(seed=0)
    env.step(np.zeros((32, 1), dtype=np.float32))


@pytest.mark.parametrize("actions", [np.zeros((23, 1)), np.zeros(24), np.full((24, 1), np.nan)])
def test_other_actions_are_refused(env: DistillationVectorEnv, actions: Any) -> None:
    env.reset(seed=0)
    with pytest.raises(InputError, match="actions must"):
        env.step(actions)


def test_of_several_tasks_each_episode_plays_the_one_it_is_told(tiny_recipe: Recipe, tiny_task: Task) -> None:
    other = _with_brightness(tiny_task, 0.5)
    env = DistillationVectorEnv(16, tiny_recipe, task=[tiny_task, other])
    assert env.tasks == 2
    alone = [DistillationVectorEnv(16, tiny_recipe, task=task) for task in (tiny_task, other)]
    for index in (1, 0, 1):
        seen, _ = env.reset(seed=4, options={"task": index})
        assert np.array_equal(seen, alone[index].reset(seed=4)[0])
        assert not np.array_equal(seen, alone[1 - index].reset(seed=4)[0])


def test_without_being_told_the_environment_draws_its_tasks(tiny_recipe: Recipe, tiny_task: Task) -> None:
    env = DistillationVectorEnv(8, tiny_recipe, task=[tiny_task, _with_brightness(tiny_task, 1000.0)])
    spread = env.feature_names.index("teacher_spread")

    def drawn() -> list[bool]:
        return [bool(env.reset(seed=seed)[0][:, spread].min() > 0.9) for seed in range(12)]

    assert 0 < sum(drawn()) < 12
    assert drawn() == drawn()


def test_tasks_that_cannot_take_turns_are_refused(tiny_recipe: Recipe, tiny_task: Task) -> None:
    longer = dataclasses.replace(tiny_task, optimization=dataclasses.replace(tiny_task.optimization, epochs=2))
    with pytest.raises(InputError, match=r"one batch size and number of updates, got \[\(8, 8\), \(8, 16\)\]"):
        DistillationVectorEnv(8, tiny_recipe, task=[tiny_task, longer])
    env = DistillationVectorEnv(8, tiny_recipe, task=tiny_task)
    with pytest.raises(InputError, match=r'options\["task"\] must lie in \[0, 0\], got 1'):
        env.reset(options={"task": 1})


def test_a_loss_that_an_episode_does_not_have_is_refused(tiny_recipe: Recipe, tiny_task: Task) -> None:
    optimization = dataclasses.replace(tiny_recipe.optimization, probe_weight=0.5)
    message = "optimization.probe_weight must be 0 where an agent is trained, got 0.5"
    other = dataclasses.replace(tiny_task, optimization=optimization)
    for recipe, task in (
        (dataclasses.replace(tiny_recipe, optimization=optimization), None),
        (dataclasses.replace(tiny_recipe, optimization=optimization), tiny_task),
        (tiny_recipe, [tiny_task, other]),
    ):
        with pytest.raises(InputError, match=message):
            DistillationVectorEnv(16, recipe, task=task)
