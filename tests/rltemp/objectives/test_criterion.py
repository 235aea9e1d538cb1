import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rltemp.errors import InputError
from rltemp.objectives import DKD, DistillationLoss
from rltemp.policies import make_policy


def draw(*shape: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plain_kd(student: Tensor, teacher: Tensor, t: float) -> Tensor:
    return t * t * F.kl_div(F.log_softmax(student / t, 1), F.softmax(teacher / t, 1), reduction="batchmean")


def test_the_total_is_the_weighted_sum() -> None:
    student, teacher, targets = draw(6, 5), draw(6, 5, seed=1), torch.arange(6) % 5
    parts = DistillationLoss(make_policy("static"), ce_weight=0.3, kd_weight=0.7).parts(student, teacher, targets)
    ce, kd = 0.3 * F.cross_entropy(student, targets), 0.7 * plain_kd(student, teacher, 4.0)
    assert parts.ce.item() == pytest.approx(ce.item(), rel=1e-12)
    assert parts.kd.item() == pytest.approx(kd.item(), rel=1e-12)
    assert parts.plain_kd.item() == 0.0
    assert parts.total.item() == pytest.approx((ce + kd).item(), rel=1e-12)
    assert parts.temperatures.teacher.tolist() == [4.0] * 6


@pytest.mark.parametrize("progress", [0.05, torch.tensor(0.05)])
def test_warm_up_fades_in_distillation_and_the_plain_term_but_not_labels(progress: float | Tensor) -> None:
    student, teacher, targets = draw(6, 5), draw(6, 5, seed=1), torch.arange(6) % 5
    loss = DistillationLoss(
        make_policy("static", temperature=2.0), ce_weight=1.0, kd_weight=3.0, warmup=0.1, plain_weight=0.5
    )
    parts = loss.parts(student, teacher, targets, progress)
    assert parts.ce.item() == pytest.approx(F.cross_entropy(student, targets).item(), rel=1e-12)
    assert parts.kd.item() == pytest.approx(0.5 * 3.0 * plain_kd(student, teacher, 2.0).item(), rel=1e-6)
    assert parts.plain_kd.item() == pytest.approx(0.5 * 0.5 * plain_kd(student, teacher, 4.0).item(), rel=1e-6)
    assert loss.parts(student, teacher, targets, 0.7).kd.item() == pytest.approx(2 * parts.kd.item(), rel=1e-6)


@pytest.mark.parametrize("objective", [None, DKD()])
def test_tokens_that_do_not_count_have_no_effect(objective: DKD | None) -> None:
    student, teacher = draw(2, 4, 6).requires_grad_(), draw(2, 4, 6, seed=1)
    targets = torch.arange(8).view(2, 4) % 6
    targets[0, 2] = targets[1, 1] = -100
    mask = torch.ones(2, 4, dtype=torch.bool)
    mask[1, 3] = False
    loss = DistillationLoss(make_policy("normkd"), objective)
    total = loss(student, teacher, targets, mask=mask)
    counts = (targets != -100) & mask
    expected = loss(student[counts], teacher[counts], targets[counts])
    torch.testing.assert_close(total, expected)
    (gradient,) = torch.autograd.grad(total, student)
    assert bool((gradient[~counts] == 0).all())
    assert bool((gradient[counts] != 0).any(-1).all())


def test_a_batch_where_nothing_counts_has_loss_zero() -> None:
    targets = torch.full((3,), -100)
    student = draw(3, 4).requires_grad_()
    total = DistillationLoss(make_policy("dtkd"))(student, draw(3, 4, seed=1), targets)
    total.backward()
    assert total.item() == 0.0
    assert student.grad is not None
    assert student.grad.abs().max().item() == 0.0


def test_labels_are_optional_without_cross_entropy() -> None:
    student, teacher = draw(3, 4), draw(3, 4, seed=1)
    loss = DistillationLoss(make_policy("static"), ce_weight=0.0, kd_weight=1.0)
    assert loss(student, teacher).item() == pytest.approx(plain_kd(student, teacher, 4.0).item(), rel=1e-12)
    with pytest.raises(InputError, match="targets must be given where ce_weight is > 0"):
        DistillationLoss(make_policy("static"))(student, teacher)


def test_a_learned_temperature_is_trained_saved_and_resumed_with_the_student() -> None:
    network, teacher, targets = nn.Linear(3, 5), draw(8, 5, seed=1).float(), torch.arange(8) % 5
    images = draw(8, 3, seed=2).float()
    loss = DistillationLoss(make_policy("ctkd"))
    optimizer = torch.optim.SGD([*network.parameters(), *loss.parameters()], lr=0.5)
    for _ in range(5):
        optimizer.zero_grad()
        loss(network(images), teacher, targets, progress=0.5).backward()
        optimizer.step()
    trained = loss.parts(network(images), teacher, targets).temperatures.teacher[0].item()
    assert trained != pytest.approx(15.621, abs=1e-3)
    resumed = DistillationLoss(make_policy("ctkd"))
    resumed.load_state_dict(copy.deepcopy(loss.state_dict()))
    assert resumed.parts(network(images), teacher, targets).temperatures.teacher[0].item() == trained


def test_autocast_and_half_precision_give_float32() -> None:
    student, teacher, targets = draw(4, 5).bfloat16(), draw(4, 5, seed=1).bfloat16(), torch.arange(4)
    loss = DistillationLoss(make_policy("dtkd"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total = loss(student, teacher, targets)
    assert total.dtype == torch.float32
    assert total.item() == loss(student.float(), teacher.float(), targets).item()


@pytest.mark.parametrize(
    ("targets", "mask", "message"),
    [
        (torch.zeros(4, dtype=torch.int64), None, r"targets must have shape \[2, 3\], got \[4\]"),
        (torch.full((2, 3), 7), None, r"lie in \[0, 4\), got values from 7 to 7"),
        (torch.zeros(2, 3, dtype=torch.int64), torch.ones(2, 3), "mask must be bool of shape"),
        (torch.zeros(2, 3, dtype=torch.int64), torch.ones(3, dtype=torch.bool), "mask must be bool of shape"),
    ],
)
def test_wrong_input_is_refused(targets: Tensor, mask: Tensor | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        DistillationLoss(make_policy("static"))(draw(2, 3, 4), draw(2, 3, 4), targets, mask=mask)
    with pytest.raises(InputError, match=r"shapes \[..., C\] that agree"):
        DistillationLoss(make_policy("static"))(draw(2, 3, 4), draw(6, 4), targets)


def test_wrong_weights_are_refused() -> None:
    with pytest.raises(InputError, match="kd_weight must be finite and >= 0, got -1"):
        DistillationLoss(make_policy("static"), kd_weight=-1.0)
    with pytest.raises(InputError, match="warmup must be finite and >= 0 and <= 1, got 20"):
        DistillationLoss(make_policy("static"), warmup=20)
