"""The reward is caused by the action it is paid for, telescopes, and comes from the probe alone."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F

from rltemp.distillation import DistillationRun, Task
from rltemp.distillation.scores import score
from rltemp.envs import Transition
from rltemp.envs.episode import Episode, InstanceEffects, make_features
from rltemp.errors import InputError
from rltemp.features import ALIGNED_FEATURES, LOGIT_FEATURES
from rltemp.recipes.schema import Agent, Credit, PolicySpace, Recipe
from rltemp.temperatures import Temperatures

Floats = npt.NDArray[np.float32]
SEEDS = (3, 11)
LOGITS = PolicySpace(alignment="none")
NETWORK = PolicySpace(alignment="network", probe_size=32)


def _actions(count: int = 8, seed: int = 0) -> list[Floats]:
    rng = np.random.default_rng(seed)
    return [rng.uniform(-1, 1, (len(SEEDS), 8)).astype(np.float32) for _ in range(count)]


def _begin(
    task: Task,
    space: PolicySpace,
    credit: Credit = "influence",
    *,
    reward_every: int = 1,
    seeds: Sequence[int] = SEEDS,
) -> Episode:
    return Episode(task, Recipe(policy=space, agent=Agent(credit=credit, reward_every=reward_every)), seeds)


def _play(episode: Episode, actions: list[Floats]) -> tuple[list[Floats], list[Transition]]:
    observations, transitions = [episode.observation], []
    for action in actions:
        transitions.append(episode.step(action))
        observations.append(episode.observation)
    return observations, transitions


def _influence(transition: Transition) -> Floats:
    assert transition.influence is not None
    return transition.influence


def test_an_agent_explores_on_mixtures_early_in_a_run(tiny_task: Task) -> None:
    usual, explored = (
        Episode(tiny_task, Recipe(policy=LOGITS, agent=Agent(explore=share)), SEEDS) for share in (0.0, 0.25)
    )
    seen = [_play(episode, [np.zeros((2, 8), np.float32)] * 8)[0] for episode in (usual, explored)]
    # Of a batch of 8, an unsure image stands in the place of one sure image.
    assert int((seen[0][0] != seen[1][0]).any(2).sum()) == len(SEEDS)
    assert isinstance(explored.effects, InstanceEffects)


def test_the_same_temperatures_give_the_same_reward(tiny_task: Task) -> None:
    first, again = (_play(_begin(tiny_task, NETWORK), _actions()) for _ in range(2))
    for a, b in zip(first[0], again[0], strict=True):
        assert np.array_equal(a, b)
    for x, y in zip(first[1], again[1], strict=True):
        assert np.array_equal(x.reward, y.reward)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("credit", ["uniform", "influence", "hindsight"])
def test_students_learn_where_the_learner_takes_no_gradients(tiny_task: Task, mode: Any, credit: Credit) -> None:
    usual = _play(_begin(tiny_task, NETWORK, credit), _actions())
    with mode():
        episode = _begin(tiny_task, NETWORK, credit)
        given = _play(episode, _actions())
        if episode.effects is not None:
            assert np.isfinite(episode.effects.of(np.stack(_actions()))).all()
    for a, b in zip(usual[0], given[0], strict=True):
        assert np.array_equal(a, b)
    for x, y in zip(usual[1], given[1], strict=True):
        assert np.array_equal(x.reward, y.reward)


@pytest.mark.parametrize("every", [3, 8, 100])
def test_updates_that_are_paid_together_are_paid_the_same_in_all(tiny_task: Task, every: int) -> None:
    """Every third of eight updates pays for three, and the last one for what is left."""
    _, one_by_one = _play(_begin(tiny_task, LOGITS, "uniform"), _actions())
    _, together = _play(_begin(tiny_task, LOGITS, "uniform", reward_every=every), _actions())
    single, paid = (np.stack([t.reward for t in played]).astype(np.float64) for played in (one_by_one, together))
    for start in range(0, 8, every):
        part = slice(start, min(start + every, 8))
        assert (paid[part][:-1] == 0.0).all()
        np.testing.assert_allclose(paid[part][-1], single[part].sum(0), atol=2e-6)
    assert all(np.array_equal(a.features, b.features) for a, b in zip(one_by_one, together, strict=True))


@pytest.mark.parametrize("instance", range(8))
def test_changing_one_temperature_changes_this_steps_reward(tiny_task: Task, instance: int) -> None:
    """Of its own student, in its own step, and nothing before."""
    actions = _actions(3)
    changed = [action.copy() for action in actions]
    changed[1][0, instance] = -changed[1][0, instance] + 0.01
    _, plain = _play(_begin(tiny_task, LOGITS), actions)
    _, other = _play(_begin(tiny_task, LOGITS), changed)
    assert np.array_equal(plain[0].reward, other[0].reward)
    assert plain[1].reward[0] != other[1].reward[0]
    assert plain[1].reward[1] == pytest.approx(other[1].reward[1], abs=1e-7)
    assert np.array_equal(plain[1].features, other[1].features)


def test_the_reward_is_the_fall_of_the_probe_loss_and_telescopes(tiny_task: Task) -> None:
    """Against a run of its own, scored in float64 by another road."""
    run = DistillationRun(tiny_task, SEEDS)
    losses = [score(run.students, tiny_task.validation).nll]
    for action in _actions():
        t = 0.5 * 64 ** ((torch.from_numpy(action).double() + 1) / 2)
        run.update(Temperatures.shared(t.float().flatten()))
        losses.append(score(run.students, tiny_task.validation).nll)
    _, transitions = _play(_begin(tiny_task, LOGITS), _actions())
    rewards = np.stack([transition.reward for transition in transitions]).astype(np.float64)
    expected = torch.stack(losses).diff(dim=0).neg().numpy()
    assert np.abs(expected).mean() > 1e-4
    np.testing.assert_allclose(rewards, expected, rtol=1e-3, atol=1e-6)
    improvement = (losses[0] - losses[-1]).numpy()
    np.testing.assert_allclose(rewards.sum(0), improvement, atol=2e-6)
    assert (np.abs(improvement) > 1e-3).all()


def test_the_probe_is_the_validation_images_alone(tiny_task: Task) -> None:
    """Poison the test images and nothing moves; relabel the probe and the reward does."""
    test = dataclasses.replace(tiny_task.test, images=tiny_task.test.images * torch.nan)
    poisoned = dataclasses.replace(tiny_task, test=test)
    targets = (tiny_task.validation.targets + 1) % 10
    relabelled = dataclasses.replace(tiny_task, validation=dataclasses.replace(tiny_task.validation, targets=targets))
    plain, same, other = (_play(_begin(task, NETWORK), _actions(3)) for task in (tiny_task, poisoned, relabelled))
    for a, b, c in zip(plain[0], same[0], other[0], strict=True):
        assert np.array_equal(a, b)
        assert np.array_equal(a, c)
    for x, y, z in zip(plain[1], same[1], other[1], strict=True):
        assert np.array_equal(x.reward, y.reward)
        assert not np.allclose(x.reward, z.reward)


def test_a_student_is_paid_as_if_alone(tiny_task: Task) -> None:
    """With a probe of all training images; of fewer, each population draws its own."""
    space = dataclasses.replace(NETWORK, probe_size=64)
    observations, transitions = _play(_begin(tiny_task, space), _actions())
    for k, seed in enumerate(SEEDS):
        alone = _begin(tiny_task, space, seeds=[seed])
        np.testing.assert_allclose(alone.observation[0], observations[0][k], atol=1e-4)
        for step, action in enumerate(_actions()):
            transition = alone.step(action[k : k + 1])
            mine, among = _influence(transition)[0], _influence(transitions[step])[k]
            np.testing.assert_allclose(alone.observation[0], observations[step + 1][k], atol=1e-3)
            np.testing.assert_allclose(transition.reward[0], transitions[step].reward[k], atol=1e-5)
            np.testing.assert_allclose(mine, among, rtol=1e-2, atol=1e-6)


def test_actions_are_temperatures_on_a_log_scale(tiny_task: Task) -> None:
    episode = _begin(tiny_task, dataclasses.replace(LOGITS, low=1.0, high=16.0))
    action = np.zeros((2, 8), dtype=np.float32)
    action[0, :5] = [-1.0, -0.5, 0.5, 1.0, 7.0]
    transition = episode.step(action)
    assert transition.temperatures[0, :6].tolist() == pytest.approx([1.0, 2.0, 8.0, 16.0, 16.0, 4.0])
    assert transition.temperatures[1].tolist() == pytest.approx([4.0] * 8)


@pytest.mark.parametrize(("space", "names"), [(LOGITS, LOGIT_FEATURES), (NETWORK, ALIGNED_FEATURES)])
def test_observations_are_the_features_and_transitions_hold_what_was_seen(
    tiny_task: Task, space: PolicySpace, names: tuple[str, ...]
) -> None:
    assert make_features(space).names == names
    observations, transitions = _play(_begin(tiny_task, space), _actions())
    progress = names.index("progress")
    for step, observation in enumerate(observations):
        assert observation.shape == (2, 8, len(names))
        assert observation.dtype == np.float32
        assert bool(((observation >= 0) & (observation <= 1)).all())
        assert observation[..., progress] == pytest.approx(step / 8)
    for seen, transition in zip(observations[:-1], transitions, strict=True):
        assert np.array_equal(seen, transition.features)
        assert _influence(transition).shape == (2, 8)


def test_observations_are_computed_from_what_the_networks_say(tiny_task: Task) -> None:
    seen = _begin(tiny_task, LOGITS).observation
    observation = DistillationRun(tiny_task, SEEDS).observe()
    teacher, student = F.softmax(observation.teacher_logits, -1), F.softmax(observation.student.logits, -1)
    by_hand = {"teacher_confidence": teacher.max(-1).values, "student_confidence": student.max(-1).values}
    targets = observation.minibatch.targets[..., None]
    by_hand["student_target_probability"] = student.gather(-1, targets).squeeze(-1)
    for name, expected in by_hand.items():
        np.testing.assert_allclose(seen[..., LOGIT_FEATURES.index(name)], expected.detach().numpy(), atol=1e-6)


def test_influence_is_the_first_order_share_of_the_reward(tiny_task: Task) -> None:
    """Without momentum, cross-entropy and curvature, a batch's influences add up to its reward."""
    optimization = dataclasses.replace(
        tiny_task.optimization, lr=1e-3, momentum=0.0, nesterov=False, ce_weight=0.0, kd_weight=1.0
    )
    episode = _begin(dataclasses.replace(tiny_task, optimization=optimization), LOGITS)
    for action in _actions(4):
        transition = episode.step(action)
        np.testing.assert_allclose(_influence(transition).sum(1), transition.reward, rtol=0.05, atol=2e-6)


