"""The online agent is paid for what it does, and one run is one run however often it is interrupted."""

import dataclasses
import io
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rltemp.agents import OnlineRun, make_online
from rltemp.agents.credit.calibration import CalibratedReward
from rltemp.agents.credit.redistribution import Redistribution
from rltemp.agents.online.environment import OnlineEnv
from rltemp.agents.online.ppo import make_online_ppo
from rltemp.agents.online.rewards import BeforeAction, Improvement, make_reward
from rltemp.agents.online.settings import Online
from rltemp.agents.online.standardization import StandardizedReward
from rltemp.agents.randomness import RandomStream
from rltemp.agents.vec_env import VectorEnvAdapter
from rltemp.distillation import DistillationRun, Task
from rltemp.distillation.scores import score
from rltemp.envs.toy import ToyVectorEnv
from rltemp.errors import DivergenceError, InputError
from rltemp.seeding import make_generator

SMALL: dict[str, Any] = {"hidden": [8]}
KINDS = {
    "rlkd": make_online("rlkd", every=0.5, **SMALL),
    "shuffled": make_online("rlkd", reward="shuffled", **SMALL),
    "as released": make_online("rlkd-as-released", every=0.5, **SMALL),
    "sampled coherently": make_online("rlkd", outside="sample", every=1.0, **SMALL),
}


@pytest.fixture(scope="module")
def task(tiny_task: Task) -> Task:
    """Four epochs of 8 updates."""
    return dataclasses.replace(tiny_task, optimization=dataclasses.replace(tiny_task.optimization, epochs=4))


def _play(whole: OnlineRun, updates: int) -> list[Tensor]:
    seen: list[Tensor] = []
    for _ in range(updates):
        whole.advance(lambda _, temperatures: seen.append(temperatures.teacher.clone()))
    return seen


def _weights(whole: OnlineRun) -> list[Tensor]:
    return [*whole.run.students.parameters(), *whole.model.policy.parameters()]


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_interrupted_after_any_epoch_goes_on_bit_for_bit(task: Task, kind: str) -> None:
    unbroken = OnlineRun(task, KINDS[kind], 5)
    whole = _play(unbroken, task.steps)
    for epochs in range(1, 4):
        broken, resumed = OnlineRun(task, KINDS[kind], 5), OnlineRun(task, KINDS[kind], 5)
        seen = _play(broken, 8 * epochs)
        kept = io.BytesIO()
        torch.save(broken.state_dict(), kept)
        torch.rand(3)
        resumed.load_state_dict(torch.load(io.BytesIO(kept.getvalue()), weights_only=True))
        seen += _play(resumed, task.steps - 8 * epochs)
        assert all(torch.equal(a, b) for a, b in zip(whole, seen, strict=True))
        assert all(torch.equal(a, b) for a, b in zip(_weights(unbroken), _weights(resumed), strict=True))


def test_another_seed_is_another_student_and_another_agent(task: Task) -> None:
    first, other = (OnlineRun(task, KINDS["rlkd"], seed) for seed in (5, 6))
    assert not any(torch.equal(a, b) for a, b in zip(_play(first, 16)[8:], _play(other, 16)[8:], strict=True))


def test_a_run_moves_no_global_generator(task: Task) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index] # noqa: NPY002
    _play(OnlineRun(task, KINDS["as released"], 5), 20)
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # type: ignore[index] # noqa: NPY002


@pytest.mark.parametrize("kind", KINDS)
def test_the_agent_waits_learns_and_acts_in_its_epochs(task: Task, kind: str) -> None:
    whole = OnlineRun(task, KINDS[kind], 5)
    for role in whole.roles:
        before = [parameter.clone() for parameter in whole.model.policy.parameters()]
        chosen = torch.stack(_play(whole, 8))
        assert bool((chosen == 4.0).all()) == (role == "waits")
        after = list(whole.model.policy.parameters())
        learned = any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
        assert learned == (role == "learns")


def _rewards(task: Task, online: Online, changed: float) -> list[float]:
    """Rewards of an epoch at action 0, in which the fourth batch gets another action."""
    run = DistillationRun(task, [5])
    env = OnlineEnv(run, online, make_reward(online, task, 5), None)
    env.reset()
    paid = []
    for update in range(8):
        actions = np.full((8, 1), changed if update == 3 else 0.0, np.float32)
        paid.append(float(env.step(actions)[1][0]))
    return paid


def test_the_reward_changes_with_the_actions_it_is_paid_for(task: Task) -> None:
    online = Online()
    usual, again, changed = (_rewards(task, online, action) for action in (0.0, 0.0, 1.0))
    assert usual == again
    assert usual[:3] == changed[:3]
    assert all(abs(a - b) > 1e-6 for a, b in zip(usual[3:], changed[3:], strict=True))


def test_the_released_reward_does_not_change_with_the_actions_it_is_paid_for(task: Task) -> None:
    online = make_online("rlkd", reward="before-action")
    usual, changed = (_rewards(task, online, action) for action in (0.0, 1.0))
    assert usual[:4] == changed[:4]


