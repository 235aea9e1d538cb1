"""Training learns what can be learned, repeats itself, and goes on as if it had never stopped."""

import copy
import dataclasses
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from rltemp.agents.credit.calibration import Influence, Uniform
from rltemp.agents.credit.redistribution import Redistribution
from rltemp.agents.ppo import WhitenedFeatures
from rltemp.agents.trainer import Trainer, make_calibration
from rltemp.envs.toy import ToyVectorEnv
from rltemp.errors import DivergenceError, InputError
from rltemp.recipes.schema import Agent

AGENT = Agent(students=4, hidden=(16, 16), log_std_init=-2.0, influence_weight=1.0)


def make(agent: Agent = AGENT, horizon: int = 5) -> Trainer:
    return Trainer(ToyVectorEnv(agent.students, batch_size=4, horizon=horizon), agent)


def weights(trainer: Trainer) -> dict[str, Any]:
    return {name: value.clone() for name, value in trainer.model.policy.state_dict().items()}


def assert_equal_bits(first: Trainer, second: Trainer) -> None:
    assert first.history == second.history
    for (name, a), (other, b) in zip(weights(first).items(), weights(second).items(), strict=True):
        assert name == other
        assert torch.equal(a, b), name


def regret(trainer: Trainer, seed: int) -> float:
    """Mean squared distance of the deterministic policy from the known optimum."""
    observations = np.random.default_rng(seed).random((500, 3), dtype=np.float32)
    actions, _ = trainer.model.predict(observations, deterministic=True)
    return float(np.mean((actions[:, 0] - (1.6 * observations[:, 1] - 0.8)) ** 2))


@pytest.mark.parametrize(
    ("calibration", "rollouts", "squash"),
    [
        *(("uniform", 30, False), ("uniform", 30, True)),
        *(("influence", 15, False), ("redistribution", 25, False), ("hindsight", 6, False)),
    ],
)
def test_the_toy_is_learned(calibration: Any, rollouts: int, squash: bool) -> None:
    # An untrained policy answers about 0 and is off by the variance of the targets, 1.6 ** 2 / 12 = 0.21.
    agent = dataclasses.replace(AGENT, students=8, credit=calibration, squash=squash)
    trainer = make(agent, horizon=10)
    assert regret(trainer, seed=1) > 0.15
    for _ in range(rollouts):
        trainer.rollout()
    assert regret(trainer, seed=1) < 0.07


@pytest.mark.parametrize(
    "changes",
    [
        *({"credit": credit} for credit in ("uniform", "influence", "redistribution", "hindsight")),
        {"credit": "uniform", "baseline": "twin", "anneal": True, "whiten": True, "squash": True, "rollouts": 5},
    ],
)
def test_a_resumed_training_equals_an_unbroken_one_bit_for_bit(changes: dict[str, Any]) -> None:
    agent = dataclasses.replace(AGENT, **changes)
    unbroken, broken, resumed = make(agent), make(agent), make(agent)
    for _ in range(4):
        unbroken.rollout()
    for _ in range(2):
        broken.rollout()
    torch.rand(3)
    resumed.load_state_dict(broken.state_dict())
    for _ in range(2):
        resumed.rollout()
    assert_equal_bits(unbroken, resumed)
    assert unbroken.model.num_timesteps == resumed.model.num_timesteps == 4 * 5 * 16


def test_an_annealed_rate_falls_in_the_second_half_and_keeps_the_number_of_rollouts() -> None:
    agent = dataclasses.replace(AGENT, credit="uniform", anneal=True, rollouts=4, learning_rate=0.01)
    trainer, rates = make(agent), []
    for _ in range(4):
        trainer.rollout()
        rates.append(trainer.model.policy.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.01, 0.01, 0.01, 0.005])
    for other in (dataclasses.replace(agent, rollouts=5), dataclasses.replace(agent, anneal=False)):
        with pytest.raises(InputError, match=r"rollouts|anneal"):
            make(other).load_state_dict(trainer.state_dict())


