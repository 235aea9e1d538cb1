"""Mixtures are of the images they should be of, count for both labels, and change nothing that they are not."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rltemp import InputError, Temperatures
from rltemp.distillation import DistillationRun, Task
from rltemp.distillation.minibatches import Minibatch, Partners
from rltemp.distillation.mixup import MixUp, mixed_losses, mixing_weights
from rltemp.objectives.method import Method

SEEDS = (3, 11)


def _batch(task: Task, size: int) -> tuple[DistillationRun, Minibatch]:
    task = dataclasses.replace(task, optimization=dataclasses.replace(task.optimization, batch_size=size))
    run = DistillationRun(task, SEEDS)
    return run, run.observe().minibatch


def _by_hand(run: DistillationRun, batch: Minibatch, student: int) -> list[tuple[int, int, float]]:
    """Sure instance, unsure instance, and weight of each mixture, by sorting in Python."""
    network = run.students.extract(student).eval()
    with torch.no_grad():
        p = F.softmax(network(batch.images[student]).double(), dim=1)
    entropy = (-(p * p.log()).sum(1)).tolist()
    ranked = sorted(range(len(entropy)), key=lambda i: -entropy[i])
    count = len(ranked) // 10
    pairs = zip(ranked[count : 2 * count], ranked[int(0.8 * len(ranked)) :][:count], strict=True)
    return [(sure, unsure, 1.0 - 0.3 * k / count) for k, (unsure, sure) in enumerate(pairs)]


def test_the_tenth_that_is_sure_becomes_mostly_the_unsure(tiny_task: Task) -> None:
    run, batch = _batch(tiny_task, 30)
    mixed = MixUp(range(1)).mix(run.students, batch)
    assert mixed.rows is None
    assert mixed.partners is not None
    for student in range(len(SEEDS)):
        images, targets = batch.images[student].clone(), batch.targets[student].clone()
        share = torch.ones(30)
        for sure, unsure, weight in _by_hand(run, batch, student):
            images[sure] = weight * batch.images[student, unsure] + (1 - weight) * batch.images[student, sure]
            targets[sure], share[sure] = batch.targets[student, unsure], weight
        torch.testing.assert_close(mixed.images[student], images)
        assert torch.equal(mixed.targets[student], targets)
        torch.testing.assert_close(mixed.partners.share[student], share)
    assert torch.equal(mixed.partners.targets, batch.targets)


def test_with_one_label_a_mixture_keeps_the_lesser_image_s(tiny_task: Task) -> None:
    run, batch = _batch(tiny_task, 30)
    both, one = (MixUp(range(1), one_label).mix(run.students, batch) for one_label in (False, True))
    assert torch.equal(both.images, one.images)
    assert torch.equal(one.targets, batch.targets)
    assert one.partners is None


def test_the_weights_are_those_of_the_released_code() -> None:
    assert mixing_weights(3).tolist() == pytest.approx([1.0, 0.9, 0.8])
    assert mixing_weights(5000)[-1].item() == pytest.approx(0.7 + 0.3 / 5000)


def test_the_smallest_batches_have_a_mixture(tiny_task: Task) -> None:
    for size in (1, 2, 8):
        run, batch = _batch(tiny_task, size)
        partners = MixUp(range(1)).mix(run.students, batch).partners
        assert partners is not None
        assert int((partners.targets == batch.targets).sum()) == 2 * size
        assert partners.share.min().item() == 1.0  # the first weight, of one mixture alone


def test_a_mixture_s_loss_is_that_of_its_soft_label() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(4, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    first, second = torch.tensor([[0, 1, 2, 3]]), torch.tensor([[4, 4, 0, 3]])
    share = torch.tensor([[0.9, 0.7, 1.0, 0.8]], dtype=torch.float64)
    temperatures = Temperatures.shared(torch.tensor([1.0, 2.0, 4.0, 8.0], dtype=torch.float64))
    method = Method(ce_weight=0.3, kd_weight=0.7)
    soft = share.T * F.one_hot(first[0], 5) + (1 - share.T) * F.one_hot(second[0], 5)
    t = temperatures.teacher.unsqueeze(1)
    p, q = F.softmax(teacher / t, 1), F.softmax(student / t, 1)
    want = 0.3 * F.cross_entropy(student, soft, reduction="none") + 0.7 * t[:, 0] ** 2 * (p * (p / q).log()).sum(1)
    got = mixed_losses(method, student, teacher, (first, Partners(second, share)), temperatures, 0.5)
    torch.testing.assert_close(got, want)


def test_only_the_updates_that_are_named_are_mixed_and_the_teacher_sees_the_mixtures(tiny_task: Task) -> None:
    plain, mixed = DistillationRun(tiny_task, SEEDS), DistillationRun(tiny_task, SEEDS, mixup=MixUp((1,)))
    four = Temperatures.shared(torch.full((16,), 4.0))
    for step in range(2):
        a, b = plain.observe(), mixed.observe()
        assert torch.equal(a.minibatch.images, b.minibatch.images) == (step == 0)
        for k in range(2):
            want: Tensor = tiny_task.teacher(b.minibatch.images[k])
            torch.testing.assert_close(b.teacher_logits[k], want)
        plain.update(four)
        mixed.update(four)


def test_token_ids_are_not_mixed(tiny_task: Task) -> None:
    run, batch = _batch(tiny_task, 10)
    with pytest.raises(InputError, match="images must be floating point to be mixed"):
        MixUp(range(1)).mix(run.students, batch._replace(images=batch.images.long()))
