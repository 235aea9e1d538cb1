"""Students that diverge have lost, whoever learns: what is learned from them, what is not, and when to give up."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from rltemp.agents import train_policy
from rltemp.agents.buffer import StudentRolloutBuffer
from rltemp.agents.credit.calibration import CalibratedReward, Uniform
from rltemp.agents.evolution import Evolution
from rltemp.agents.forfeit import forfeits
from rltemp.agents.learner import Learner
from rltemp.agents.metrics import RolloutRecord
from rltemp.agents.selection import validation_score
from rltemp.agents.trainer import Trainer
from rltemp.agents.vec_env import VectorEnvAdapter
from rltemp.distillation import Task
from rltemp.envs.contract import Floats, Transition
from rltemp.envs.toy import ToyVectorEnv
from rltemp.errors import DivergenceError
from rltemp.policies import make_policy
from rltemp.recipes import Recipe
from rltemp.recipes.loading import change_recipe
from rltemp.recipes.schema import Agent, Credit

AGENT = Agent(students=4, hidden=(16, 16), log_std_init=-2.0, influence_weight=1.0, rollouts=9)
CREDITS: tuple[Credit, ...] = ("uniform", "redistribution", "influence", "hindsight")
SEARCHER = Agent(learner="evolution", credit="uniform", students=8, rollouts=9, hidden=(), log_std_init=-2.0)


class Fragile(ToyVectorEnv):
    """Students whose actions are far from the best ones are lost, and have then lost 3."""

    def fatal(self, task: int, actions: Floats, reward: Floats) -> Any:
        """Which students are lost by these actions, that pay so much; [K]."""
        return reward < -0.3

    def start_episode(self, task: int) -> Floats:
        self._gone, self._task = np.zeros(self.students, dtype=bool), task
        return super().start_episode(task)

    def advance(self, actions: Floats) -> tuple[Floats, Transition]:
        seen, transition = super().advance(actions)
        before = self._gone
        self._gone = before | self.fatal(self._task, actions, transition.reward)
        reward = np.where(self._gone, np.where(before, 0.0, -3.0), transition.reward).astype(np.float32)
        assert transition.influence is not None
        influence = np.where(self._gone[:, None], np.float32(0.0), transition.influence)
        seen[self._gone] = 0.0
        self._seen[self._gone] = 0.0
        return seen, dataclasses.replace(transition, reward=reward, influence=influence, lost=self._gone.copy())

    def effects(self, actions: Floats) -> Floats:
        effects = super().effects(actions).reshape(*actions.shape[:-1], self.students, -1)
        effects[..., self._gone, :] = 0.0
        return effects.reshape(actions.shape)


class Doomed(Fragile):
    """All students are lost at once."""

    def fatal(self, task: int, actions: Floats, reward: Floats) -> Any:
        return True


def make(credit: Credit | None = "uniform", env: type[ToyVectorEnv] = Fragile, **agent: Any) -> Learner:
    """PPO with this credit; evolution for None."""
    settings = dataclasses.replace(SEARCHER if credit is None else AGENT, **agent)
    if credit is None:
        return Evolution(env(settings.students, 4, horizon=5, autoreset_mode=AutoresetMode.DISABLED), settings)
    return Trainer(env(settings.students, 4, horizon=5), dataclasses.replace(settings, credit=credit))


def _play(learner: Learner, rollouts: int) -> list[float]:
    """How many students each of these rollouts loses."""
    return [learner.rollout()["diverged"] for _ in range(rollouts)]


@pytest.mark.parametrize(
    ("credit", "rollouts"),
    [("uniform", 40), ("influence", 15), ("redistribution", 30), ("hindsight", 8), (None, 150)],
)
def test_a_policy_learns_not_to_lose_them(credit: Credit | None, rollouts: int) -> None:
    learner = make(credit, students=8, rollouts=rollouts, learning_rate=3e-3 if credit else 0.3)
    lost = _play(learner, rollouts)
    assert sum(lost[:3]) > 8
    assert sum(lost[-3:]) < 0.5 * sum(lost[:3])


@pytest.mark.parametrize("credit", [*CREDITS, None])
def test_a_resumed_training_equals_an_unbroken_one_bit_for_bit(credit: Credit | None) -> None:
    unbroken, broken, resumed = make(credit), make(credit), make(credit)
    assert 0 < sum(_play(unbroken, 4)) < 4 * unbroken.agent.students
    _play(broken, 2)
    resumed.load_state_dict(broken.state_dict())
    _play(resumed, 2)
    np.testing.assert_equal(resumed.history, unbroken.history)  # with NaN where nobody was left
    for name, weights in unbroken.weights().items():
        assert torch.equal(weights, resumed.weights()[name])


def _recipe(tiny_recipe: Recipe, **changes: Any) -> Recipe:
    """A task on which about half of the students diverge, by scales of up to a million."""
    agent = {"students": 8, "rollouts": 2, "hidden": [8], "n_epochs": 2, "minibatches": 2, "log_std_init": -1.0}
    space = {"alignment": "none", "scale_range": [1.0, 1e6]}
    return change_recipe(
        tiny_recipe,
        {
            **{f"agent.{name}": value for name, value in agent.items()},
            **{f"policy.{name}": value for name, value in space.items()},
            **{"optimization.lr": 0.05, "agent.objective": "soft-error", **changes},
        },
    )


WAYS: dict[str, dict[str, Any]] = {
    **{credit: {"agent.credit": credit} for credit in CREDITS},
    "checkpoints": {"agent.credit": "hindsight", "agent.checkpoints": "auto"},
    "stacks": {"agent.credit": "hindsight", "agent.stack": 4},
    "evolution": {"agent.learner": "evolution", "agent.credit": "uniform", "agent.hidden": []},
}


@pytest.mark.parametrize("way", WAYS)
def test_training_goes_on_and_resumes(way: str, tiny_recipe: Recipe, tiny_task: Task, tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(learner: Learner) -> None:
        if len(learner.history) == 2:
            raise StopError

    history: list[dict[str, float]] = []
    recipe = _recipe(tiny_recipe, **WAYS[way])
    whole = train_policy(recipe, task=tiny_task, callbacks=[lambda learner: history.append(learner.history[-1])])
    assert 0 < sum(metrics["diverged"] for metrics in history) < 16
    assert all(np.isfinite(metrics["return"]) and np.isfinite(metrics["score"]) for metrics in history)
    with pytest.raises(StopError):
        train_policy(recipe, task=tiny_task, run_dir=tmp_path, callbacks=[stop])
    resumed = train_policy(recipe, task=tiny_task, run_dir=tmp_path, resume=True)
    assert (tmp_path / "metrics.csv").read_text().splitlines()[0].split(",")[3] == "diverged"
    for name, weights in whole.state_dict().items():
        assert torch.equal(weights, resumed.state_dict()[name])


@pytest.mark.parametrize("credit", ["uniform", "hindsight", None])
def test_a_task_whose_students_are_all_lost_at_once_ends_the_training(credit: Credit | None) -> None:
    learner = make(credit, Doomed)
    with pytest.raises(DivergenceError, match=r"all students of rollout 1 diverged: lower optimization\.lr"):
        learner.rollout()
    assert learner.history == []


@pytest.mark.parametrize("credit", ["uniform", None])
def test_of_several_tasks_some_may_be_hopeless(credit: Credit | None) -> None:
    class Mixed(Fragile):
        """Of all tasks but the first, all students are lost."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.tasks = 30

        def fatal(self, task: int, actions: Floats, reward: Floats) -> Any:
            return task > 0

    learner = make(credit, Mixed)
    with pytest.raises(DivergenceError, match=r"all students of rollouts \d+ to \d+ diverged"):
        _play(learner, 30)
    assert [metrics["diverged"] for metrics in learner.history][-9:] == [learner.agent.students] * 9
    # The same rollout ends a training that goes on from there.
    resumed = make(credit, Mixed)
    resumed.load_state_dict(learner.state_dict())
    with pytest.raises(DivergenceError):
        resumed.rollout()


