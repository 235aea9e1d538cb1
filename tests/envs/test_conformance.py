"""The conformance check passes a correct environment, and names the broken clause of every incorrect one."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from rltemp.envs.conformance import CLAUSES, ConformanceError, check_vector_env
from rltemp.envs.toy import ToyVectorEnv

STEPS = 20


class Toy(ToyVectorEnv):
    def __init__(self) -> None:
        super().__init__(students=2, batch_size=2, horizon=4)


class WrongSpaces(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (self.num_envs, 2), np.float32)

    def step(self, actions: Any) -> Any:
        return super().step(actions[:, :1])


class ObservationsOutOfBounds(Toy):
    def _observe(self) -> Any:
        return super()._observe() + np.float32(0.5)


class ObservationsOfAnotherDtype(Toy):
    def _observe(self) -> Any:
        return super()._observe().astype(np.float64)


class WritesIntoActions(Toy):
    def step(self, actions: Any) -> Any:
        np.clip(actions, -0.5, 0.5, out=actions)
        return super().step(actions)


class TakesAnyNumberOfActions(Toy):
    def step(self, actions: Any) -> Any:
        return super().step(actions[: self.num_envs])


class RewardPerStudent(Toy):
    def step(self, actions: Any) -> Any:
        observations, rewards, *rest = super().step(actions)
        return observations, rewards[:: self.batch_size].copy(), *rest


class RewardsOfNan(Toy):
    def step(self, actions: Any) -> Any:
        observations, rewards, *rest = super().step(actions)
        return observations, rewards * np.nan, *rest


class EndingsAsNumbers(Toy):
    def step(self, actions: Any) -> Any:
        observations, rewards, terminations, truncations, infos = super().step(actions)
        return observations, rewards, terminations.astype(np.float32), truncations, infos


class IgnoresTheSeed(Toy):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.np_random = np.random.default_rng()
        return super().reset(options=options)


class IgnoresWhichSeed(Toy):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return super().reset(seed=None if seed is None else 0, options=options)


class DrawsFromTheGlobalGenerator(Toy):
    def step(self, actions: Any) -> Any:
        np.random.random()  # noqa: NPY002
        return super().step(actions)


class SharesStateAmongInstances(Toy):
    clock = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        type(self).clock = 0
        return super().reset(seed=seed, options=options)

    def step(self, actions: Any) -> Any:
        observations, rewards, *rest = super().step(actions)
        type(self).clock += 1
        return observations, rewards + self.clock, *rest


class DeclaresNoMode(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.metadata = {}


class DeclaresAnotherMode(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}


class NoFinalObservation(Toy):
    def step(self, actions: Any) -> Any:
        *answer, infos = super().step(actions)
        return *answer, {key: value for key, value in infos.items() if "final_obs" not in key}


class FinalObservationAgain(Toy):
    def step(self, actions: Any) -> Any:
        observations, *rest, infos = super().step(actions)
        if infos:
            observations = np.stack(list(infos["final_obs"]))
        return observations, *rest, infos


class NeverEnds(Toy):
    def step(self, actions: Any) -> Any:
        self._time = 0
        return super().step(actions)


class SharesMemoryBetweenSteps(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.buffer = np.zeros(self.observation_space.shape or (), np.float32)

    def _observe(self) -> Any:
        self.buffer[...] = super()._observe()
        return self.buffer


class SharesAnInfoDict(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.infos: dict[str, Any] = {}

    def step(self, actions: Any) -> Any:
        *rest, infos = super().step(actions)
        self.infos.clear()
        self.infos.update(infos)
        return *rest, self.infos


class ReadsWhatItReturned(Toy):
    def _observe(self) -> Any:
        super()._observe()
        assert self._observation is not None
        return self._observation


class InfosOfEverySlot(Toy):
    def step(self, actions: Any) -> Any:
        *rest, infos = super().step(actions)
        everyone = np.ones(self.num_envs, dtype=bool)
        return *rest, {**infos, "time": np.zeros(self.num_envs), "_time": everyone}


class StepsUnprepared(Toy):
    def step(self, actions: Any) -> Any:
        if self._observation is None:
            super().reset()
        return super().step(actions)


class StepsAfterClose(Toy):
    def _refuse_closed(self) -> None: ...


BROKEN: list[tuple[Callable[[], ToyVectorEnv], str]] = [
    (WrongSpaces, "spaces"),
    (ObservationsOutOfBounds, "observations"),
    (ObservationsOfAnotherDtype, "observations"),
    (WritesIntoActions, "actions"),
    (TakesAnyNumberOfActions, "actions"),
    (RewardPerStudent, "rewards"),
    (RewardsOfNan, "rewards"),
    (EndingsAsNumbers, "endings"),
    (IgnoresTheSeed, "seeding"),
    (IgnoresWhichSeed, "seeding"),
    (DrawsFromTheGlobalGenerator, "isolation"),
    (SharesStateAmongInstances, "isolation"),
    (DeclaresNoMode, "autoreset"),
    (DeclaresAnotherMode, "autoreset"),
    (NoFinalObservation, "autoreset"),
    (FinalObservationAgain, "autoreset"),
    (NeverEnds, "autoreset"),
    (SharesMemoryBetweenSteps, "memory"),
    (SharesAnInfoDict, "memory"),
    (ReadsWhatItReturned, "memory"),
    (InfosOfEverySlot, "infos"),
    (StepsUnprepared, "order"),
    (StepsAfterClose, "order"),
]


def test_the_toy_environment_conforms() -> None:
    check_vector_env(Toy, max_steps=STEPS)


@pytest.mark.parametrize(("broken", "clause"), BROKEN)
def test_a_broken_environment_is_refused_under_the_name_of_its_clause(broken: Any, clause: str) -> None:
    with pytest.raises(ConformanceError, match=f"^{clause}: ") as refusal:
        check_vector_env(broken, max_steps=STEPS)
    assert refusal.value.clause == clause


def test_every_clause_is_broken_by_some_environment() -> None:
    assert {clause for _, clause in BROKEN} == set(CLAUSES)


@pytest.mark.parametrize("clause", sorted(CLAUSES.keys() - {"order"}))
def test_gymnasiums_own_vector_environment_conforms(clause: str) -> None:
    # Its `step` still answers after `close`, which is why the clause "order" is left out.
    def make_env() -> Any:
        kwargs = {"autoreset_mode": AutoresetMode.SAME_STEP}
        return gymnasium.make_vec("CartPole-v1", num_envs=3, vectorization_mode="sync", vector_kwargs=kwargs)

    CLAUSES[clause](make_env, 200)


def test_gymnasiums_default_mode_is_refused() -> None:
    with pytest.raises(ConformanceError, match=r"want AutoresetMode\.SAME_STEP"):
        CLAUSES["autoreset"](lambda: gymnasium.make_vec("CartPole-v1", num_envs=3, vectorization_mode="sync"), 200)
