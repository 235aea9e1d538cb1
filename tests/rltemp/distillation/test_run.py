"""A run is the KD it says it is; K students are K runs; an interrupted run goes on as if nothing had happened."""

import dataclasses
import io
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rltemp import InputError, LearnedPolicy, LogitFeatures, TemperaturePolicy, Temperatures, make_policy
from rltemp.distillation import DistillationRun, Task, score
from rltemp.distillation.minibatches import Minibatch
from rltemp.distillation.policy_population import PolicyPopulation
from rltemp.distillation.teacher import RecordedTeacher, Teacher
from rltemp.networks import MLP

SEEDS = (3, 11, 4)
UPDATES = 6


def _learned() -> LearnedPolicy:
    policy = LearnedPolicy(LogitFeatures(), (5,))
    generator = torch.Generator().manual_seed(2)
    for parameter in policy.parameters():
        parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return policy


POLICIES: dict[str, Callable[[], TemperaturePolicy]] = {
    "learned": _learned,
    "ctkd": lambda: make_policy("ctkd", ramp=0.2),
    "ctkd-instance": lambda: make_policy("ctkd-instance", ramp=0.2, hidden=4, classes=10),
    "dtkd": lambda: make_policy("dtkd"),
}


class Result:
    """What a run of `UPDATES` updates came to, student by student."""

    def __init__(self, task: Task, seeds: Sequence[int], policy: str) -> None:
        self.policies = PolicyPopulation([POLICIES[policy]() for _ in seeds])
        self.run = DistillationRun(task, seeds, trained_with=self.policies)
        self.temperatures: list[Tensor] = []
        for _ in range(UPDATES):
            self.advance()

    def advance(self) -> None:
        observation = self.run.observe()
        chosen = self.policies(
            observation.student.logits,
            observation.teacher_logits,
            observation.minibatch.targets,
            observation.progress,
            None,
        )
        self.temperatures.append(chosen.teacher.detach().view(self.run.students.count, -1))
        self.run.update(chosen)

    def of(self, k: int) -> dict[str, Any]:
        scores = score(self.run.students, self.run.task.validation)
        observation = self.run.observe()
        return {
            "parameters": self.run.students.extract(k).state_dict(),
            "temperatures": torch.stack(self.temperatures)[:, k],
            "logits": observation.student.logits[k].detach(),
            "teacher": observation.teacher_logits[k],
            "scores": [scores.nll[k], scores.accuracy[k], scores.calibration_error[k]],
        }


def _close(a: dict[str, Any], b: dict[str, Any]) -> None:
    for key, value in a.items():
        torch.testing.assert_close(value, b[key], rtol=1e-4, atol=1e-5, msg=f"{key} differs")


@pytest.mark.parametrize("policy", POLICIES)
def test_a_population_is_its_students_one_by_one(tiny_task: Task, policy: str) -> None:
    together = Result(tiny_task, SEEDS, policy)
    loop = Result(dataclasses.replace(tiny_task, stacked=False), SEEDS, policy)
    for k, seed in enumerate(SEEDS):
        alone = Result(tiny_task, [seed], policy)
        _close(together.of(k), alone.of(0))
        _close(together.of(k), loop.of(k))
    if policy != "ctkd":
        assert bool((together.temperatures[0].std(1) > 0.001).all())


def test_the_rules_own_parameters_are_trained(tiny_task: Task) -> None:
    result = Result(tiny_task, SEEDS, "ctkd")
    first, last = result.temperatures[0], result.temperatures[-1]
    assert torch.allclose(first, torch.tensor(15.621), atol=1e-3)
    assert bool((last != first).all())
    assert len(set(last[:, 0].tolist())) == len(SEEDS)  # each student has its own


