"""An objective on features beside the loss: the sum it says it is, a student's own, and resumed bit for bit."""

import dataclasses
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rltemp.distillation import DistillationRun, Task
from rltemp.distillation.feature_term import FeatureTerm
from rltemp.distillation.image_views import ImageViews
from rltemp.distillation.policy_run import PolicyRun
from rltemp.distillation.teacher import Ensemble, Teacher
from rltemp.distillation.training_images import ImagesInMemory
from rltemp.errors import InputError
from rltemp.networks import MLP
from rltemp.objectives.features import PKT, SP, Activations, FeatureObjective
from rltemp.policies import make_policy
from rltemp.recipes import Recipe
from rltemp.seeding import make_generator
from rltemp.temperatures import Temperatures

NAMES = ("pkt", "sp", "vid", "crd", "srrl")
SEEDS = (3, 8)


def _with(task: Task, features: str, weight: float = 0.01) -> Task:
    changes: dict[str, Any] = {"features": features, "features_weight": weight, "negatives": 5}
    return dataclasses.replace(task, optimization=dataclasses.replace(task.optimization, **changes))


def _run(task: Task, seeds: tuple[int, ...] = SEEDS) -> PolicyRun:
    return PolicyRun(task, [make_policy("static") for _ in seeds], seeds, Recipe().policy)


def _advance(whole: PolicyRun, updates: int) -> PolicyRun:
    for _ in range(updates):
        whole.advance()
    return whole


def _weights(whole: PolicyRun) -> list[Tensor]:
    return [*whole.run.students.parameters(), *(whole.run._features or nn.Module()).parameters()]


@pytest.mark.parametrize(("name", "objective"), [("pkt", PKT()), ("sp", SP())])
def test_the_gradient_is_that_of_both_terms(tiny_task: Task, name: str, objective: FeatureObjective) -> None:
    """By another road: one network alone, its loss and the objective written out, differentiated by autograd."""
    task = _with(tiny_task, name, weight=0.05)
    plain = dataclasses.replace(task.optimization, momentum=0.0, nesterov=False)
    run = _run(dataclasses.replace(task, optimization=plain)).run
    student = run.students.extract(0)
    observation = run.observe()
    images, targets = observation.minibatch.images[0], observation.minibatch.targets[0]
    features = student.features(images)
    logits, answers = student.classifier(features), observation.teacher_logits[0]
    teacher = task.teacher.network
    assert isinstance(teacher, Ensemble)
    vectors = teacher.features(images)
    kd = 16 * (answers.div(4).softmax(1) * (answers.div(4).log_softmax(1) - logits.div(4).log_softmax(1))).sum(1).mean()
    sides = (Activations(z, v, (v[:, :, None, None],)) for z, v in ((logits, features), (answers, vectors)))
    loss = 0.1 * nn.functional.cross_entropy(logits, targets) + 0.9 * kd + 0.05 * objective.weight * objective(*sides)
    gradients = torch.autograd.grad(loss, list(student.parameters()))
    rate = run.learning_rate
    run.update(Temperatures.shared(torch.full((2 * len(targets),), 4.0)))
    after = run.students.extract(0)
    for old, new, gradient in zip(student.parameters(), after.parameters(), gradients, strict=True):
        torch.testing.assert_close(new, old - rate * gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_students_side_by_side_are_students_alone(tiny_task: Task, name: str) -> None:
    task = _with(tiny_task, name)
    both, alone = _advance(_run(task), 4), _advance(_run(task, SEEDS[1:]), 4)
    images = task.validation.images[:9]
    clean = task.augmentation.clean(images)
    torch.testing.assert_close(
        both.run.students.predict(clean).logits[1], alone.run.students.predict(clean).logits[0], rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("name", NAMES)
def test_an_interrupted_run_goes_on_bit_for_bit(tiny_task: Task, name: str) -> None:
    task = _with(tiny_task, name)
    whole, broken, resumed = (_run(task) for _ in range(3))
    _advance(whole, 6)
    file = io.BytesIO()
    torch.save(_advance(broken, 3).state_dict(), file)
    file.seek(0)
    state: dict[str, Any] = torch.load(file, weights_only=True)
    resumed.load_state_dict(state)
    _advance(resumed, 3)
    assert all(map(torch.equal, _weights(whole), _weights(resumed)))
    # Whatever the objective trains has been trained.
    assert not any(map(torch.equal, _weights(whole), _weights(_run(task))))


def test_without_an_objective_a_run_is_what_it_was(tiny_task: Task) -> None:
    plain, weightless = _advance(_run(tiny_task), 3), _advance(_run(_with(tiny_task, "pkt", 0.0)), 3)
    assert FeatureTerm.of(_with(tiny_task, "pkt", 0.0), SEEDS) is None
    assert all(map(torch.equal, _weights(plain), _weights(weightless)))


def test_crd_knows_the_images_of_every_minibatch(tiny_task: Task) -> None:
    task = _with(tiny_task, "crd")
    run = DistillationRun(task, SEEDS, features=FeatureTerm(task, SEEDS))
    assert run._features is not None
    term = run._features
    banks = [value for name, value in term.named_buffers() if name.endswith("bank.student")]
    for _ in range(3):
        before = [bank.clone() for bank in banks]
        observation = run.observe()
        images = observation.minibatch.images
        run.update(Temperatures.shared(torch.full((images.shape[0] * images.shape[1],), 4.0)))
        for k, (old, new) in enumerate(zip(before, banks, strict=True)):
            changed = (old != new).any(1).nonzero()[:, 0]
            labels = task.probe.targets[changed].sort().values
            assert torch.equal(labels, observation.minibatch.targets[k].sort().values)


def test_features_of_views_are_computed_once_and_are_those_of_their_images(tiny_task: Task) -> None:
    images = tiny_task.training
    assert isinstance(images, ImagesInMemory)
    views = ImageViews(images, 2, make_generator(1))
    minibatch = views.minibatches(SEEDS, 8).draw()
    network = tiny_task.teacher.network
    assert isinstance(network, Ensemble)
    teacher = Teacher(network)
    expected = network.features(minibatch.images.flatten(0, 1)).unflatten(0, minibatch.targets.shape)
    torch.testing.assert_close(teacher.features(minibatch, views), expected)
    torch.testing.assert_close(teacher.features(minibatch, None), expected)


def test_an_ensemble_is_one_linear_layer_on_its_features() -> None:
    members = [MLP([6, 5, 4]), MLP([6, 3, 4])]
    ensemble, images = Ensemble(members), torch.randn(7, 6, generator=make_generator(0))
    assert ensemble.features(images).shape == (7, 8)
    torch.testing.assert_close(ensemble.classifier(ensemble.features(images)), ensemble(images))
    assert not any(parameter.requires_grad for parameter in ensemble.classifier.parameters())


def test_what_has_no_features_is_refused(tiny_task: Task) -> None:
    bare = dataclasses.replace(_with(tiny_task, "pkt"), teacher=Teacher(nn.Linear(64, 10)))
    with pytest.raises(InputError, match=r"optimization\.features must be 'none' .* got 'pkt'"):
        FeatureTerm.of(bare, SEEDS)


def test_crd_needs_images_in_memory(tiny_task: Task) -> None:
    few = dataclasses.replace(_with(tiny_task, "crd"), probe=tiny_task.probe.subset(torch.arange(9)))
    with pytest.raises(InputError, match=r"must not be .crd. where data\.in_memory is false"):
        FeatureTerm.of(few, SEEDS)
