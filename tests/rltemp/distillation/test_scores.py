"""Scores equal closed forms and plain loops."""

import math

import pytest
import torch
from torch import Tensor

from rltemp.data import Dataset
from rltemp.distillation import StackedStudents, clean_logits, fidelity, score
from rltemp.distillation.scores import calibration_error, cross_entropy, score_logits
from rltemp.experiments.bench.memory import peak_bytes
from rltemp.networks import MLP


def _fixed(*tables: list[list[float]]) -> StackedStudents:
    """Students that answer image i, the i-th unit vector, with row i of their table."""
    members = []
    for table in tables:
        member = MLP((len(table), len(table[0])))
        with torch.no_grad():
            member.classifier.weight.copy_(torch.tensor(table).mT)
            member.classifier.bias.zero_()
        members.append(member)
    return StackedStudents(members)


def test_scores_of_known_probabilities() -> None:
    ln = math.log
    sure = [[ln(0.9), ln(0.1)], [ln(0.8), ln(0.2)], [ln(0.3), ln(0.7)], [ln(0.6), ln(0.4)]]
    flat = [[0.0, 0.0]] * 4
    data = Dataset(torch.eye(4).view(4, 4), torch.tensor([0, 1, 1, 0]), classes=2)
    scores = score(_fixed(sure, flat), data)
    assert scores.nll.tolist() == pytest.approx([-(ln(0.9) + ln(0.2) + ln(0.7) + ln(0.6)) / 4, ln(2)], rel=1e-6)
    assert scores.accuracy.tolist() == [0.75, 0.5]
    # Each confidence of the first student is in a bin of its own.
    assert scores.calibration_error.tolist() == pytest.approx([(0.1 + 0.8 + 0.3 + 0.4) / 4, 0.0], abs=1e-6)
    assert all(values.dtype == torch.float64 for values in (scores.accuracy, scores.nll, scores.calibration_error))


def test_more_images_than_fit_one_chunk_are_all_counted() -> None:
    generator = torch.Generator().manual_seed(0)
    data = Dataset(torch.randn(2300, 4, generator=generator), torch.arange(2300) % 3, classes=3)
    students = StackedStudents([MLP((4, 5, 3), generator) for _ in range(2)])
    scores = score(students, data)
    for k in range(2):
        logits = students.extract(k)(data.images).detach().double()
        expected = torch.nn.functional.cross_entropy(logits, data.targets)
        assert float(scores.nll[k]) == pytest.approx(float(expected), rel=1e-6)
        assert float(scores.accuracy[k]) == (logits.argmax(1) == data.targets).double().mean()


def test_cross_entropy_of_several_students_is_that_of_each() -> None:
    logits = torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    targets = torch.arange(7) % 5
    expected = [float(torch.nn.functional.cross_entropy(one, targets)) for one in logits]
    assert cross_entropy(logits, targets).tolist() == pytest.approx(expected, rel=1e-12)


def _loop(confidence: Tensor, correct: Tensor) -> float:
    total = 0.0
    for b in range(15):
        inside = [
            (c, float(right))
            for c, right in zip(confidence.tolist(), correct.tolist(), strict=True)
            if b / 15 < c <= (b + 1) / 15
        ]
        if inside:
            mean_confidence = sum(c for c, _ in inside) / len(inside)
            accuracy = sum(right for _, right in inside) / len(inside)
            total += len(inside) / len(confidence) * abs(mean_confidence - accuracy)
    return total


def test_calibration_error_equals_a_loop_over_bins() -> None:
    generator = torch.Generator().manual_seed(0)
    confidence = torch.rand(3, 500, generator=generator, dtype=torch.float64)
    correct = torch.rand(3, 500, generator=generator) < 0.6
    expected = [_loop(confidence[k], correct[k]) for k in range(3)]
    assert calibration_error(confidence, correct).tolist() == pytest.approx(expected, rel=1e-9)


def test_the_bounds_of_confidence_have_bins() -> None:
    edges = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    assert calibration_error(edges, torch.tensor([[False, True]])).item() == 0.0
    assert calibration_error(edges, torch.tensor([[True, False]])).item() == 1.0


def test_fidelity_equals_a_loop_over_images() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(3, 50, 5, generator=generator, dtype=torch.float64)
    teacher = 3 * torch.randn(50, 5, generator=generator, dtype=torch.float64)
    following = fidelity(logits, teacher)
    for k in range(3):
        same, total = 0, 0.0
        for own, taught in zip(logits[k].tolist(), teacher.tolist(), strict=True):
            same += own.index(max(own)) == taught.index(max(taught))
            own_sum, taught_sum = (math.fsum(math.exp(z) for z in row) for row in (own, taught))
            for z, v in zip(own, taught, strict=True):
                p, q = math.exp(v) / taught_sum, math.exp(z) / own_sum
                total += p * math.log(p / q)
        assert float(following.agreement[k]) == pytest.approx(same / 50)
        assert float(following.divergence[k]) == pytest.approx(total / 50, rel=1e-9)


def test_a_copy_of_the_teacher_agrees_on_everything() -> None:
    teacher = torch.randn(30, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    # The second student says the same with other logits, the third what is least likely.
    following = fidelity(torch.stack([teacher, teacher + 7.0, -teacher]), teacher)
    assert following.agreement.tolist()[:2] == [1.0, 1.0]
    assert following.agreement[2] == 0.0
    assert following.divergence.tolist()[:2] == pytest.approx([0.0, 0.0], abs=1e-12)
    assert bool((following.divergence >= 0).all())


def test_clean_logits_of_a_network_and_of_students_have_their_shapes() -> None:
    generator = torch.Generator().manual_seed(0)
    data = Dataset(torch.randn(1700, 4, generator=generator), torch.zeros(1700, dtype=torch.int64), classes=3)
    member = MLP((4, 5, 3), generator).requires_grad_(False)
    students = StackedStudents([member, member])
    one = clean_logits(member, data)
    both = clean_logits(lambda images: students.predict(images).logits, data)
    assert torch.equal(one, member(data.images).double())
    torch.testing.assert_close(both, one.expand(2, -1, -1), rtol=1e-5, atol=1e-6)


def test_scores_take_less_memory_than_the_logits() -> None:
    logits, targets = torch.randn(16, 500, 40, dtype=torch.float64), torch.zeros(500, dtype=torch.long)
    assert peak_bytes(lambda: score_logits(logits, targets)) < logits.nbytes / 2
    assert peak_bytes(lambda: fidelity(logits, logits[0])) < logits.nbytes / 2
