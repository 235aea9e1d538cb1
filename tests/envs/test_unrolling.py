"""Hindsight is what another temperature would have done to the end of the run, measured by running it again."""

import dataclasses
import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rltemp import InputError
from rltemp.distillation import DistillationRun, Task
from rltemp.distillation.mixup import MixUp
from rltemp.distillation.teacher import Teacher
from rltemp.distillation.training_images import ImagesInMemory
from rltemp.envs import DistillationVectorEnv
from rltemp.envs.reward import ProbeReward
from rltemp.envs.unrolling import UnrolledRun
from rltemp.networks import Execution, Network, make_network
from rltemp.networks.initialization import seeded_by
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
UNUSUAL = {"unusual": 0.2, "unusual without dropout": 0.0}


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


def _run(task: Task, temperatures: Tensor, scale: float | None = None) -> tuple[Tensor, DistillationRun, UnrolledRun]:
    """The loss at the end of a run at [updates, K, B], [K]."""
    return _run_at(task, _shared(temperatures, scale))


def _run_at(task: Task, temperatures: list[Temperatures]) -> tuple[Tensor, DistillationRun, UnrolledRun]:
    """As `_run`, at those of every update."""
    run = DistillationRun(task, SEEDS)
    hindsight, reward = UnrolledRun(run), ProbeReward(task)
    for chosen in temperatures:
        run.observe()
        hindsight.note(chosen)
        run.update(chosen)
    loss = reward.loss(run.students)
    hindsight.look_back(reward.gradient(run.students))
    return loss, run, hindsight


def _last_loss(task: Task, temperatures: Tensor) -> Tensor:
    """As `_run`, without a record."""
    run = DistillationRun(task, SEEDS)
    for chosen in _shared(temperatures):
        run.update(chosen)
    return ProbeReward(task).loss(run.students)


def _difference(hindsight: UnrolledRun, one: list[Temperatures], other: list[Temperatures]) -> Tensor:
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