@pytest.mark.parametrize(("objective", "weighed"), [("kd", False), ("dkd", False), ("kd", True)])
def test_an_update_is_a_step_of_sgd_on_the_stated_loss(tiny_task: Task, objective: Any, weighed: bool) -> None:
    optimization = dataclasses.replace(
        tiny_task.optimization, objective=objective, ce_weight=0.3, kd_weight=0.7, lr=0.1, weight_decay=0.01
    )
    task = dataclasses.replace(tiny_task, optimization=optimization)
    run = DistillationRun(task, [5])
    t = torch.linspace(1.0, 8.0, 8)
    student = run.students.extract(0).double()
    assert isinstance(student, MLP)
    observed = run.observe()
    images, targets = observed.minibatch.images[0].double(), observed.minibatch.targets[0]
    teacher = task.teacher.double()(images)
    task.teacher.float()
    weights = torch.linspace(0.5, 4.0, 8) if weighed else torch.ones(8)
    run.update(Temperatures(t, t, t * t, weights if weighed else None))

    losses = []
    for i in range(8):
        z, y, temperature = student(images[i : i + 1])[0], int(targets[i]), float(t[i])
        p, q = (teacher[i] / temperature).softmax(0), (z / temperature).softmax(0)
        if objective == "kd":
            distillation = temperature**2 * sum(p[c] * (p[c].log() - q[c].log()) for c in range(10))
        else:
            others = [c for c in range(10) if c != y]
            pair = sum(a * (a / b).log() for a, b in ((p[y], q[y]), (1 - p[y], 1 - q[y])))
            rest_p, rest_q = p[others] / p[others].sum(), q[others] / q[others].sum()
            distillation = temperature**2 * (pair + 8 * (rest_p * (rest_p / rest_q).log()).sum())
        losses.append(0.7 * distillation + 0.3 * float(weights[i]) * -z.log_softmax(0)[y])
    gradients = torch.autograd.grad(torch.stack(losses).mean(), list(student.parameters()))
    updated = dict(run.students.extract(0).named_parameters())
    for (name, parameter), gradient in zip(student.named_parameters(), gradients, strict=True):
        full = gradient + 0.01 * parameter
        # The first Nesterov step is (1 + momentum) times the gradient.
        want = parameter - 0.1 * 1.9 * full
        torch.testing.assert_close(updated[name].double(), want, rtol=1e-4, atol=1e-6)


def test_observing_twice_is_observing_once(tiny_task: Task) -> None:
    run = DistillationRun(tiny_task, [0])
    assert run.observe() is run.observe()
    first = run.observe()
    run.update(Temperatures.shared(torch.ones(8)))
    assert not torch.equal(run.observe().minibatch.images, first.minibatch.images)


def test_progress_and_learning_rate_follow_the_schedule(tiny_task: Task) -> None:
    run = DistillationRun(tiny_task, [0])
    rates: list[float] = []
    while not run.finished:
        assert run.observe().progress == run.progress == len(rates) / 8
        rates.append(run.learning_rate)
        run.update(Temperatures.shared(torch.ones(8)))
    assert rates == pytest.approx([0.025 * (1 + torch.cos(torch.tensor(torch.pi * i / 8)).item()) for i in range(8)])
    assert run.progress == 1.0
    with pytest.raises(InputError, match="after the last of 8 updates"):
        run.update(Temperatures.shared(torch.ones(8)))


@pytest.mark.parametrize("policy", ["learned", "ctkd"])
@pytest.mark.parametrize("stacked", [True, False])
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(tiny_task: Task, policy: str, stacked: bool) -> None:
    task = dataclasses.replace(tiny_task, stacked=stacked)
    straight = Result(task, SEEDS, policy)
    buffer = io.BytesIO()
    torch.save(straight.run.state_dict(), buffer)
    buffer.seek(0)
    for _ in range(2):
        straight.advance()

    resumed = Result(task, (1, 2, 5), policy)
    resumed.run.observe()  # what is pending is dropped
    resumed.run.load_state_dict(torch.load(buffer, weights_only=True))
    assert resumed.run.step == UPDATES
    for _ in range(2):
        resumed.advance()
    assert resumed.run.finished
    for name, value in straight.run.students.state_dict().items():
        assert torch.equal(resumed.run.students.state_dict()[name], value), name
    assert torch.equal(resumed.temperatures[-1], straight.temperatures[-1])