def test_a_higher_influence_is_a_higher_reward(tiny_task: Task) -> None:
    """Of all temperatures of one instance, the one of the largest influence pays most: exact credit."""
    optimization = dataclasses.replace(tiny_task.optimization, lr=0.01, momentum=0.0, nesterov=False)
    task = dataclasses.replace(tiny_task, optimization=optimization)
    base = _actions(1)[0]
    rewards, influences = [], []
    for action in np.linspace(-1, 1, 9, dtype=np.float32):
        tried = base.copy()
        tried[0, 4] = action
        transition = _begin(task, LOGITS).step(tried)
        rewards.append(transition.reward[0])
        influences.append(_influence(transition)[0, 4])
    assert np.corrcoef(rewards, influences)[0, 1] > 0.99


def test_the_end_is_the_end_of_the_schedule(tiny_task: Task) -> None:
    episode, ends = _begin(tiny_task, LOGITS), []
    for action in _actions():
        episode.step(action)
        ends.append(episode.finished)
    assert ends == [False] * 7 + [True]
    with pytest.raises(InputError, match="after the last of 8 updates"):
        episode.step(_actions(1)[0])


@pytest.mark.parametrize("actions", [np.zeros((2, 7)), np.zeros(16), np.full((2, 8), np.nan), np.full((2, 8), np.inf)])
def test_other_actions_are_refused_and_change_nothing(tiny_task: Task, actions: npt.NDArray[np.float64]) -> None:
    episode = _begin(tiny_task, LOGITS)
    with pytest.raises(InputError, match=r"actions must be finite and have shape \[2, 8\]"):
        episode.step(actions)
    after = episode.step(_actions(1)[0])
    _, expected = _play(_begin(tiny_task, LOGITS), _actions(1))
    assert np.array_equal(after.reward, expected[0].reward)
