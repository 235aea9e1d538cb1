"""Evolution learns what is paid for, repeats itself, resumes to the bit, and survives students that do not."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from rltemp.agents import train_policy
from rltemp.agents.evolution import Evolution
from rltemp.envs.contract import Floats, Transition
from rltemp.envs.toy import ToyVectorEnv
from rltemp.errors import InputError
from rltemp.features import LogitFeatures
from rltemp.policies.learned import LearnedPolicy
from rltemp.recipes import load_recipe
from rltemp.recipes.schema import Agent, PolicySpace

AGENT = Agent(
    learner="evolution", credit="uniform", students=16, rollouts=150, hidden=(), log_std_init=-1.0, learning_rate=0.3
)
SPACE = PolicySpace(low=0.5, high=32.0)
FEATURES = LogitFeatures(("progress", "teacher_margin", "student_margin"))


def make(agent: Agent = AGENT, env: type[ToyVectorEnv] = ToyVectorEnv) -> Evolution:
    toy = env(agent.students, batch_size=4, horizon=5, autoreset_mode=AutoresetMode.DISABLED)
    return Evolution(toy, agent)


def regret(learner: Evolution) -> float:
    """Mean squared distance of the exported policy's action from the known optimum."""
    observations = np.random.default_rng(1).random((500, 3), dtype=np.float32)
    t = learner.export(FEATURES, SPACE, {}).temperature(torch.from_numpy(observations))
    actions = 2.0 * np.log(t.numpy() / 0.5) / np.log(64.0) - 1.0
    return float(np.mean((actions - ToyVectorEnv.best_actions(observations)) ** 2))


@pytest.mark.parametrize("hidden", [(), (8,)])
def test_the_toy_is_learned(hidden: tuple[int, ...]) -> None:
    learner = make(dataclasses.replace(AGENT, hidden=hidden))
    assert regret(learner) == pytest.approx(1.6**2 / 12, rel=0.15)  # it begins at 0
    for _ in range(AGENT.rollouts):
        learner.rollout()
    assert regret(learner) < 0.03
    assert learner.history[-1]["return"] > learner.history[0]["return"]


def test_the_step_is_the_textbook_estimate_and_adams_first() -> None:
    class Linear(ToyVectorEnv):
        """Pays the sum of a student's actions, so that more of every weight is better where features are > 1/2."""

        def advance(self, actions: Floats) -> tuple[Floats, Transition]:
            seen, transition = super().advance(actions)
            return seen, dataclasses.replace(transition, reward=actions.mean(1))

    learner = make(dataclasses.replace(AGENT, rollouts=2), Linear)
    learner.rollout()
    # Adam's first step has the length of the learning rate in every weight, whatever the gradient's size.
    moved = learner.weights()["weights"] / (np.exp(AGENT.log_std_init) / np.sqrt(3))
    torch.testing.assert_close(moved.abs(), torch.full_like(moved, AGENT.learning_rate), rtol=1e-4, atol=0.0)
    assert moved[-1] > 0  # the bias
    assert learner.history[0]["step"] == pytest.approx(AGENT.learning_rate, rel=1e-4)


def test_the_rate_falls_to_zero_in_the_second_half() -> None:
    learner = make(dataclasses.replace(AGENT, rollouts=40))
    steps = [learner.rollout()["step"] for _ in range(40)]
    assert steps[-1] < 0.1 * max(steps[10:20])


def test_a_resumed_training_equals_an_unbroken_one_bit_for_bit() -> None:
    unbroken, broken, resumed = make(), make(), make()
    for _ in range(4):
        unbroken.rollout()
    for _ in range(2):
        broken.rollout()
    resumed.load_state_dict(broken.state_dict())
    for _ in range(2):
        resumed.rollout()
    assert resumed.history == unbroken.history
    assert torch.equal(resumed.weights()["weights"], unbroken.weights()["weights"])


@pytest.mark.parametrize("change", [{"rollouts": 61}, {"seed": 1}])
def test_a_state_of_other_settings_is_refused(change: dict[str, Any]) -> None:
    state = make().state_dict()
    name = next(iter(change))
    with pytest.raises(InputError, match=rf"agent\.{name} must be"):
        make(dataclasses.replace(AGENT, **change)).load_state_dict(state)


def test_students_that_diverge_have_lost_and_nothing_else_has() -> None:
    class Poisoned(ToyVectorEnv):
        """The first student is lost, whatever it does."""

        def advance(self, actions: Floats) -> tuple[Floats, Transition]:
            seen, transition = super().advance(actions)
            transition.reward[0] = -1.0 if self._time == 0 else 0.0
            return seen, dataclasses.replace(transition, lost=np.arange(self.students) == 0)

    learner = make(env=Poisoned)
    for _ in range(AGENT.rollouts):
        learner.rollout()
    assert regret(learner) < 0.06


def test_a_pair_that_is_paid_alike_teaches_nothing() -> None:
    class Indifferent(ToyVectorEnv):
        """Pays nothing."""

        def advance(self, actions: Floats) -> tuple[Floats, Transition]:
            seen, transition = super().advance(actions)
            return seen, dataclasses.replace(transition, reward=np.zeros(self.students, np.float32))

    learner = make(env=Indifferent)
    learner.rollout()
    assert not learner.weights()["weights"].any()


def test_variations_of_the_losss_weights_are_refused_for_a_policy_that_chooses_the_scale() -> None:
    changes = {"policy.scale_range": [1.0, 16.0], "agent.variations": [{"optimization.ce_weight": 1.0}]}
    with pytest.raises(InputError, match=r"variations must not change optimization\.kd_weight or ce_weight"):
        train_policy(load_recipe("digits-short", changes))


def test_an_odd_number_of_students_is_refused() -> None:
    with pytest.raises(InputError, match="even number"):
        make(dataclasses.replace(AGENT, students=3))


def test_it_starts_from_a_policy_of_its_kind_alone() -> None:
    learner = make()
    for _ in range(3):
        learner.rollout()
    policy = learner.export(FEATURES, SPACE, {})
    other = make()
    other.start_from(policy)
    assert torch.equal(other.weights()["weights"], learner.weights()["weights"])
    with pytest.raises(InputError, match="got tanh, clipped"):
        other.start_from(LearnedPolicy(FEATURES, (), low=0.5, high=32.0))


def test_a_recipe_trains_a_policy_that_chooses_temperature_scale_and_labels_from_its_batch() -> None:
    recipe = load_recipe(
        "digits-short",
        {
            "data": {"train": 32, "validation": 16},
            "teacher": {"members": 1, "epochs": 1, "network": {"options": {"hidden": [8]}}},
            "optimization": {"epochs": 2, "batch_size": 16},
            "policy": {
                "alignment": "none",
                "scale_range": [1.0, 256.0],
                "label_range": [0.25, 4.0],
                "features": ["progress", "teacher_correct", "batch_teacher_correct"],
            },
            "agent": {
                **{"learner": "evolution", "credit": "uniform", "objective": "error", "keep": "last"},
                **{"students": 4, "rollouts": 3, "hidden": [], "reward_every": 4},
            },
        },
    )
    first, second = train_policy(recipe), train_policy(recipe)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert (first.scale_range, first.label_range) == ((1.0, 256.0), (0.25, 4.0))
    assert (first.squash, first.over_batch) == (True, True)
    assert first.weights == {"kd_weight": 0.9, "ce_weight": 0.1}
    assert first.card["training"]["algorithm"] == "evolution strategies"
    assert "score" not in first.card["training"]
    assert any(bool(parameter.any()) for parameter in first.parameters())