def test_whitening_is_by_what_the_rollouts_before_met() -> None:
    agent = dataclasses.replace(AGENT, credit="uniform", whiten=True, hidden=())
    trainer, seen = make(agent), []
    for _ in range(3):
        trainer.rollout()
        seen.append(trainer.model.rollout_buffer.observations.reshape(-1, 3).astype(np.float64))
    # As if there had been ten rollouts of features that are independent, of mean 0 and variance 1.
    centered = [4.0 * (observations - 0.5) for observations in seen[:2]]
    mean = sum(each.mean(axis=0) for each in centered) / 12.0
    moments = (10.0 * np.eye(3) + sum(each.T @ each / len(each) for each in centered)) / 12.0
    extractor = trainer.model.policy.features_extractor
    assert isinstance(extractor, WhitenedFeatures)
    np.testing.assert_allclose(extractor.mean, mean, atol=1e-5)
    root = np.linalg.inv(extractor.scale.double().numpy())
    np.testing.assert_allclose(root @ root, moments - np.outer(mean, mean) + 0.1 * np.eye(3), atol=1e-4)


def test_the_same_seed_gives_the_same_policy_whatever_else_is_drawn() -> None:
    first, second, other = make(), make(), make(dataclasses.replace(AGENT, seed=1))
    for _ in range(2):
        first.rollout()
    for _ in range(2):
        torch.rand(7)
        np.random.random(5)  # noqa: NPY002
        second.rollout()
        other.rollout()
    assert_equal_bits(first, second)
    assert not torch.equal(weights(first)["action_net.weight"], weights(other)["action_net.weight"])


def test_training_moves_no_global_generator() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index] # noqa: NPY002
    make().rollout()
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # type: ignore[index] # noqa: NPY002


class Diary(ToyVectorEnv):
    """Notes the seeds it was given and its first observations."""

    def __init__(self) -> None:
        super().__init__(4, batch_size=4, horizon=5)
        self.seeds: list[int] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        if seed is not None:
            self.seeds.append(seed)
        return super().reset(seed=seed, options=options)


def test_every_rollout_is_an_episode_with_a_seed_of_its_own() -> None:
    env, again = Diary(), Diary()
    for trainer in (Trainer(env, AGENT), Trainer(again, AGENT)):
        for _ in range(3):
            trainer.rollout()
    assert env.seeds == again.seeds
    assert len(set(env.seeds)) == 3


def test_rollouts_take_turns_at_the_tasks_and_a_resumed_training_knows_whose_turn_it_is() -> None:
    class Several(ToyVectorEnv):
        def __init__(self) -> None:
            super().__init__(4, batch_size=4, horizon=5)
            self.tasks = 3
            self.asked: list[Any] = []

        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
            self.asked.append(options)
            return super().reset(seed=seed, options=options)

    def asked(env: Several) -> list[int]:
        return [options["task"] for options in env.asked if options]

    env, again = Several(), Several()
    trainer, resumed = Trainer(env, AGENT), Trainer(again, AGENT)
    for _ in range(4):
        trainer.rollout()
    resumed.load_state_dict(trainer.state_dict())
    for _ in range(5):
        trainer.rollout()
        resumed.rollout()
    passes = [asked(env)[start : start + 3] for start in (0, 3, 6)]
    assert [sorted(each) for each in passes] == [[0, 1, 2]] * 3
    assert len({tuple(each) for each in passes}) > 1, "an order of its own in each pass"
    assert asked(again) == asked(env)[4:]


def test_metrics_are_those_of_the_rollout() -> None:
    seen: list[Any] = []

    class Recorded(ToyVectorEnv):
        def step(self, actions: Any) -> Any:
            answer = super().step(actions)
            seen.append(self.transition)
            return answer

    trainer = Trainer(Recorded(4, batch_size=4, horizon=5), AGENT)
    metrics = trainer.rollout()
    returns = [sum(float(transition.reward[k]) for transition in seen) for k in range(4)]
    assert len(seen) == 5
    assert metrics["return"] == pytest.approx(np.mean(returns), rel=1e-5)
    assert metrics["return_std"] == pytest.approx(np.std(returns), rel=1e-5)
    assert metrics["temperature_0_20"] == pytest.approx(float(np.exp(np.log(seen[0].temperatures).mean())), rel=1e-5)
    assert metrics["temperature_80_100"] == pytest.approx(float(np.exp(np.log(seen[-1].temperatures).mean())), rel=1e-5)
    spread = np.mean([np.log2(transition.temperatures).std(axis=1) for transition in seen])
    assert metrics["temperature_spread"] == pytest.approx(spread, rel=1e-5)
    assert metrics["std"] == pytest.approx(float(trainer.model.policy.log_std.detach().exp().mean()), rel=1e-5)
    assert 0.0 < metrics["kl"] < 1.0
    assert 0.0 <= metrics["clip_fraction"] <= 1.0
    assert trainer.history == [metrics]


