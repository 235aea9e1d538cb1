"""Hindsight is what another temperature would have done to the end of the run, measured by running it again."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rltemp import InputError
from rltemp.distillation import DistillationRun, Task
from rltemp.distillation.teacher import Teacher
from rltemp.distillation.training_images import ImagesInMemory
from rltemp.envs import DistillationVectorEnv
from rltemp.envs.reward import ProbeReward
from rltemp.envs.unrolling import Hindsight
from rltemp.networks import make_network
from rltemp.recipes import Recipe
from rltemp.temperatures import Temperatures, action_to_temperature

SEEDS = (3, 4)
MOMENTS = (0, 5)
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "nesterov": {},
    "heavy ball, weight decay": {"nesterov": False, "momentum": 0.8, "weight_decay": 0.05},
    "plain": {"nesterov": False, "momentum": 0.0},
    "dkd": {"objective": "dkd"},
}


def _double(task: Task, network: str, **options: Any) -> Task:
    """The task with other students, in float64, so that finite differences are exact enough."""

    def make_student(generator: torch.Generator) -> Any:
        return make_network(network, 10, (1, 8, 8), generator, **options).double()

    def as_double(data: Any) -> Any:
        return dataclasses.replace(data, images=data.images.double())

    return dataclasses.replace(
        task,
        make_student=make_student,
        teacher=Teacher(_DoubleTeacher(task.teacher)),
        training=ImagesInMemory(as_double(task.probe), task.augmentation),
        probe=as_double(task.probe),
        validation=as_double(task.validation),
    )


class _DoubleTeacher(torch.nn.Module):
    def __init__(self, teacher: torch.nn.Module) -> None:
        super().__init__()
        self.teacher = teacher

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.teacher(images.float()).double()
        return logits


def _shared(temperatures: Tensor, scale: float | None = None) -> list[Temperatures]:
    """Of every update, from [updates, K, B]."""
    return [Temperatures.shared(temperature.flatten(), scale) for temperature in temperatures]


def _run(task: Task, temperatures: Tensor, scale: float | None = None) -> tuple[Tensor, DistillationRun, Hindsight]:
    """The loss at the end of a run at [updates, K, B], [K]."""
    run = DistillationRun(task, SEEDS)
    hindsight, reward = Hindsight(run), ProbeReward(task)
    for chosen in _shared(temperatures, scale):
        run.observe()
        hindsight.note(chosen)
        run.update(chosen)
    loss = reward.loss(run.students)
    hindsight.look_back(reward.gradient(run.students))
    return loss, run, hindsight


def _difference(hindsight: Hindsight, one: list[Temperatures], other: list[Temperatures]) -> Tensor:
    """Of the effects, [updates, K, B]."""
    return hindsight.effects(one) - hindsight.effects(other)


@pytest.mark.parametrize("scale", [None, 16.0])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_effects_are_the_derivative_of_the_last_loss(tiny_task: Task, optimizer: str, scale: float | None) -> None:
    task = _double(tiny_task, "mlp", hidden=[8])
    task = dataclasses.replace(task, optimization=dataclasses.replace(task.optimization, **OPTIMIZERS[optimizer]))
    generator = torch.Generator().manual_seed(0)
    usual = 1.0 + 7.0 * torch.rand(task.steps, 2, 8, generator=generator, dtype=torch.float64)
    *_, hindsight = _run(task, usual, scale)
    step = 1e-4
    for moment in MOMENTS:
        change = torch.zeros_like(usual)
        change[moment, 1, 5] = step
        warmer, colder = usual + change, usual - change
        truth = (_run(task, colder, scale)[0] - _run(task, warmer, scale)[0]) / (2 * step)
        effects = _difference(hindsight, _shared(warmer, scale), _shared(colder, scale)) / (2 * step)
        assert truth[0].item() == 0.0  # the other student's run is another run
        assert effects[moment, 1, 5].item() == pytest.approx(truth[1].item(), rel=1e-3, abs=1e-9)
        effects[moment, 1, 5] = 0.0
        assert effects.abs().max().item() < 1e-9


def test_batch_normalization_is_followed_through_the_batch(tiny_task: Task) -> None:
    """Running statistics, which the last loss reads, are taken as given: what is left out is small."""
    task = _double(tiny_task, "cnn", channels=[4, 6])
    usual = torch.full((task.steps, 2, 8), 4.0, dtype=torch.float64)
    *_, hindsight = _run(task, usual)
    truths, effects = [], []
    for instance in range(8):
        change = torch.zeros_like(usual)
        change[3, 1, instance] = 1e-3
        truths.append((_run(task, usual - change)[0] - _run(task, usual + change)[0])[1].item())
        difference = _difference(hindsight, _shared(usual + change), _shared(usual - change))
        effects.append(difference[3, 1, instance].item())
    assert np.corrcoef(truths, effects)[0, 1] > 0.9


def test_looking_back_leaves_the_run_alone(tiny_task: Task) -> None:
    temperatures = torch.full((tiny_task.steps, 2, 8), 4.0)
    _, watched, _ = _run(tiny_task, temperatures)
    alone = DistillationRun(tiny_task, SEEDS)
    while not alone.finished:
        alone.update(Temperatures.shared(torch.full((16,), 4.0)))
    for mine, other in zip(watched.students.parameters(), alone.students.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_effects_before_the_end_are_refused(tiny_task: Task) -> None:
    run = DistillationRun(tiny_task, SEEDS)
    hindsight = Hindsight(run)
    hindsight.note(Temperatures.shared(torch.full((16,), 4.0)))
    with pytest.raises(InputError, match="look_back"):
        hindsight.effects([Temperatures.shared(torch.full((16,), 4.0))])


@pytest.mark.parametrize("scale", [None, 9.0])
def test_the_environment_tells_effects_of_the_episode_that_ended(
    tiny_recipe: Recipe, tiny_task: Task, scale: float | None
) -> None:
    space = dataclasses.replace(tiny_recipe.policy, scale=scale)
    recipe = dataclasses.replace(tiny_recipe, policy=space)
    env = DistillationVectorEnv(16, recipe, task=tiny_task)
    env.reset(seed=5)
    generator = np.random.default_rng(0)
    actions = generator.uniform(-1, 1, (env.horizon, 16, 1)).astype(np.float32)
    for action in actions:
        env.step(action)
        assert env.transition.influence is None
    effects = env.effects(actions[..., 0])
    env.step(actions[0])  # the next episode has begun
    assert np.array_equal(env.effects(actions[..., 0]), effects)
    # The episode again, by hand: its seeds are the first ones that the environment draws.
    seeds = np.random.Generator(np.random.PCG64(np.random.SeedSequence(5))).integers(2**31, size=2)
    run = DistillationRun(tiny_task, seeds.tolist())
    hindsight, reward = Hindsight(run), ProbeReward(tiny_task)
    chosen = _shared(action_to_temperature(torch.from_numpy(actions), space.low, space.high), scale)
    for temperatures in chosen:
        hindsight.note(temperatures)
        run.update(temperatures)
    reward.loss(run.students)
    hindsight.look_back(reward.gradient(run.students))
    np.testing.assert_allclose(effects, hindsight.effects(chosen).view(-1, 16).numpy(), rtol=1e-4, atol=1e-9)


def test_an_environment_that_was_not_asked_says_so(tiny_recipe: Recipe, tiny_task: Task) -> None:
    agent = dataclasses.replace(tiny_recipe.agent, credit="influence")
    env = DistillationVectorEnv(8, dataclasses.replace(tiny_recipe, agent=agent), task=tiny_task)
    env.reset(seed=0)
    for _ in range(env.horizon):
        env.step(np.zeros((8, 1), np.float32))
    assert env.transition.influence is not None
    with pytest.raises(InputError, match=r"agent\.credit 'hindsight'"):
        env.effects(np.zeros((env.horizon, 8), np.float32))


def test_effects_of_other_shapes_are_refused(tiny_recipe: Recipe, tiny_task: Task) -> None:
    env = DistillationVectorEnv(8, tiny_recipe, task=tiny_task)
    env.reset(seed=0)
    for _ in range(env.horizon):
        env.step(np.zeros((8, 1), np.float32))
    with pytest.raises(InputError, match=r"shape \[8, 1, 8\]"):
        env.effects(np.zeros((3, 8), np.float32))
