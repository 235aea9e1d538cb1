"""Every rule with every objective, against loops over instances written from the papers' formulas in float64."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rltemp.objectives import dkd_loss, kd_loss
from rltemp.policies import make_policy

PROGRESS = 0.02
PROBE = torch.randn(4, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)

# One instance of a rule: teacher's and student's logits [C] to softened logits and the factor of the loss.
Rule = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor, Tensor]]


def shared(t: float | Tensor) -> Rule:
    return lambda zt, zs, i: (zt / t, zs / t, torch.as_tensor(t * t))


def dtkd(zt: Tensor, zs: Tensor, i: int) -> tuple[Tensor, Tensor, Tensor]:
    t_teacher = 2 * zt.max() / (zt.max() + zs.max()) * 4
    t_student = 2 * zs.max() / (zt.max() + zs.max()) * 4
    return zt / t_teacher, zs / t_student, t_teacher * t_student


def normkd(zt: Tensor, zs: Tensor, i: int) -> tuple[Tensor, Tensor, Tensor]:
    t_teacher, t_student = 2 * zt.std(), 2 * zs.std()
    return zt / t_teacher, zs / t_student, t_teacher**2


def lskd(zt: Tensor, zs: Tensor, i: int) -> tuple[Tensor, Tensor, Tensor]:
    def standardize(z: Tensor) -> Tensor:
        return (z - z.mean()) / (1e-7 + z.std())

    return standardize(zt) / 2, standardize(zs) / 2, torch.tensor(4.0)


def ttm(zt: Tensor, zs: Tensor, i: int) -> tuple[Tensor, Tensor, Tensor]:
    power = torch.softmax(zt, 0) ** (1 / 4)
    return torch.log(power / power.sum()), zs, torch.tensor(1.0)


def wttm(zt: Tensor, zs: Tensor, i: int) -> tuple[Tensor, Tensor, Tensor]:
    return *ttm(zt, zs, i)[:2], (torch.softmax(zt, 0) ** (1 / 4)).sum()


def influence(zt: Tensor, zs: Tensor, i: int) -> tuple[Tensor, Tensor, Tensor]:
    return shared([1.0, 4.0, 16.0][int(PROBE[i].argmax())])(zt, zs, i)


RULES: dict[str, Rule] = {
    "static": shared(4.0),
    "anneal": shared(16.0 * (1.0 / 16.0) ** PROGRESS),
    "ctkd": shared(1.0 + 20.0 * torch.sigmoid(torch.tensor(1.0, dtype=torch.float64))),
    "dtkd": dtkd,
    "normkd": normkd,
    "lskd": lskd,
    "ttm": ttm,
    "wttm": wttm,
    "influence": influence,
}


def kd_of_one(u: Tensor, v: Tensor, target: int) -> Tensor:
    p, q = torch.softmax(u, 0), torch.softmax(v, 0)
    return (p * (torch.log(p) - torch.log(q))).sum()


def dkd_of_one(u: Tensor, v: Tensor, target: int) -> Tensor:
    p, q = torch.softmax(u, 0), torch.softmax(v, 0)
    others = [j for j in range(len(u)) if j != target]
    p_no, q_no = p[others].sum(), q[others].sum()
    tckd = p[target] * torch.log(p[target] / q[target]) + p_no * torch.log(p_no / q_no)
    p_hat, q_hat = p[others] / p_no, q[others] / q_no
    return 1.0 * tckd + 8.0 * (p_hat * torch.log(p_hat / q_hat)).sum()


@pytest.mark.parametrize("classes", [10, 100, 1000])
@pytest.mark.parametrize("objective", ["kd", "dkd"])
@pytest.mark.parametrize("name", RULES)
def test_loss_and_gradient_equal_those_of_a_loop(name: str, objective: str, classes: int) -> None:
    generator = torch.Generator().manual_seed(classes)
    student = 2 * torch.randn(4, classes, generator=generator, dtype=torch.float64)
    teacher = 3 * torch.randn(4, classes, generator=generator, dtype=torch.float64)
    targets = torch.randint(classes, (4,), generator=generator)
    options = {"temperatures": (1.0, 4.0, 16.0)} if name == "influence" else {}
    policy = make_policy(name, **options)

    ours = student.clone().requires_grad_()
    temperatures = policy(ours, teacher, targets, PROGRESS, PROBE)
    if objective == "kd":
        losses = kd_loss(ours, teacher, temperatures)
    else:
        losses = dkd_loss(ours, teacher, targets, temperatures)
    losses.sum().backward()

    theirs = student.clone().requires_grad_()
    of_one = kd_of_one if objective == "kd" else dkd_of_one
    expected = []
    for i in range(4):
        u, v, scale = RULES[name](teacher[i], theirs[i], i)
        expected.append(scale * of_one(u, v, int(targets[i])))
    torch.stack(expected).sum().backward()

    assert losses.shape == (4,)
    for i in range(4):
        assert losses[i].item() == pytest.approx(expected[i].item(), rel=1e-6)
    assert ours.grad is not None
    assert theirs.grad is not None
    assert (ours.grad - theirs.grad).norm() < 1e-6 * theirs.grad.norm()
    if name == "lskd":  # the original adds 1e-7 to the deviation
        return
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-8, atol=1e-14)
