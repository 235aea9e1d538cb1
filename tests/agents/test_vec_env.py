"""The adapter answers as SB3's own vector environments do, and hands out nothing that is used again."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import DummyVecEnv, VecCheckNan, VecMonitor

from rltemp.agents.vec_env import VectorEnvAdapter, make_sb3_env
from rltemp.envs.toy import ToyVectorEnv
from rltemp.errors import InputError


def cart_poles() -> Any:
    kwargs = {"autoreset_mode": AutoresetMode.SAME_STEP}
    return gymnasium.make_vec(
        "CartPole-v1", num_envs=3, vectorization_mode="sync", vector_kwargs=kwargs, max_episode_steps=25
    )


def test_it_equals_sb3s_own_adapter_of_single_environments() -> None:
    # CartPole ends by falling and, with this limit, by time: both ends are met.
    theirs = DummyVecEnv([lambda: gymnasium.make("CartPole-v1", max_episode_steps=25)] * 3)
    ours = VectorEnvAdapter(cart_poles())
    for venv in (theirs, ours):
        venv.seed(3)
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    generator = np.random.default_rng(0)
    truncated, terminated = 0, 0
    arrays: list[Any]
    for _ in range(200):
        actions = generator.integers(0, 2, 3)
        *arrays, infos = ours.step(actions)
        *expected_arrays, expected_infos = theirs.step(actions)
        for array, expected in zip(arrays, expected_arrays, strict=True):
            np.testing.assert_array_equal(array, expected)
            assert np.asarray(array).dtype == np.asarray(expected).dtype
        dones = arrays[-1]
        for slot, info in enumerate(infos):
            reference = expected_infos[slot]
            assert ("terminal_observation" in info) == ("terminal_observation" in reference) == bool(dones[slot])
            if dones[slot]:
                np.testing.assert_array_equal(info["terminal_observation"], reference["terminal_observation"])
                assert info["TimeLimit.truncated"] is reference["TimeLimit.truncated"]
                truncated += info["TimeLimit.truncated"]
                terminated += not info["TimeLimit.truncated"]
    assert truncated > 0
    assert terminated > 0


def make() -> VectorEnvAdapter:
    return VectorEnvAdapter(ToyVectorEnv(students=2, batch_size=2, horizon=3))


def test_a_seed_fixes_all_that_follows_and_is_used_once() -> None:
    venv = make()
    starts: list[Any] = []
    for seed in (5, None, 5, None, 6):
        if seed is not None:
            venv.seed(seed)
        starts.append(venv.reset())
    np.testing.assert_array_equal(starts[0], starts[2])
    np.testing.assert_array_equal(starts[1], starts[3])
    assert not np.array_equal(starts[0], starts[1])
    assert not np.array_equal(starts[0], starts[4])


def test_everything_it_returns_is_new_and_stays_as_it_was() -> None:
    venv = make()
    venv.seed(0)
    kept: list[Any] = [venv.reset()]
    copies = [kept[0].copy()]
    infos_seen: list[int] = []
    held = []
    observations: Any
    for _ in range(7):
        observations, rewards, _, infos = venv.step(np.zeros((4, 1), np.float32))
        assert not any(np.shares_memory(observations, other) for other in kept)
        kept += [observations, rewards]
        copies += [observations.copy(), rewards.copy()]
        held.append(infos)
        infos_seen += [id(infos), *map(id, infos)]
    assert len(set(infos_seen)) == len(infos_seen)
    for result, snapshot in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(result, snapshot)


def test_infos_are_those_of_the_slots_that_ended() -> None:
    venv = make()
    venv.seed(0)
    venv.reset()
    zeros = np.zeros((4, 1), np.float32)
    rewards = []
    for _ in range(2):
        _, reward, dones, infos = venv.step(zeros)
        rewards.append(reward)
        assert infos == [{}] * 4
        assert not dones.any()
    observations, reward, dones, infos = venv.step(zeros)
    assert isinstance(observations, np.ndarray)
    rewards.append(reward)
    assert dones.all()
    for slot, info in enumerate(infos):
        assert set(info) == {"terminal_observation", "TimeLimit.truncated", "return"}
        assert info["TimeLimit.truncated"] is False
        assert info["terminal_observation"][0] == 1.0
        assert info["return"] == pytest.approx(sum(float(r[slot]) for r in rewards), rel=1e-5)
    assert np.all(observations[:, 0] == 0.0)


def test_infos_with_a_mask_go_to_their_slots_only() -> None:
    class Spotlight(ToyVectorEnv):
        def step(self, actions: Any) -> Any:
            *rest, _ = super().step(actions)
            mask = np.array([False, True, False, False])
            return *rest, {"light": np.arange(4.0), "_light": mask, "sky": "blue", "deep": {"er": np.arange(4)}}

    venv = VectorEnvAdapter(Spotlight(students=2, batch_size=2))
    venv.reset()
    *_, infos = venv.step(np.zeros((4, 1), np.float32))
    assert [info.get("light") for info in infos] == [None, 1.0, None, None]
    assert [info["sky"] for info in infos] == ["blue"] * 4
    assert [info["deep"]["er"] for info in infos] == [0, 1, 2, 3]


def test_sb3s_own_wrappers_work_on_it() -> None:
    venv = VecMonitor(VecCheckNan(make(), raise_exception=True))
    venv.reset()
    episodes = []
    for _ in range(6):
        *_, infos = venv.step(np.zeros((4, 1), np.float32))
        episodes += [info["episode"]["l"] for info in infos if "episode" in info]
    assert episodes == [3] * 8


def test_attributes_and_methods_answer_for_the_slots_asked_for() -> None:
    venv = make()
    assert venv.get_attr("horizon") == [3] * 4
    assert venv.get_attr("horizon", indices=[0, 2]) == [3, 3]
    assert venv.has_attr("horizon")
    assert not venv.has_attr("no_such_thing")
    venv.set_attr("horizon", 5)
    assert venv.env_method("__getattribute__", "horizon", indices=1) == [5]
    with pytest.raises(InputError, match="all 4 slots"):
        venv.set_attr("horizon", 5, indices=0)
    venv.close()
    with pytest.raises(InputError, match="closed"):
        venv.reset()


def test_wrappers_of_vector_environments_are_found() -> None:
    class Wrapper(gymnasium.vector.VectorWrapper): ...

    wrapped = VectorEnvAdapter(Wrapper(ToyVectorEnv(students=1, batch_size=2)))
    assert wrapped.env_is_wrapped(Wrapper) == [True, True]
    assert make().env_is_wrapped(Wrapper, indices=0) == [False]


def test_options_are_one_for_all_slots() -> None:
    class Echo(ToyVectorEnv):
        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
            observations, _ = super().reset(seed=seed)
            return observations, {"options": options}

    venv = VectorEnvAdapter(Echo(students=1, batch_size=2))
    venv.set_options({"a": 1})
    venv.reset()
    assert venv.reset_infos == [{"options": {"a": 1}}] * 2
    venv.reset()
    assert venv.reset_infos == [{"options": None}] * 2
    venv.set_options([{"a": 1}, {"a": 2}])
    with pytest.raises(InputError, match="options"):
        venv.reset()


def test_other_environments_are_refused() -> None:
    with pytest.raises(InputError, match="SAME_STEP"):
        VectorEnvAdapter(gymnasium.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync"))
    with pytest.raises(InputError, match="VectorEnv"):
        VectorEnvAdapter(gymnasium.make("CartPole-v1"))  # type: ignore[arg-type]


@pytest.mark.parametrize("word", ["n_envs", "num_envs"])
def test_the_number_of_environments_is_explained(word: str) -> None:
    overrides: dict[str, Any] = {word: 8}
    with pytest.raises(InputError, match=f"students must be given instead of {word}: .*; got {word}=8") as refusal:
        make_sb3_env("digits-short", **overrides)
    assert "\n" not in str(refusal.value)