def test_effects_of_labels_weights_are_the_derivative_of_the_last_loss(tiny_task: Task) -> None:
    task = _double(tiny_task, "mlp", hidden=[8])
    temperature = torch.full((16,), 2.0, dtype=torch.float64)
    usual = 0.5 + torch.rand(task.steps, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def weighed(weights: Tensor) -> list[Temperatures]:
        return [Temperatures.shared(temperature, None, weight) for weight in weights]

    def loss(weights: Tensor) -> Tensor:
        run = DistillationRun(task, SEEDS)
        for chosen in weighed(weights):
            run.update(chosen)
        return ProbeReward(task).loss(run.students)

    *_, hindsight = _run_at(task, weighed(usual))
    change = torch.zeros_like(usual)
    change[2, 5] = 1e-4
    more, less = usual + change, usual - change
    truth = (loss(less) - loss(more)) / 2e-4
    effects = _difference(hindsight, weighed(more), weighed(less)) / 2e-4
    assert effects[2, 0, 5].item() == pytest.approx(truth[0].item(), rel=1e-3)
    assert effects.count_nonzero() == 1
    assert truth[1].item() == 0.0


def test_effects_hold_for_mixed_instances(tiny_task: Task) -> None:
    task = _double(tiny_task, "mlp", hidden=[8])

    def play(change: float) -> tuple[Tensor, UnrolledRun]:
        run = DistillationRun(task, SEEDS, mixup=MixUp(range(3)))
        hindsight, reward = UnrolledRun(run), ProbeReward(task)
        for update in range(task.steps):
            chosen = torch.full((16,), 4.0, dtype=torch.float64)
            chosen[8:] += change * (update == 1)
            run.observe()
            hindsight.note(Temperatures.shared(chosen))
            run.update(Temperatures.shared(chosen))
        loss = reward.loss(run.students)
        hindsight.look_back(reward.gradient(run.students))
        return loss, hindsight

    step = 1e-4
    truth = (play(-step)[0] - play(step)[0])[1] / (2 * step)
    _, hindsight = play(0.0)
    four = torch.full((task.steps, 16), 4.0, dtype=torch.float64)
    effects = _difference(hindsight, _shared(four + step), _shared(four - step)) / (2 * step)
    assert effects[1, 1].sum().item() == pytest.approx(truth.item(), rel=1e-3)


class Attention(nn.Module):
    """Pixels that look at each other, by whichever kernel PyTorch takes."""

    def __init__(self, drop_rate: float) -> None:
        super().__init__()
        self.drop_rate = drop_rate

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.flatten(2).transpose(1, 2)
        seen = F.scaled_dot_product_attention(pixels, pixels, pixels, dropout_p=self.drop_rate * self.training)
        return seen.transpose(1, 2).view_as(x)


class Unusual(Network):
    """Attention, dropout, and batch normalization of every kind, one of them met twice in a forward."""

    def __init__(self, drop_rate: float) -> None:
        super().__init__()
        twice = nn.BatchNorm2d(4)
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=2),
            twice,
            nn.Tanh(),
            nn.Dropout2d(drop_rate),
            Attention(drop_rate),
            twice,
            nn.Flatten(),
            nn.BatchNorm1d(36, track_running_stats=False),
            nn.Linear(36, 8),
            nn.BatchNorm1d(8, momentum=None),
            nn.Tanh(),
            nn.Dropout(drop_rate),
            nn.BatchNorm1d(8, momentum=0.0),
            nn.SyncBatchNorm(8, momentum=1.0),
        )
        self.classifier = nn.Linear(8, 10)

    def features(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.layers(x)
        return hidden


def _unusual(drop_rate: float) -> Callable[[torch.Generator], Network]:
    def make_student(generator: torch.Generator) -> Network:
        with seeded_by(generator):
            return Unusual(drop_rate).double()

    return make_student


@pytest.mark.parametrize(
    ("network", "optimizer"),
    [
        ("cnn", "nesterov"),
        ("cnn", "heavy ball, weight decay"),
        ("stacked cnn", "nesterov"),
        ("unusual", "nesterov"),
        ("unusual", "heavy ball, weight decay"),
        ("unusual without dropout", "nesterov"),
    ],
)
def test_effects_are_exact_at_every_update_of_networks_with_state(
    tiny_task: Task, network: str, optimizer: str
) -> None:
    """Through batches, running statistics and masks, to 1e-5 of the largest of an update's effects on both students."""
    task = _double(tiny_task, "cnn", channels=[4, 6])
    task = dataclasses.replace(
        task,
        stacked=network == "stacked cnn",
        make_student=_unusual(UNUSUAL[network]) if network in UNUSUAL else task.make_student,
        optimization=dataclasses.replace(task.optimization, **OPTIMIZERS[optimizer]),
    )
    generator = torch.Generator().manual_seed(0)
    usual = 2.0 + 6.0 * torch.rand(task.steps, 2, 8, generator=generator, dtype=torch.float64)
    *_, hindsight = _run(task, usual)
    for moment in range(task.steps):
        change = torch.zeros_like(usual)
        change[moment] = 1e-3 * torch.randn(2, 8, generator=generator, dtype=torch.float64)
        warmer, colder = usual + change, usual - change
        truth = _last_loss(task, colder) - _last_loss(task, warmer)
        effects = _difference(hindsight, _shared(warmer), _shared(colder))[moment].sum(1)
        assert (effects - truth).abs().max() < 1e-5 * truth.abs().max()


def test_effects_of_half_precision_are_nearly_those_of_single(tiny_task: Task) -> None:
    """Of a run of its own, rounded at every layer: correlated to 0.998, and of one size to 3 %."""
    temperatures = 2.0 + 6.0 * torch.rand(tiny_task.steps, 2, 8, generator=torch.Generator().manual_seed(0))

    def cnn(generator: torch.Generator) -> Network:
        return make_network("cnn", 10, (1, 8, 8), generator, channels=[16, 32])

    def effects(dtype: torch.dtype) -> Tensor:
        task = dataclasses.replace(tiny_task, stacked=False, execution=Execution(dtype=dtype), make_student=cnn)
        *_, hindsight = _run(task, temperatures)
        return _difference(hindsight, _shared(1.2 * temperatures), _shared(temperatures / 1.2)).flatten()

    half, single = effects(torch.bfloat16), effects(torch.float32)
    assert not torch.equal(half, single)
    assert np.corrcoef(half, single)[0, 1] > 0.998
    assert (half.norm() / single.norm()).item() == pytest.approx(1.0, abs=0.03)


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
    hindsight = UnrolledRun(run)
    hindsight.note(Temperatures.shared(torch.full((16,), 4.0)))
    with pytest.raises(InputError, match="look_back"):
        hindsight.effects([Temperatures.shared(torch.full((16,), 4.0))])


def test_what_the_way_back_has_used_is_let_go(tiny_task: Task) -> None:
    run = DistillationRun(tiny_task, SEEDS)
    hindsight, reward = UnrolledRun(run), ProbeReward(tiny_task)
    used: list[weakref.ref[Any]] = [weakref.ref(run)]
    while not run.finished:
        chosen = Temperatures.shared(torch.full((16,), 4.0))
        hindsight.note(chosen)
        used += [weakref.ref(run.observe().minibatch.images), weakref.ref(chosen)]
        run.update(chosen)
    reward.loss(run.students)
    hindsight.look_back(reward.gradient(run.students))
    del run, chosen
    gc.collect()
    assert [reference() for reference in used] == [None] * 17
    assert hindsight.effects(_shared(torch.ones(8, 2, 8))).shape == (8, 2, 8)
    with pytest.raises(InputError, match="record another"):
        hindsight.look_back([])


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
    hindsight, reward = UnrolledRun(run), ProbeReward(tiny_task)
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