def test_the_best_weights_can_be_put_back() -> None:
    trainer = make()
    kept = {}
    for score in (0.1, 0.7, 0.7, 0.3):
        trainer.rollout()
        trainer.keep_best(score)
        kept[len(trainer.history)] = weights(trainer)
    assert [metrics["score"] for metrics in trainer.history] == [0.1, 0.7, 0.7, 0.3]
    resumed = make()
    resumed.load_state_dict(trainer.state_dict())
    for each in (trainer, resumed):
        each.restore_best()
        for name, value in weights(each).items():
            assert torch.equal(value, kept[2][name])


def test_the_state_of_other_settings_is_refused() -> None:
    trainer = make()
    state = make(dataclasses.replace(AGENT, learning_rate=0.5)).state_dict()
    with pytest.raises(InputError, match=r"agent\.learning_rate must be 0\.5 to continue, got 0\.003"):
        trainer.load_state_dict(state)
    tasks: tuple[dict[str, Any], ...] = tuple(
        {"optimization.lr": float(rate), "data.name": "mnist1d"} for rate in range(9)
    )
    other = (*tasks[:7], {"optimization.lr": 0.5}, tasks[8])
    for varied, told in (
        (tasks[:8], r"agent\.variations must be the 8 of the checkpoint to continue, got 9$"),
        (other, r"agent\.variations\[7\] must be {'optimization.lr': 0.5} to continue, got {'optimization.lr': 7.0, "),
    ):
        with pytest.raises(InputError, match=told):
            make(dataclasses.replace(AGENT, variations=tasks)).load_state_dict(
                make(dataclasses.replace(AGENT, variations=varied)).state_dict()
            )
    longer = make(dataclasses.replace(AGENT, rollouts=99))
    longer.load_state_dict(trainer.state_dict())


def test_the_state_of_a_version_with_other_names_goes_on() -> None:
    trainer, resumed, other = make(), make(), make(dataclasses.replace(AGENT, n_epochs=3))
    trainer.rollout()
    state = copy.deepcopy(trainer.state_dict())
    for old, new in (("calibration", "credit"), ("epochs", "n_epochs"), ("log_std", "log_std_init")):
        state["agent"][old] = state["agent"].pop(new)
    resumed.load_state_dict(state)
    trainer.rollout()
    resumed.rollout()
    assert_equal_bits(trainer, resumed)
    with pytest.raises(InputError, match=r"agent\.n_epochs must be 8 to continue, got 3"):
        other.load_state_dict(state)


def test_environments_that_hold_no_such_students_are_refused() -> None:
    with pytest.raises(InputError, match=r"agent\.students = 4 students, got 3"):
        Trainer(ToyVectorEnv(3), AGENT)
    kwargs = {"autoreset_mode": AutoresetMode.SAME_STEP}
    other = gymnasium.make_vec("Pendulum-v1", num_envs=2, vectorization_mode="sync", vector_kwargs=kwargs)
    with pytest.raises(InputError, match="students"):
        Trainer(other, AGENT)


def test_settings_name_the_calibration() -> None:
    kinds = [type(make_calibration(dataclasses.replace(AGENT, credit=name), 3)) for name in CALIBRATIONS]
    assert kinds == [Uniform, Influence, Redistribution]
    with pytest.raises(InputError, match=r"agent\.credit must be"):
        make_calibration(dataclasses.replace(AGENT, credit="magic"), 3)  # type: ignore[arg-type]


CALIBRATIONS: tuple[Any, ...] = ("uniform", "influence", "redistribution")


@pytest.mark.parametrize("where", ["action_net.weight", "log_std"])
@pytest.mark.parametrize("value", [np.nan, 1e3, -1e3])
def test_an_agent_that_cannot_act_is_named_and_not_counted(where: str, value: float) -> None:
    """SB3 refuses some of it in its own words, and lets the rest pass."""
    trainer = make()
    trainer.rollout()
    trainer.model.policy.get_parameter(where).data.fill_(value)
    if where == "action_net.weight" and np.isfinite(value):
        trainer.rollout()  # far off, but it can act
        return
    with pytest.raises(DivergenceError, match=r"the agent diverged in rollout 2: lower agent.learning_rate"):
        trainer.rollout()
    assert len(trainer.history) == 1


def test_a_mistake_of_the_environment_is_no_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make()

    def broken(*arguments: Any, **options: Any) -> None:
        raise ValueError("a mistake of the environment")

    monkeypatch.setattr(trainer.model, "learn", broken)
    with pytest.raises(ValueError, match=r"^a mistake of the environment$"):
        trainer.rollout()
