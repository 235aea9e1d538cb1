"""The conformance check passes a correct environment, and names the broken clause of every incorrect one."""

import dataclasses
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from rltemp.envs.conformance import CLAUSES, ConformanceError, check_vector_env
from rltemp.envs.contract import Transition
from rltemp.envs.student_conformance import STUDENT_CLAUSES, check_student_env
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
        self._time, self._best = 0, []
        return super().step(actions)


class SharesMemoryBetweenSteps(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.buffer = np.zeros(self.observation_space.shape or (), np.float32)

    def _slots(self, values: Any) -> Any:
        self.buffer[...] = super()._slots(values)
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
        return self._seen

    def _slots(self, values: Any) -> Any:
        return values.reshape(self.num_envs, -1)


class InfosOfEverySlot(Toy):
    def step(self, actions: Any) -> Any:
        *rest, infos = super().step(actions)
        everyone = np.ones(self.num_envs, dtype=bool)
        return *rest, {**infos, "time": np.zeros(self.num_envs), "_time": everyone}


class StepsUnprepared(Toy):
    def step(self, actions: Any) -> Any:
        if self._time is None:
            super().reset()
        return super().step(actions)


class PaysTheStepThatResets(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.autoreset_mode = AutoresetMode.NEXT_STEP
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}

    def step(self, actions: Any) -> Any:
        observations, rewards, *rest = super().step(actions)
        return observations, rewards - 1.0, *rest


class GoesOnWithoutReset(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.autoreset_mode = AutoresetMode.NEXT_STEP
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}


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
    (PaysTheStepThatResets, "autoreset"),
    (GoesOnWithoutReset, "autoreset"),
    (SharesMemoryBetweenSteps, "memory"),
    (SharesAnInfoDict, "memory"),
    (ReadsWhatItReturned, "memory"),
    (InfosOfEverySlot, "infos"),
    (StepsUnprepared, "order"),
    (StepsAfterClose, "order"),
]


@pytest.mark.parametrize("mode", AutoresetMode)
def test_the_toy_environment_conforms_in_every_mode(mode: AutoresetMode) -> None:
    check_student_env(lambda: ToyVectorEnv(2, 2, horizon=4, autoreset_mode=mode), max_steps=STEPS)


@pytest.mark.parametrize(("broken", "clause"), BROKEN)
def test_a_broken_environment_is_refused_under_the_name_of_its_clause(broken: Any, clause: str) -> None:
    with pytest.raises(ConformanceError, match=f"^{clause}: ") as refusal:
        check_vector_env(broken, max_steps=STEPS)
    assert refusal.value.clause == clause


class PaysOneSlotMore(Toy):
    def step(self, actions: Any) -> Any:
        observations, rewards, *rest = super().step(actions)
        rewards[0] += 1.0
        return observations, rewards, *rest


class CountsItsSlotsWrong(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.batch_size = 1


class NamesALongerHorizon(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.horizon = 3

    def step(self, actions: Any) -> Any:
        self.horizon = 4
        try:
            return super().step(actions)
        finally:
            self.horizon = 3


class TellsTheFirstTransition(Toy):
    kept: Transition | None = None

    @property
    def transition(self) -> Transition:
        self.kept = self.kept or super().transition
        return self.kept


class KeepsInfluenceToItself(Toy):
    def advance(self, actions: Any) -> Any:
        seen, transition = super().advance(actions)
        return seen, dataclasses.replace(transition, influence=None)


class PaysForTheLost(Toy):
    def advance(self, actions: Any) -> Any:
        seen, transition = super().advance(actions)
        return seen, dataclasses.replace(transition, lost=np.arange(self.students) == 0)


class FindsTheLostAgain(Toy):
    def advance(self, actions: Any) -> Any:
        seen, transition = super().advance(actions)
        nothing = np.zeros_like(transition.reward)
        seen[0] = self._seen[0] = 0.0
        lost = np.array([self._time == 0] + [False] * (self.students - 1))
        return seen, dataclasses.replace(transition, reward=nothing, lost=lost)


class NeverForgets(Toy):
    def forget(self) -> None: ...


class KnowsEffectsBeforeTheEnd(Toy):
    def effects(self, actions: Any) -> Any:
        return np.zeros_like(actions)


UNFIT: list[tuple[Callable[[], ToyVectorEnv], str]] = [
    (PaysOneSlotMore, "slots"),
    (CountsItsSlotsWrong, "slots"),
    (NamesALongerHorizon, "horizon"),
    (TellsTheFirstTransition, "transitions"),
    (KeepsInfluenceToItself, "transitions"),
    (PaysForTheLost, "lost"),
    (FindsTheLostAgain, "lost"),
    (NeverForgets, "effects"),
    (KnowsEffectsBeforeTheEnd, "effects"),
]


@pytest.mark.parametrize(("broken", "clause"), UNFIT)
def test_a_broken_environment_of_students_is_refused_by_its_clause(broken: Any, clause: str) -> None:
    with pytest.raises(ConformanceError, match=f"^{clause}: "):
        STUDENT_CLAUSES[clause](broken)


def test_every_clause_of_students_is_broken_by_some_environment() -> None:
    assert {clause for _, clause in UNFIT} == set(STUDENT_CLAUSES)


def test_every_clause_is_broken_by_some_environment() -> None:
    assert {clause for _, clause in BROKEN} == set(CLAUSES)


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
@pytest.mark.parametrize("clause", sorted(CLAUSES.keys() - {"order"}))
def test_gymnasiums_own_vector_environment_conforms(clause: str, mode: AutoresetMode) -> None:
    # Its `step` still answers after `close`, which is why the clause "order" is left out.
    def make_env() -> Any:
        kwargs = {"autoreset_mode": mode}
        return gymnasium.make_vec("CartPole-v1", num_envs=3, vectorization_mode="sync", vector_kwargs=kwargs)

    CLAUSES[clause](make_env, 200)