def test_the_improvement_telescopes(task: Task) -> None:
    run, online = DistillationRun(task, [5]), Online()
    before = float(score(run.students, task.validation, task.augmentation).nll)
    env = OnlineEnv(run, online, Improvement(task), None)
    env.reset()
    paid = sum(float(env.step(np.zeros((8, 1), np.float32))[1][0]) for _ in range(8))
    after = float(score(run.students, task.validation, task.augmentation).nll)
    assert paid == pytest.approx(before - after, rel=1e-4)


def test_instance_rewards_have_the_mean_of_their_batch(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    paid: list[tuple[float, Any]] = []
    calibrate = Redistribution.calibrate

    def watched(self: Redistribution, transition: Any) -> Any:
        rewards = calibrate(self, transition)
        paid.append((float(transition.reward[0]), rewards[0]))
        return rewards

    monkeypatch.setattr(Redistribution, "calibrate", watched)
    _play(OnlineRun(task, KINDS["shuffled"], 5), task.steps)
    assert len(paid) == 24
    assert [rewards.mean() for _, rewards in paid] == pytest.approx([reward for reward, _ in paid])
    assert float(np.std(paid[-1][1])) > 0.0  # the redistribution has an effect


def test_mixtures_come_early_and_in_epochs_that_learn_alone(task: Task) -> None:
    def mixed(online: Online) -> list[bool]:
        found: list[bool] = []
        whole = OnlineRun(task, online, 5)
        for _ in range(task.steps):
            whole.advance(lambda seen, _: found.append(seen.minibatch.partners is not None))
        return found[::8]

    assert mixed(Online(explore=0.5)) == [False, True, False, False]
    assert mixed(Online(explore=1.0, every=0.5)) == [False, True, False, True]


def test_the_agent_learns_what_can_be_learned_from_single_batches() -> None:
    """The toy's best action is known; an untrained agent is off by the variance of the targets, 1.6 ** 2 / 12."""
    calibration = Redistribution(3, make_generator(0, "redistribution"), passes=1)
    venv = StandardizedReward(CalibratedReward(VectorEnvAdapter(ToyVectorEnv(1, batch_size=16)), calibration))
    with RandomStream(0).active():
        venv.seed(1)
        model = make_online_ppo(venv, Online(hidden=(16,), temperature=10**0.5))
        for _ in range(150):
            model.learn(16, reset_num_timesteps=False)
            calibration.update()
    observations = np.random.default_rng(2).random((500, 3), dtype=np.float32)
    actions, _ = model.predict(observations, deterministic=True)
    assert float(np.mean((actions[:, 0] - ToyVectorEnv.best_actions(observations)) ** 2)) < 0.1


def test_the_accuracy_of_epochs_without_learning_counts(task: Task) -> None:
    reward = BeforeAction()
    run = DistillationRun(task, [5])
    env = OnlineEnv(run, Online(reward="before-action"), reward, None)
    env.update(torch.full((1, 8), 4.0))
    last = reward.state_dict()["accuracy"]
    env.reset()
    seen = run.observe()
    predicted, targets = seen.student.logits[0].argmax(1), seen.minibatch.targets[0]
    classes = set(predicted.tolist()) | set(targets.tolist())
    right = {c: [int(p == c) for p, t in zip(predicted, targets, strict=True) if t == c] for c in classes}
    accuracy = np.mean([np.mean(hits) if hits else 0.0 for hits in right.values()])
    paid = float(env.step(np.zeros((8, 1), np.float32))[1][0])
    assert paid == pytest.approx(20 * (accuracy - last), rel=0.05)  # the factor is 19.9 in the eighth epoch of 240


def test_wrong_uses_are_refused(task: Task) -> None:
    whole = OnlineRun(task, KINDS["rlkd"], 5)
    _play(whole, 3)
    with pytest.raises(InputError, match=r"state_dict\(\) must be called between two epochs, got update 3"):
        whole.state_dict()
    _play(whole, task.steps - 3)
    with pytest.raises(InputError, match="after the last of 32 updates"):
        whole.advance()
    other = OnlineRun(task, KINDS["shuffled"], 5)
    with pytest.raises(InputError, match=r"every must be 0\.5 to continue, got 0\.083"):
        other.load_state_dict(whole.state_dict())
    probed = dataclasses.replace(task, optimization=dataclasses.replace(task.optimization, probe_weight=0.5))
    with pytest.raises(InputError, match=r"optimization\.probe_weight must be 0 for an agent, got 0\.5"):
        OnlineRun(probed, KINDS["rlkd"], 5)
    with pytest.raises(InputError, match="needs a whole run as an episode"):
        whole._env.effects(np.zeros((8, 8), np.float32))


def test_an_agent_that_diverges_is_named(task: Task) -> None:
    whole = OnlineRun(task, KINDS["rlkd"], 5)
    _play(whole, 8)
    whole.model.policy.log_std.data.fill_(np.nan)
    with pytest.raises(DivergenceError, match="the agent diverged at update"):
        _play(whole, 2)