def test_an_evolved_policy_that_is_no_number_is_named() -> None:
    learner = make(None, students=16, learning_rate=1e39)
    with pytest.raises(DivergenceError, match=r"the agent diverged in rollout 1: lower agent.learning_rate"):
        learner.rollout()


def _buffer(lost_after: int | None, worst: float = 0.0) -> Any:
    """Six steps of two students of two instances, of which the second may be lost by a step, and the first be bad."""
    box = Fragile(2, 2)
    generator = np.random.default_rng(0)
    buffer = StudentRolloutBuffer(
        6,
        box.single_observation_space,
        box.single_action_space,
        "cpu",
        gae_lambda=0.9,
        gamma=1.0,
        n_envs=4,
        group_size=2,
    )
    for step in range(6):
        gone = lost_after is not None and step > lost_after
        rewards, values = generator.normal(size=(2, 4))
        rewards[2:] = np.where(gone, 0.0, rewards[2:]) - (5.0 if step == 0 else 0.0)
        rewards[:2] += worst
        starts = np.array([step == 0] * 2 + [step == 0 or gone] * 2)
        rows = np.full((4, 3), step + np.array([[0.0], [0.1], [0.2], [0.3]]))
        buffer.add(rows, np.zeros((4, 1)), rewards, starts, torch.from_numpy(values).float(), torch.zeros(4))
    buffer.compute_returns_and_advantage(torch.full((4,), 9.0), dones=np.ones(4, dtype=bool))
    return buffer


