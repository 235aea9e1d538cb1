"""Learners without actor and critic learn what is known, resume to the bit, and start from policies of their kind."""

import pytest
import torch

from rltemp.errors import InputError
from rltemp.policies.learned import LearnedPolicy
from rltemp.recipes.schema import Agent
from tests.agents.toys import DESCENT, EVOLUTION, FEATURES, SPACE, make, regret

agents = pytest.mark.parametrize("agent", [EVOLUTION, DESCENT], ids=lambda agent: agent.learner)


@agents
@pytest.mark.parametrize("hidden", [(), (8,)])
def test_the_toy_is_learned(agent: Agent, hidden: tuple[int, ...]) -> None:
    learner = make(agent, hidden=hidden)
    assert regret(learner) == pytest.approx(1.6**2 / 12, rel=0.15)  # it begins at 0
    for _ in range(agent.rollouts):
        learner.rollout()
    assert regret(learner) < 0.03
    assert learner.history[-1]["return"] > learner.history[0]["return"]


@agents
def test_the_rate_falls_to_zero_in_the_second_half(agent: Agent) -> None:
    learner = make(agent, rollouts=40)
    steps = [learner.rollout()["step"] for _ in range(40)]
    assert steps[-1] < 0.1 * max(steps[:20])


@agents
def test_a_resumed_training_equals_an_unbroken_one_bit_for_bit(agent: Agent) -> None:
    unbroken, broken, resumed = make(agent), make(agent), make(agent)
    for _ in range(4):
        unbroken.rollout()
    for _ in range(2):
        broken.rollout()
    resumed.load_state_dict(broken.state_dict())
    for _ in range(2):
        resumed.rollout()
    assert resumed.history == unbroken.history
    assert torch.equal(resumed.weights()["weights"], unbroken.weights()["weights"])


@agents
@pytest.mark.parametrize("name", ["rollouts", "seed"])
def test_a_state_of_other_settings_is_refused(agent: Agent, name: str) -> None:
    state = make(agent).state_dict()
    with pytest.raises(InputError, match=rf"agent\.{name} must be"):
        make(agent, **{name: getattr(agent, name) + 1}).load_state_dict(state)


@agents
def test_it_starts_from_a_policy_of_its_kind_alone(agent: Agent) -> None:
    learner = make(agent)
    for _ in range(3):
        learner.rollout()
    other = make(agent)
    other.start_from(learner.export(FEATURES, SPACE, {}))
    assert torch.equal(other.weights()["weights"], learner.weights()["weights"])
    message = r"agent\.start must have tanh between its layers and be squashed, got tanh, clipped"
    with pytest.raises(InputError, match=message):
        other.start_from(LearnedPolicy(FEATURES, (), low=0.5, high=32.0))
