"""Evolution takes the step of the textbook, survives students that diverge, and a recipe can ask for it."""

import dataclasses

import numpy as np
import pytest
import torch

from rltemp.agents import train_policy
from rltemp.envs.contract import Floats, Transition
from rltemp.envs.toy import ToyVectorEnv
from rltemp.errors import InputError
from rltemp.recipes import load_recipe
from tests.agents.toys import EVOLUTION, SMALL, make, regret


def test_the_step_is_the_textbook_estimate_and_adams_first() -> None:
    class Linear(ToyVectorEnv):
        """Pays the sum of a student's actions, so that more of every weight is better where features are > 1/2."""

        def advance(self, actions: Floats) -> tuple[Floats, Transition]:
            seen, transition = super().advance(actions)
            return seen, dataclasses.replace(transition, reward=actions.mean(1))

    learner = make(EVOLUTION, Linear, rollouts=2)
    learner.rollout()
    # Adam's first step has the length of the learning rate in every weight, whatever the gradient's size.
    moved = learner.weights()["weights"] / (np.exp(EVOLUTION.log_std_init) / np.sqrt(3))
    moved[:-1] *= np.sqrt(1.1)  # features count as of variance 1 as long as none were met, and the ridge is beside it
    torch.testing.assert_close(moved.abs(), torch.full_like(moved, EVOLUTION.learning_rate), rtol=1e-4, atol=0.0)
    assert moved[-1] > 0  # the bias
    assert learner.history[0]["step"] == pytest.approx(EVOLUTION.learning_rate, rel=1e-4)


def test_a_task_with_more_to_gain_counts_for_more_by_the_root() -> None:
    class Modest(ToyVectorEnv):
        """Pays a sixteenth."""

        def advance(self, actions: Floats) -> tuple[Floats, Transition]:
            seen, transition = super().advance(actions)
            return seen, dataclasses.replace(transition, reward=transition.reward / 16.0)

    moments = []
    for env in (ToyVectorEnv, Modest):
        learner = make(EVOLUTION, env)
        learner.rollout()
        moments.append(learner.state_dict()["moments"][0])
    torch.testing.assert_close(moments[0], 4.0 * moments[1])


def test_students_that_diverge_have_lost_and_nothing_else_has() -> None:
    class Poisoned(ToyVectorEnv):
        """The first student is lost, whatever it does."""

        def advance(self, actions: Floats) -> tuple[Floats, Transition]:
            seen, transition = super().advance(actions)
            transition.reward[0] = -1.0 if self._time == 0 else 0.0
            return seen, dataclasses.replace(transition, lost=np.arange(self.students) == 0)

    learner = make(EVOLUTION, Poisoned)
    for _ in range(EVOLUTION.rollouts):
        learner.rollout()
    assert regret(learner) < 0.06


def test_a_pair_that_is_paid_alike_teaches_nothing() -> None:
    class Indifferent(ToyVectorEnv):
        """Pays nothing."""

        def advance(self, actions: Floats) -> tuple[Floats, Transition]:
            seen, transition = super().advance(actions)
            return seen, dataclasses.replace(transition, reward=np.zeros(self.students, np.float32))

    learner = make(EVOLUTION, Indifferent)
    learner.rollout()
    assert not learner.weights()["weights"].any()


def test_variations_of_the_losss_weights_are_refused_for_a_policy_that_chooses_the_scale() -> None:
    changes = {"policy.scale_range": [1.0, 16.0], "agent.variations": [{"optimization.ce_weight": 1.0}]}
    with pytest.raises(InputError, match=r"variations must not change optimization\.kd_weight or ce_weight"):
        train_policy(load_recipe("digits-short", changes))


def test_an_odd_number_of_students_is_refused() -> None:
    with pytest.raises(InputError, match="even number"):
        make(EVOLUTION, students=3)


def test_a_recipe_trains_a_policy_that_chooses_temperature_scale_and_labels_from_its_batch() -> None:
    recipe = load_recipe(
        "digits-short",
        {
            **SMALL,
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