def test_advantages_of_one_that_is_lost_are_those_of_a_shorter_run() -> None:
    usual, buffer = _buffer(None), _buffer(2)
    np.testing.assert_array_equal(buffer.advantages[:, :2], usual.advantages[:, :2])
    rewards, values = (array[:3, 2:].mean(axis=1) for array in (buffer.rewards, buffer.values))
    advantage = 0.0
    for step in (2, 1, 0):
        following = values[step + 1] if step < 2 else 0.0
        advantage = rewards[step] + following - values[step] + 0.9 * advantage
        assert buffer.advantages[step, 2:].mean() == pytest.approx(advantage, abs=1e-5)


def test_nobody_that_is_lost_is_paid_more_than_the_worst_that_is_left() -> None:
    returns, lost = np.array([0.5, -4.0, 0.2, -9.0]), np.array([True, False, False, True])
    assert forfeits(returns, lost).tolist() == [4.5, 0.0, 0.0, 0.0]
    assert not forfeits(returns, np.zeros(4, dtype=bool)).any()
    assert not forfeits(returns, np.ones(4, dtype=bool)).any()
    harmless, costly = _buffer(2), _buffer(2, worst=-50.0)
    paid = [float(buffer.rewards[:, 2:].mean(axis=1).sum()) for buffer in (harmless, costly)]
    assert paid[0] == pytest.approx(paid[1])
    left = float(costly.rewards[:, :2].mean(axis=1).sum())
    changed = (costly.advantages - harmless.advantages)[:, 2:]
    want = np.array([0.81, 0.9, 1.0])[:, None] * (left - paid[1])  # a reward of its last update
    np.testing.assert_allclose(changed[:3], np.repeat(want, 2, axis=1), rtol=1e-4)


@pytest.mark.parametrize("size", [None, 4])
def test_what_comes_after_the_end_is_in_no_minibatch(size: int | None) -> None:
    buffer = _buffer(2)
    assert buffer.counted.sum(axis=0).tolist() == [6, 6, 3, 3]
    for _ in range(2):
        parts = [samples.observations[:, 0] for samples in buffer.get(size)]
        seen = sorted(round(float(value), 1) for part in parts for value in part)
        want = [step + slot / 10 for slot in range(4) for step in range(6 if slot < 2 else 3)]
        assert seen == sorted(want)
        assert size is None or [len(part) for part in parts] == [4, 4, 4, 4, 2]


