"""The whole way on the real environment, in the small: from a recipe to a policy."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rltemp.agents import make_sb3_env, train_policy
from rltemp.agents.train import load_start
from rltemp.agents.trainer import Trainer
from rltemp.agents.vec_env import student_env
from rltemp.alignment import ALIGNMENT_TEMPERATURES
from rltemp.distillation import Task
from rltemp.distillation.policy_run import PolicyRun
from rltemp.envs import DistillationVectorEnv
from rltemp.envs.episode import Episode, make_features
from rltemp.errors import InputError
from rltemp.experiments.commands.train_command import train
from rltemp.experiments.named_recipe import NamedRecipe
from rltemp.policies.artifact import load_policy, save_policy
from rltemp.policies.learned import LearnedPolicy
from rltemp.recipes import Recipe, change_recipe, load_recipe
from rltemp.recipes.schema import Agent

AGENT = Agent(students=2, rollouts=2, hidden=(8,), n_epochs=2, minibatches=2)


@pytest.fixture(scope="module")
def recipe(tiny_recipe: Recipe) -> Recipe:
    return dataclasses.replace(tiny_recipe, agent=AGENT)


def files(recipe: Recipe, task: Task, folder: Path) -> dict[str, bytes]:
    save_policy(train_policy(recipe, task=task), folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_recipe_gives_the_same_files(recipe: Recipe, tiny_task: Task, tmp_path: Path) -> None:
    first = files(recipe, tiny_task, tmp_path / "first")
    torch.rand(3)
    assert files(recipe, tiny_task, tmp_path / "second") == first
    assert set(first) == {"policy.safetensors", "policy.json", "README.md"}


def test_a_policy_can_be_used_at_once_and_its_card_tells_its_training(recipe: Recipe, tiny_task: Task) -> None:
    policy = train_policy(recipe, task=tiny_task)
    logits = torch.randn(5, 10, generator=torch.Generator().manual_seed(0))
    alignment = torch.zeros(5, len(ALIGNMENT_TEMPERATURES))
    temperatures = policy(logits, logits, torch.zeros(5, dtype=torch.long), 0.5, alignment)
    assert len(temperatures) == 5
    assert (policy.low, policy.high) == (recipe.policy.low, recipe.policy.high)
    training = policy.card["training"]
    assert training["rollouts"] == 2
    assert training["agent.students"] == 2


def test_training_goes_on_from_a_trained_policy(recipe: Recipe, tiny_task: Task, tmp_path: Path) -> None:
    first = train_policy(recipe, task=tiny_task)
    start = str(save_policy(first, tmp_path / "first"))
    none = dataclasses.replace(AGENT, rollouts=1, learning_rate=1e-300, start=start)  # too little to change a float32
    unchanged = train_policy(dataclasses.replace(recipe, agent=none), task=tiny_task)
    further = train_policy(
        dataclasses.replace(recipe, agent=dataclasses.replace(none, learning_rate=AGENT.learning_rate)), task=tiny_task
    )
    for name, value in first.state_dict().items():
        assert torch.equal(value, unchanged.state_dict()[name])
    assert not torch.equal(first.state_dict()["net.0.weight"], further.state_dict()["net.0.weight"])
    assert further.card["training"]["agent.start"] == start


def test_the_policy_is_chosen_on_validation_images_as_the_command_line_chooses_it(
    recipe: Recipe, tiny_task: Task, tmp_path: Path
) -> None:
    """By the cross-entropy its students end with, here run and scored by hand."""
    policy = train_policy(recipe, task=tiny_task)
    path = train(NamedRecipe("tiny", recipe), str(tmp_path), "train", [tiny_task])
    for name, value in load_policy(path).state_dict().items():
        assert torch.equal(value, policy.state_dict()[name])
    seeds = range(2**31, 2**31 + 32)
    whole = PolicyRun(tiny_task, [policy] * 32, seeds, recipe.policy)
    while not whole.run.finished:
        whole.advance()
    logits = whole.run.students.predict(tiny_task.validation.images).logits.double()
    losses = [F.cross_entropy(student, tiny_task.validation.targets) for student in logits]
    assert policy.card["training"]["score"] == pytest.approx(-float(torch.stack(losses).mean()), rel=1e-6)


def test_a_score_chooses_the_policy(recipe: Recipe, tiny_task: Task) -> None:
    seen: list[Any] = []

    def score(policy: Any) -> float:
        seen.append({name: value.clone() for name, value in policy.state_dict().items()})
        return -float(len(seen))

    policy = train_policy(recipe, task=tiny_task, score=score)
    assert len(seen) == 2
    for name, value in policy.state_dict().items():
        assert torch.equal(value, seen[0][name])
    assert policy.card["training"]["chosen after rollout"] == 1
    assert policy.card["training"]["score"] == -1.0


def test_sb3s_environment_is_the_vector_environment(recipe: Recipe, tiny_task: Task) -> None:
    venv = make_sb3_env(recipe, students=3, task=tiny_task)
    assert venv.num_envs == 24
    venv.seed(0)
    observations = venv.reset()
    assert observations in venv.env.observation_space
    for step in range(8):
        _, rewards, dones, _ = venv.step(np.zeros((24, 1), np.float32))
        transition = venv.get_attr("transition", indices=0)[0]
        np.testing.assert_allclose(rewards.reshape(3, 8), np.repeat(transition.reward[:, None], 8, axis=1))
        assert dones.all() == (step == 7)
    assert make_sb3_env(recipe, task=tiny_task).num_envs == 16


def test_bad_settings_are_refused() -> None:
    with pytest.raises(InputError, match="no-such"):
        make_sb3_env("no-such-recipe")
    with pytest.raises(InputError, match="agent"):
        make_sb3_env("digits-short", agent={"no_such_key": 1})


@pytest.mark.parametrize("calibration", ["uniform", "redistribution", "influence", "hindsight"])
def test_every_calibration_gets_the_credit_it_needs(recipe: Recipe, tiny_task: Task, calibration: Any) -> None:
    agent = dataclasses.replace(AGENT, credit=calibration)
    policy = train_policy(dataclasses.replace(recipe, agent=agent), task=tiny_task)
    assert all(bool(torch.isfinite(value).all()) for value in policy.state_dict().values())


def test_training_begins_no_episode_that_it_does_not_play(
    recipe: Recipe, tiny_task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Episode] = []

    class Counted(Episode):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            begun.append(self)

    monkeypatch.setattr("rltemp.envs.vector.Episode", Counted)
    agent = dataclasses.replace(AGENT, rollouts=3)
    train_policy(dataclasses.replace(recipe, agent=agent), task=tiny_task)
    assert len(begun) == 3
    assert all(episode.finished for episode in begun)


def test_the_recipe_says_how_many_updates_are_paid_together(recipe: Recipe, tiny_task: Task) -> None:
    together = dataclasses.replace(recipe, agent=dataclasses.replace(AGENT, reward_every=3))
    venv = make_sb3_env(together, task=tiny_task)
    venv.seed(0)
    venv.reset()
    paid = [venv.step(np.zeros((16, 1), np.float32))[1].any() for _ in range(8)]
    assert paid == [False, False, True, False, False, True, False, True]
    influence = dataclasses.replace(AGENT, credit="influence", reward_every=3)
    with pytest.raises(InputError, match=r"agent\.reward_every must be 1 for agent\.credit 'influence', got 3"):
        train_policy(dataclasses.replace(recipe, agent=influence), task=tiny_task)


def test_an_environment_without_the_credit_is_refused_before_the_first_episode(recipe: Recipe, tiny_task: Task) -> None:
    influence = dataclasses.replace(AGENT, credit="influence")
    env = DistillationVectorEnv(16, dataclasses.replace(recipe, agent=influence), task=tiny_task)
    with pytest.raises(InputError, match=r"agent\.credit = 'hindsight' needs, got one for influence, redistr.*uniform"):
        Trainer(env, AGENT)
    Trainer(env, influence)
    Trainer(env, dataclasses.replace(AGENT, credit="uniform"))
    assert "hindsight" in student_env(make_sb3_env(recipe, task=tiny_task)).credit_kinds


@pytest.mark.parametrize(
    ("agent", "space", "message"),
    [
        ({"hidden": (9,)}, {}, r"agent\.start must have the recipe's hidden layers \(9,\), got \(8,\)"),
        ({}, {"low": 1.0}, r"recipe's range of temperatures \(1\.0, 32\.0\), got \(0\.5, 32\.0\)"),
        ({}, {"alignment": "none"}, "recipe's features"),
        ({}, {"scale": 16.0}, r"recipe's scale 16\.0, got None"),
        ({"start": "nowhere"}, {}, "path must be a policy's folder, got nowhere"),
    ],
)
def test_a_start_that_does_not_fit_is_refused_before_any_work(
    recipe: Recipe, tiny_task: Task, tmp_path: Path, agent: Any, space: Any, message: str
) -> None:
    start = str(save_policy(train_policy(recipe, task=tiny_task), tmp_path / "first"))
    other = dataclasses.replace(
        recipe,
        agent=dataclasses.replace(AGENT, **{"start": start, **agent}),
        policy=dataclasses.replace(recipe.policy, **space),
    )
    with pytest.raises(InputError, match=message):
        load_start(other)
    with pytest.raises(InputError, match=message):
        train(NamedRecipe("tiny", other), str(tmp_path / "runs"), "train", [tiny_task])
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("learner", "wanted"), [("ppo", "clipped"), ("evolution", "squashed"), ("descent", "squashed")]
)
def test_a_start_of_another_kind_of_network_is_refused(
    learner: Any, wanted: str, recipe: Recipe, tmp_path: Path
) -> None:
    space = recipe.policy
    relu = LearnedPolicy(make_features(space), AGENT.hidden, low=space.low, high=space.high, activation="relu")
    start = str(save_policy(relu, tmp_path / "relu"))
    other = dataclasses.replace(recipe, agent=dataclasses.replace(AGENT, start=start, learner=learner))
    message = rf"agent\.start must have tanh between its layers and be {wanted}, got relu, clipped"
    with pytest.raises(InputError, match=message):
        load_start(other)


@pytest.mark.parametrize("credit", ["uniform", "redistribution"])
def test_ppo_trains_a_policy_that_weighs_labels(credit: str, tiny_recipe: Recipe, tiny_task: Task) -> None:
    space = {"alignment": "none", "scale_range": [1.0, 256.0], "label_range": [0.25, 4.0]}
    agent = {"credit": credit, "students": 2, "rollouts": 2, "hidden": [4]}
    changes = {"policy": space, "agent": agent, "optimization.ce_weight": 0.3}
    policy = train_policy(change_recipe(tiny_recipe, changes), task=tiny_task)
    assert (policy.label_range, policy.weights["ce_weight"]) == ((0.25, 4.0), 0.3)
    logits = torch.randn(2, 5, 10, generator=torch.Generator().manual_seed(0))
    chosen = policy(*logits, torch.arange(5), 0.5)
    assert chosen.label_weight is not None
    assert bool(((chosen.label_weight > 0.25) & (chosen.label_weight < 4.0)).all())


def test_ppo_goes_on_from_what_evolution_has_learned_if_its_actions_are_squashed() -> None:
    ppo = {"agent.learner": "ppo", "agent.start": "rltemp/general", "agent.squash": True}
    squashed = load_recipe("general", ppo)
    start = load_start(squashed)
    assert start is not None
    assert start.squash
    message = r"agent\.start must have tanh between its layers and be clipped, got tanh, squashed"
    with pytest.raises(InputError, match=message):
        load_start(change_recipe(squashed, {"agent.squash": False}))