def test_a_pending_graph_is_not_saved(tiny_task: Task) -> None:
    run = DistillationRun(tiny_task, [0])
    run.observe()
    with pytest.raises(InputError, match=r"state_dict\(\) must be called before observe\(\) or after update\(\)"):
        run.state_dict()


def test_another_number_of_temperatures_is_refused(tiny_task: Task) -> None:
    run = DistillationRun(tiny_task, [0, 1])
    with pytest.raises(InputError, match="temperatures must hold 16 instances, got 8"):
        run.update(Temperatures.shared(torch.ones(8)))


class Listening:
    """Answers for a teacher, and notes at which updates it was asked."""

    def __init__(self, teacher: Teacher) -> None:
        self.teacher = teacher
        self.asked: list[int] = []

    def answer(self, step: int, minibatch: Minibatch) -> Tensor:
        self.asked.append(step)
        return self.teacher.answer(step, minibatch)


def test_a_record_of_the_teacher_changes_nothing_and_asks_once(tiny_task: Task) -> None:
    listening = Listening(tiny_task.teacher)
    record = RecordedTeacher(listening)
    for t in (1.0, 8.0):
        with_record = DistillationRun(tiny_task, SEEDS, teacher=record)
        without = DistillationRun(tiny_task, SEEDS)
        while not without.finished:
            assert torch.equal(with_record.observe().teacher_logits, without.observe().teacher_logits)
            for run in (with_record, without):
                run.update(Temperatures.shared(torch.full((24,), t)))
        for name, value in without.students.state_dict().items():
            assert torch.equal(with_record.students.state_dict()[name], value)
    assert listening.asked == list(range(8))


def test_students_with_one_seed_see_the_same_whatever_their_temperatures(tiny_task: Task) -> None:
    runs = [DistillationRun(tiny_task, [7]) for _ in range(2)]
    seen: list[list[Minibatch]] = [[], []]
    for run, t, kept in zip(runs, (1.0, 16.0), seen, strict=True):
        for _ in range(8):
            kept.append(run.observe().minibatch)
            run.update(Temperatures.shared(torch.full((8,), t)))
    for a, b in zip(*seen, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.targets, b.targets)
    assert not torch.equal(runs[0].students.predict(seen[0][0].images[0]).logits, runs[1].observe().student.logits)


def test_no_global_generator_moves(tiny_task: Task) -> None:
    before = torch.get_rng_state()
    run = DistillationRun(tiny_task, SEEDS)
    run.update(Temperatures.shared(torch.ones(24)))
    assert torch.equal(torch.get_rng_state(), before)


class Poison(nn.Module):
    """A teacher that must not be asked."""

    def forward(self, images: Tensor) -> Tensor:
        raise AssertionError("the teacher was asked")


class Indifferent:
    """Answers zeros for a teacher."""

    def answer(self, step: int, minibatch: Minibatch) -> Tensor:
        return minibatch.images.new_zeros(1, 8, 10)


def test_the_teacher_is_not_asked_where_somebody_answers_for_it(tiny_task: Task) -> None:
    task = dataclasses.replace(tiny_task, teacher=Teacher(Poison()))
    run = DistillationRun(task, [0], teacher=Indifferent())
    run.update(Temperatures.shared(torch.ones(8)))
    assert bool(torch.isfinite(run.students.predict(task.validation.images).logits).all())


def _policy_call(policy: TemperaturePolicy, run: DistillationRun, k: int) -> Temperatures:
    seen = run.observe()
    temperatures: Temperatures = policy(
        seen.student.logits[k], seen.teacher_logits[k], seen.minibatch.targets[k], seen.progress
    )
    return temperatures