def test_whole_rollouts_are_shuffled_as_sb3_does() -> None:
    ours, theirs = _buffer(None), _buffer(None)
    np.random.seed(3)  # noqa: NPY002
    mine = list(ours.get(5))
    np.random.seed(3)  # noqa: NPY002
    for here, there in zip(mine, super(StudentRolloutBuffer, theirs).get(5), strict=True):
        for a, b in zip(here, there, strict=True):
            assert torch.equal(a, b)


def test_calibrations_never_see_them_again() -> None:
    met: list[int] = []

    class Daring(Fragile):
        """Students that go to the end of the range are lost."""

        def fatal(self, task: int, actions: Floats, reward: Floats) -> Any:
            return actions.max(axis=1) >= 1.0

    class Noted(Uniform):
        def calibrate(self, transition: Transition) -> Any:
            met.append(len(transition.reward))
            return super().calibrate(transition)

    venv = CalibratedReward(VectorEnvAdapter(Daring(3, 2, horizon=4)), Noted(), scale=2.0)
    for _ in range(2):
        met.clear()
        venv.reset()
        ends = []
        for step in range(4):
            actions = np.full((6, 1), -0.5, np.float32)
            actions[2:4] = 1.0 if step == 1 else -0.5
            _, rewards, ended, _ = venv.step(actions)
            ends.append(ended.tolist())
            if step >= 1:
                assert rewards[2:4].tolist() == ([-6.0] * 2 if step == 1 else [0.0] * 2)
        assert met == [3, 3, 2, 2]
        lost = [False, False, True, True, False, False]
        assert ends == [[False] * 6, lost, lost, [True] * 6]


def test_where_all_are_lost_nothing_is_asked() -> None:
    venv = CalibratedReward(VectorEnvAdapter(Doomed(3, 2, horizon=4)), Uniform())
    venv.reset()
    rewards = [venv.step(np.zeros((6, 1), np.float32))[1].tolist() for _ in range(5)]
    assert rewards == [[-3.0] * 6, *[[0.0] * 6] * 3, [-3.0] * 6]  # the last one of the next episode


def test_metrics_count_them_and_their_temperatures_until_then() -> None:
    record = RolloutRecord()
    for step in range(10):
        lost = np.array([False, step >= 3])
        temperatures = np.array([[2.0, 2.0], [32.0, 8.0]], np.float32)
        rewards = np.array([0.1, 0.0 if step > 3 else 0.2], np.float32)
        record.note(Transition(np.zeros((2, 2, 1), np.float32), temperatures, rewards, lost=lost))
    metrics = record.metrics()
    assert metrics["diverged"] == 1.0
    assert metrics["return"] == pytest.approx((1.0 + 0.8) / 2, rel=1e-5)
    assert metrics["temperature_0_20"] == metrics["temperature_20_40"] == pytest.approx(2.0 ** ((1 + 4) / 2))
    assert metrics["temperature_40_60"] == metrics["temperature_80_100"] == pytest.approx(2.0)
    assert metrics["temperature_spread"] == pytest.approx(4 * 1.0 / 14)


@pytest.mark.parametrize(("objective", "least"), [("soft-error", -1.0), ("nll", -np.log(10))])
def test_a_policy_is_scored_by_those_that_it_loses(
    objective: Any, least: float, tiny_recipe: Recipe, tiny_task: Task
) -> None:
    score: Any = validation_score(_recipe(tiny_recipe, **{"agent.objective": objective}), [tiny_task])
    assert score(make_policy("static", temperature=2.0, scale=1e30)) == pytest.approx(least, rel=1e-6)
    assert score(make_policy("static", temperature=2.0)) != pytest.approx(least, rel=1e-3)
