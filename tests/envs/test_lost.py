"""A student that diverges has lost, in the tasks themselves: what it is paid, what is seen of it, and who suffers."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from rltemp.checks import unchecked
from rltemp.distillation import Task, score
from rltemp.envs import Transition
from rltemp.envs.contract import Floats
from rltemp.envs.episode import Episode
from rltemp.envs.objective import loss_of_lost
from rltemp.envs.transition import joined
from rltemp.envs.vector import DistillationVectorEnv
from rltemp.errors import DivergenceError
from rltemp.recipes.schema import Agent, Credit, Objective, PolicySpace, Recipe

SEEDS = (3, 11, 4)
SPACE = PolicySpace(alignment="none", low=1.0, high=4.0, scale_range=(1.0, 1e6))
CREDITS: tuple[Credit, ...] = ("uniform", "influence", "hindsight")
MILD, DEADLY = -1.0, 1.0


@pytest.fixture(scope="module")
def task(tiny_task: Task) -> Task:
    """With a rate at which the largest scale is deadly, and which does not fall, so that every update does as much."""
    optimization = dataclasses.replace(tiny_task.optimization, lr=0.3, schedule="multistep", milestones=())
    return dataclasses.replace(tiny_task, optimization=optimization)


def _begin(task: Task, seeds: Any = SEEDS, **agent: Any) -> Episode:
    return Episode(task, Recipe(policy=SPACE, agent=Agent(**{"credit": "uniform", **agent})), seeds)


def _actions(task: Task, students: int, fatal: int | None = None, step: int = 2) -> list[Floats]:
    """Temperatures and scales [steps, K, B, 2] that do no harm, but for one student at one update."""
    actions = np.full((task.steps, students, 8, 2), MILD, np.float32)
    if fatal is not None:
        actions[step, fatal, :, 1] = DEADLY
    return list(actions)


def _play(episode: Episode, actions: list[Floats]) -> list[Transition]:
    with unchecked():
        return [episode.step(action) for action in actions]


def _lost(transitions: list[Transition]) -> list[list[bool]]:
    return [transition.lost.tolist() for transition in transitions if transition.lost is not None]


@pytest.mark.parametrize("credit", CREDITS)
@pytest.mark.parametrize("stacked", [True, False])
def test_the_others_go_on_as_they_would_without_it(task: Task, credit: Credit, stacked: bool) -> None:
    task = dataclasses.replace(task, stacked=stacked)
    together = _begin(task, credit=credit)
    transitions = _play(together, _actions(task, 3, fatal=1))
    alone = _begin(task, (3, 4), credit=credit)
    others = _play(alone, _actions(task, 2))
    assert _lost(transitions) == [[False, update >= 2, False] for update in range(task.steps)]
    assert _lost(others) == [[False, False]] * task.steps
    for here, there in zip(transitions, others, strict=True):
        np.testing.assert_allclose(here.features[[0, 2]], there.features, atol=1e-5)
        np.testing.assert_allclose(here.reward[[0, 2]], there.reward, atol=1e-5)
        if here.influence is not None and there.influence is not None:
            np.testing.assert_allclose(here.influence[[0, 2]], there.influence, atol=1e-5)
    if credit == "hindsight":
        with unchecked():
            assert together.effects is not None
            assert alone.effects is not None
            effects = together.effects.of(np.stack(_actions(task, 3)))
            usual = alone.effects.of(np.stack(_actions(task, 2)))
        np.testing.assert_allclose(effects[:, [0, 2]], usual, rtol=1e-3, atol=1e-6)
        assert not effects[:, 1].any()


@pytest.mark.parametrize("objective", ["nll", "calibrated-nll", "soft-error", "error"])
@pytest.mark.parametrize("every", [1, 100])
def test_what_is_lost_is_paid_once(task: Task, objective: Objective, every: int) -> None:
    episode = _begin(task, objective=objective, reward_every=every)
    before = float(episode._loss[1])
    transitions = _play(episode, _actions(task, 3, fatal=1))
    rewards = np.array([transition.reward[1] for transition in transitions])
    # Its loss moved by what it was paid, until it is the least that is lost, or more.
    left = before - rewards[:2].sum()
    least = 1.0 if "error" in objective else math.log(10)
    assert rewards[2] == pytest.approx(left - max(left, least), abs=1e-5)
    assert rewards[2] <= 0.0
    assert not rewards[3:].any()
    assert not rewards[:2].any() if every > 1 else rewards[:2].any()


def test_nothing_is_seen_of_it(task: Task) -> None:
    episode = _begin(task, credit="influence")
    transitions = _play(episode, _actions(task, 3, fatal=1))
    for update, transition in enumerate(transitions):
        assert transition.influence is not None
        for array in dataclasses.astuple(transition):
            assert np.isfinite(array).all()
        assert transition.features[1].any() == (update <= 2)
        assert transition.influence[1].any() == (update < 2)
    assert not episode.observation[1].any()
    assert episode.observation[[0, 2]].any()


def test_one_that_is_lost_by_its_last_update_is_lost(task: Task) -> None:
    actions = _actions(task, 3, fatal=2, step=task.steps - 1)
    transitions = _play(_begin(task, objective="error"), actions)
    assert _lost(transitions)[-2:] == [[False] * 3, [False, False, True]]
    assert transitions[-1].reward[2] < -0.01


def test_so_is_one_whose_loss_alone_is_no_number(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    episode = _begin(task)
    students = episode._run.students
    evaluate = students.evaluate

    def spoiled(images: Any) -> Any:
        output = evaluate(images)
        output.logits.detach()[0] = math.nan
        return output

    monkeypatch.setattr(students, "evaluate", spoiled)
    transition = _play(episode, _actions(task, 3)[:1])[0]
    assert _lost([transition]) == [[True, False, False]]
    assert np.isfinite(transition.reward).all()


def test_checked_it_ends_the_episode(task: Task) -> None:
    episode = _begin(task)
    before, deadly = _actions(task, 3, fatal=1)[1:3]
    episode.step(before)
    with pytest.raises(DivergenceError, match="student 1 diverged at update 2"):
        episode.step(deadly)


def test_a_loss_that_is_known_to_be_worse_stays(task: Task) -> None:
    assert loss_of_lost("error", 4) == loss_of_lost("soft-error", 4) == 1.0
    assert loss_of_lost("nll", 4) == loss_of_lost("calibrated-nll", 4) == pytest.approx(math.log(4))
    episode = _begin(task, objective="nll")
    bad = np.full((1, 3, 8, 2), MILD, np.float32)
    bad[0, 1, :, 1] = -0.3  # spoils it, and is survived
    spoiled, *_ = _play(episode, list(bad))
    assert spoiled.reward[1] < -1.0
    assert _lost([spoiled]) == [[False] * 3]
    deadly = np.full((8, 2), DEADLY, np.float32)
    bad[0, 1] = deadly
    after = _play(episode, list(bad))[0]
    assert _lost([after]) == [[False, True, False]]
    assert after.reward[1] == 0.0  # no less than it had lost already, and no more


def test_an_environment_tells_of_all_its_students(task: Task, tiny_recipe: Recipe) -> None:
    recipe = Recipe(policy=SPACE, agent=Agent(credit="uniform"), optimization=tiny_recipe.optimization)
    env = DistillationVectorEnv(24, recipe, task=task)
    with unchecked():
        env.reset(seed=0)
        for action in _actions(task, 3, fatal=1):
            observation, rewards, terminations, *_ = env.step(action.reshape(24, 2))
            assert np.isfinite(observation).all()
            assert np.isfinite(rewards).all()
    assert terminations.all()
    assert env.transition.lost is not None
    assert env.transition.lost.tolist() == [False, True, False]


def test_transitions_are_taken_apart_and_joined(task: Task) -> None:
    whole = _play(_begin(task, credit="influence"), _actions(task, 3, fatal=1))[3]
    chosen = np.array([True, False, True])
    again = joined([whole.of(chosen), whole.of(~chosen)])
    for field in dataclasses.fields(Transition):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(whole, field.name)[[0, 2, 1]])
    assert joined([whole]) is whole
    without = dataclasses.replace(whole, influence=None, lost=None)
    assert joined([without, without]).influence is None
    assert without.of(chosen).lost is None


def test_scores_of_the_survivors_are_those_of_the_task(task: Task) -> None:
    """The return still is the fall of the validation loss, for those who are left."""
    episode = _begin(task, objective="nll")
    before = episode._loss.clone()
    transitions = _play(episode, _actions(task, 3, fatal=1))
    returns = np.sum([transition.reward for transition in transitions], axis=0)
    after = score(episode._run.students, task.validation, task.augmentation).nll.numpy()
    np.testing.assert_allclose(returns[[0, 2]], (before.numpy() - after)[[0, 2]], atol=1e-5)