@pytest.mark.parametrize("policy", [*POLICIES, "static", "normkd", "anneal"])
def test_a_population_of_policies_answers_as_each_would(tiny_task: Task, policy: str) -> None:
    def make() -> TemperaturePolicy:
        return POLICIES[policy]() if policy in POLICIES else make_policy(policy)

    run = DistillationRun(tiny_task, SEEDS)
    population = PolicyPopulation([make() for _ in SEEDS])
    seen = run.observe()
    together = population(seen.student.logits, seen.teacher_logits, seen.minibatch.targets, seen.progress, None)
    for k in range(len(SEEDS)):
        alone = _policy_call(make(), run, k)
        for field in ("teacher", "student", "scale"):
            torch.testing.assert_close(getattr(together, field).view(3, -1)[k], getattr(alone, field))


@pytest.mark.parametrize("own", [False, True])
def test_a_policy_over_the_batch_sees_its_own_students_batch_alone(tiny_task: Task, own: bool) -> None:
    run = DistillationRun(tiny_task, SEEDS)
    policies = [make_policy("spread", each=own) for _ in SEEDS]
    seen = run.observe()
    together = PolicyPopulation(policies)(
        seen.student.logits, seen.teacher_logits, seen.minibatch.targets, seen.progress, None
    )
    for k, policy in enumerate(policies):
        alone = _policy_call(policy, run, k)
        for field in ("teacher", "student", "scale"):
            assert torch.equal(getattr(together, field).view(3, -1)[k], getattr(alone, field))
    assert together.scale.unique().numel() == (together.scale.numel() if own else 3)


class _WeighsLabels(TemperaturePolicy):
    """By what the teacher says of the label; drawn, over the batch, or trained, as its attributes say."""

    needs, weighs_labels = frozenset({"targets"}), True

    def choose(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor | None,
        progress: float | Tensor,
        alignment: Tensor | None,
    ) -> Temperatures:
        assert targets is not None
        weight = teacher_logits.softmax(-1).gather(1, targets[:, None])[:, 0]
        return Temperatures.shared(torch.full_like(weight, 2.0), label_weight=0.5 + weight)


class _WeighsLabelsOverTheBatch(_WeighsLabels):
    over_batch = True


class _LearnsToWeighLabels(_WeighsLabels):
    def __init__(self) -> None:
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))


@pytest.mark.parametrize("kind", [_WeighsLabels, _WeighsLabelsOverTheBatch, _LearnsToWeighLabels])
def test_weights_of_labels_reach_every_student(tiny_task: Task, kind: type[TemperaturePolicy]) -> None:
    run = DistillationRun(tiny_task, SEEDS)
    seen = run.observe()
    logits = seen.student.logits, seen.teacher_logits
    together = PolicyPopulation([kind() for _ in SEEDS])(*logits, seen.minibatch.targets, seen.progress, None)
    assert together.label_weight is not None
    for k in range(len(SEEDS)):
        torch.testing.assert_close(together.label_weight.view(3, -1)[k], _policy_call(kind(), run, k).label_weight)


def test_a_random_policy_draws_from_a_generator_per_student(tiny_task: Task) -> None:
    run = DistillationRun(tiny_task, SEEDS)

    def policies() -> list[TemperaturePolicy]:
        return [make_policy("random", generator=torch.Generator().manual_seed(seed)) for seed in SEEDS]

    population, alone = PolicyPopulation(policies()), policies()
    seen = run.observe()

    def draw() -> Tensor:
        arguments = (seen.student.logits, seen.teacher_logits, seen.minibatch.targets, seen.progress, None)
        chosen: Temperatures = population(*arguments)
        return chosen.teacher.view(3, -1)

    for _ in range(2):
        drawn = draw()
        for k in range(3):
            assert torch.equal(drawn[k], _policy_call(alone[k], run, k).teacher)
    state = population.state_dict()
    expected = draw()
    population.load_state_dict(state)
    assert torch.equal(draw(), expected)


def test_teacher_and_student_see_the_same_images(tiny_task: Task) -> None:
    observation = DistillationRun(tiny_task, [2, 9]).observe()
    for k in range(2):
        teacher = tiny_task.teacher(observation.minibatch.images[k])
        torch.testing.assert_close(observation.teacher_logits[k], teacher)
    assert not F.softmax(observation.student.logits, -1).isnan().any()
