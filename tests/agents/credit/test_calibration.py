"""Calibrations move pay between the instances of a batch, and never change what the batch earned."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rltemp.agents.credit.calibration import CalibratedReward, Calibration, Influence, Uniform
from rltemp.agents.credit.redistribution import Redistribution
from rltemp.agents.vec_env import VectorEnvAdapter
from rltemp.envs.contract import Transition
from rltemp.envs.toy import ToyVectorEnv
from rltemp.errors import InputError
from rltemp.seeding import make_generator


def random_transition(seed: int, students: int = 3, instances: int = 5, size: float = 0.01) -> Transition:
    draw = np.random.default_rng(seed)
    return Transition(
        features=draw.random((students, instances, 3), dtype=np.float32),
        temperatures=draw.uniform(0.5, 32.0, (students, instances)).astype(np.float32),
        influence=draw.normal(0.3, 2.0, (students, instances)).astype(np.float32),
        reward=(size * draw.normal(0.5, 1.0, students)).astype(np.float32),
    )


def permuted(transition: Transition, order: Any) -> Transition:
    assert transition.influence is not None
    return dataclasses.replace(
        transition,
        features=transition.features[:, order],
        temperatures=transition.temperatures[:, order],
        influence=transition.influence[:, order],
    )


def known_influence(transition: Transition) -> npt.NDArray[np.float32]:
    assert transition.influence is not None
    return transition.influence


def fitted_redistribution() -> Redistribution:
    redistribution = Redistribution(3, make_generator(0))
    for seed in range(100, 120):
        redistribution.calibrate(random_transition(seed))
    redistribution.update()
    return redistribution


MAKE: dict[str, Callable[[], Calibration]] = {
    "uniform": Uniform,
    "influence": lambda: Influence(0.7),
    "redistribution": fitted_redistribution,
}


@pytest.mark.parametrize("name", MAKE)
@given(seed=st.integers(0, 2**32 - 1), size=st.floats(1e-6, 1e3))
def test_a_batch_earns_what_it_earned(name: str, seed: int, size: float) -> None:
    calibration = CALIBRATIONS[name]
    transition = random_transition(seed, size=size)
    rewards = calibration.calibrate(transition)
    assert rewards.shape == (3, 5)
    scale = np.abs(rewards).mean(axis=1)
    np.testing.assert_array_less(np.abs(rewards.mean(axis=1) - transition.reward), 1e-6 * scale + 1e-12)


CALIBRATIONS = {name: make() for name, make in MAKE.items()}


@pytest.mark.parametrize("name", MAKE)
def test_the_order_of_instances_makes_no_difference(name: str) -> None:
    transition, order = random_transition(1), np.array([3, 1, 4, 0, 2])
    straight = MAKE[name]().calibrate(transition)
    shuffled = MAKE[name]().calibrate(permuted(transition, order))
    np.testing.assert_allclose(shuffled, straight[:, order], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", ["influence", "redistribution"])
def test_instances_are_paid_differently(name: str) -> None:
    rewards = MAKE[name]().calibrate(random_transition(1))
    assert (rewards.std(axis=1) > 1e-5).all()


def test_influence_follows_its_formula() -> None:
    calibration, seen = Influence(0.7), [random_transition(seed) for seed in range(4)]
    for transition in seen:
        rewards = calibration.calibrate(transition)
    r = [float(value) for transition in seen for value in transition.reward]
    c = []
    for transition in seen:
        for batch in known_influence(transition).tolist():
            c += [value - sum(batch) / 5 for value in batch]
    unit = (sum(x * x for x in r) / len(r)) ** 0.5 / (sum(x * x for x in c) / len(c)) ** 0.5
    last = seen[-1]
    expected = [
        [float(last.reward[k]) + 0.7 * unit * (value - sum(batch) / 5) for value in batch]
        for k, batch in enumerate(known_influence(last).tolist())
    ]
    np.testing.assert_allclose(rewards, expected, rtol=1e-6)


@pytest.mark.parametrize("factor", [1e-4, 1e4])
def test_the_units_of_influence_make_no_difference(factor: float) -> None:
    plain, scaled = Influence(0.5), Influence(0.5)
    for seed in range(3):
        transition = random_transition(seed)
        other = dataclasses.replace(transition, influence=np.float32(factor) * known_influence(transition))
        np.testing.assert_allclose(scaled.calibrate(other), plain.calibrate(transition), rtol=1e-5)


def test_influence_of_weight_zero_and_influence_that_is_all_alike_are_uniform() -> None:
    transition = random_transition(1)
    uniform = np.repeat(transition.reward[:, None], 5, axis=1)
    np.testing.assert_allclose(Influence(0.0).calibrate(transition), uniform)
    alike = dataclasses.replace(transition, influence=np.full((3, 5), 0.25, np.float32))
    np.testing.assert_array_equal(Influence(0.7).calibrate(alike), uniform)
    np.testing.assert_array_equal(Uniform().calibrate(transition), uniform)


def toy_transitions(env: ToyVectorEnv, steps: int, seed: int) -> list[Transition]:
    draw = np.random.default_rng(seed)
    env.reset(seed=seed)
    seen = []
    for _ in range(steps):
        env.step(draw.uniform(-1, 1, (env.num_envs, 1)).astype(np.float32))
        seen.append(env.transition)
    return seen


def test_redistribution_finds_out_who_earned_the_reward() -> None:
    env = ToyVectorEnv(students=8, batch_size=4)
    calibration = Redistribution(3, make_generator(0))
    for transition in toy_transitions(env, 100, seed=1):
        untrained = calibration.calibrate(transition)
        np.testing.assert_allclose(untrained, np.repeat(transition.reward[:, None], 4, axis=1), rtol=1e-6)
    for _ in range(3):
        calibration.update()
    true, learned = [], []
    for transition in toy_transitions(env, 10, seed=2):
        true.append(4 * known_influence(transition) - transition.reward[:, None])
        learned.append(calibration.calibrate(transition) - transition.reward[:, None])
    correlation = np.corrcoef(np.ravel(true), np.ravel(learned))[0, 1]
    assert correlation > 0.9
    # Shares in the reward's own units: neither shrunk nor blown up.
    assert 0.7 < np.std(learned) / np.std(true) < 1.3


def test_redistribution_repeats_itself_from_the_same_generator_and_from_its_state() -> None:
    first, second, resumed = fitted_redistribution(), fitted_redistribution(), Redistribution(3, make_generator(9))
    resumed.load_state_dict(first.state_dict())
    transition = random_transition(5)
    for calibration in (first, second, resumed):
        calibration.calibrate(transition)
        calibration.update()
    expected = first.calibrate(random_transition(6))
    np.testing.assert_array_equal(second.calibrate(random_transition(6)), expected)
    np.testing.assert_array_equal(resumed.calibrate(random_transition(6)), expected)


def test_influence_continues_from_its_state() -> None:
    first, resumed = Influence(0.5), Influence(0.5)
    first.calibrate(random_transition(0))
    resumed.load_state_dict(first.state_dict())
    for calibration in (first, resumed):
        calibration.calibrate(random_transition(1))
    np.testing.assert_array_equal(first.calibrate(random_transition(2)), resumed.calibrate(random_transition(2)))


def rewards_of(calibration: Calibration, scale: float = 1.0) -> tuple[Any, Transition]:
    env = ToyVectorEnv(students=2, batch_size=3)
    venv = CalibratedReward(VectorEnvAdapter(env), calibration, scale)
    venv.seed(0)
    venv.reset()
    _, rewards, _, _ = venv.step(np.linspace(-1, 1, 6, dtype=np.float32)[:, None])
    return rewards, env.transition


def test_the_wrapper_pays_calibrated_rewards_slot_by_slot() -> None:
    rewards, transition = rewards_of(Influence(1.0), scale=5.0)
    expected = 5.0 * Influence(1.0).calibrate(transition)
    assert rewards.dtype == np.float32
    np.testing.assert_allclose(rewards.reshape(2, 3), expected, rtol=1e-6)


class Generous(Calibration):
    def calibrate(self, transition: Transition) -> Any:
        return Uniform().calibrate(transition) * 1.001


class Undefined(Calibration):
    def calibrate(self, transition: Transition) -> Any:
        return Uniform().calibrate(transition) * np.nan


class Flat(Calibration):
    def calibrate(self, transition: Transition) -> Any:
        return transition.reward.astype(np.float64)


@pytest.mark.parametrize(
    ("calibration", "message"), [(Generous(), "keep the mean"), (Undefined(), "keep the mean"), (Flat(), "shape")]
)
def test_a_calibration_that_changes_what_a_batch_earned_is_refused(calibration: Calibration, message: str) -> None:
    with pytest.raises(InputError, match=f"{type(calibration).__name__} must .*{message}"):
        rewards_of(calibration)


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_a_weight_out_of_range_is_refused(weight: float) -> None:
    with pytest.raises(InputError, match="weight"):
        Influence(weight)
    with pytest.raises(InputError, match="scale"):
        rewards_of(Uniform(), scale=weight)


def test_influence_that_is_not_known_is_refused_and_the_others_do_without() -> None:
    known = random_transition(0)
    unknown = dataclasses.replace(known, influence=None)
    with pytest.raises(
        InputError, match=r"influence must be known, got None: the recipe needs agent\.credit 'influence'"
    ):
        Influence(1.0).calibrate(unknown)
    for make in (Uniform, fitted_redistribution):
        np.testing.assert_array_equal(make().calibrate(unknown), make().calibrate(known))
