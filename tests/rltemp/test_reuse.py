"""A policy and its loss in anybody's loop: devices, autocast, compilers, transforms, data parallelism, tokens."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.nn.parallel import DistributedDataParallel
from torch.profiler import ProfilerActivity, profile

import rltemp

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


def trained(names: tuple[str, ...] = rltemp.LogitFeatures().names) -> rltemp.LearnedPolicy:
    policy = rltemp.LearnedPolicy(rltemp.LogitFeatures(names), (8,))
    generator = torch.Generator().manual_seed(3)
    for parameter in policy.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return policy


def make(name: str) -> rltemp.TemperaturePolicy:
    return trained() if name == "learned" else rltemp.make_policy(name)


def batch(*shape: int, classes: int = 10) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (3 * torch.randn(*shape, classes, generator=generator) for _ in range(2))
    return student, teacher, torch.randint(classes, shape, generator=generator)


@pytest.mark.parametrize("device", DEVICES)
def test_a_saved_policy_serves_a_plain_loop(tmp_path: Path, device: str) -> None:
    rltemp.save_policy(trained(), tmp_path / "policy")
    student_logits, teacher_logits, targets = (value.to(device) for value in batch(6))
    student_logits.requires_grad_()

    policy = rltemp.load_policy(tmp_path / "policy").to(device)
    temperatures = policy(student_logits, teacher_logits, targets, 0.5)
    loss = rltemp.kd_loss(student_logits, teacher_logits, temperatures).mean()
    loss.backward()

    t = temperatures.teacher[:, None]
    p, q = F.softmax(teacher_logits / t, 1), F.softmax(student_logits / t, 1)
    assert temperatures.teacher.std() > 0.1
    expected = t * (q - p) / 6  # the gradient of T^2 KL
    assert student_logits.grad is not None
    torch.testing.assert_close(student_logits.grad, expected.detach(), rtol=1e-4, atol=1e-6)


def test_a_policy_states_whether_it_needs_targets() -> None:
    student, teacher, _ = batch(6)
    blind = trained(("teacher_confidence", "student_entropy", "progress"))
    assert blind.needs == frozenset()
    assert len(blind(student, teacher)) == 6
    assert trained().needs == {"targets"}
    with pytest.raises(rltemp.InputError, match="needs targets"):
        trained()(student, teacher)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["learned", "ctkd", "dtkd", "normkd"])
def test_autocast_changes_neither_temperatures_nor_loss(name: str, device: str) -> None:
    student, teacher, targets = (value.to(device) for value in batch(6))
    loss = rltemp.DistillationLoss(make(name)).to(device)
    expected = loss.parts(student.bfloat16(), teacher.bfloat16(), targets, 0.5)
    with torch.autocast(device, dtype=torch.bfloat16):
        under = loss.parts(student.bfloat16(), teacher.bfloat16(), targets, 0.5)
    assert under.total.dtype == torch.float32
    assert torch.equal(under.total, expected.total)
    assert torch.equal(under.temperatures.teacher, expected.temperatures.teacher)


@pytest.mark.parametrize("name", ["learned", "ctkd", "dtkd"])
@pytest.mark.parametrize("whole", [False, True], ids=["kd_loss", "DistillationLoss"])
def test_policy_and_loss_compile_without_a_graph_break(name: str, whole: bool) -> None:
    policy = make(name)
    criterion = rltemp.DistillationLoss(policy)

    def loss(student: Tensor, teacher: Tensor, targets: Tensor, progress: Tensor) -> Tensor:
        if whole:
            total: Tensor = criterion(student, teacher, targets, progress)
            return total
        return rltemp.kd_loss(student, teacher, policy(student, teacher, targets, progress)).mean()

    student, teacher, targets = batch(6)
    gradients = []
    torch.compiler.reset()
    for step in (torch.compile(loss, fullgraph=True, backend="aot_eager"), loss):
        leaf = student.clone().requires_grad_()
        step(leaf, teacher, targets, torch.tensor(0.5)).backward()
        assert leaf.grad is not None
        gradients.append(leaf.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", [*(name for name in rltemp.list_policies() if name != "random"), "learned"])
def test_gradients_stack_over_many_students(name: str) -> None:
    policy = make(name)
    student, teacher, targets = batch(3, 6)
    alignment = torch.randn(3, 6, 7, generator=torch.Generator().manual_seed(1))
    aligned = alignment if "alignment" in policy.needs else None
    policy(student[0], teacher[0], targets[0], 0.5, aligned if aligned is None else aligned[0])
    criterion = rltemp.DistillationLoss(policy)

    def loss(student: Tensor, teacher: Tensor, targets: Tensor, alignment: Tensor) -> Tensor:
        total: Tensor = criterion(student, teacher, targets, 0.5, alignment if aligned is not None else None)
        return total

    stacked = vmap(grad(loss))(student, teacher, targets, alignment)
    for k in range(3):
        leaf = student[k].clone().requires_grad_()
        loss(leaf, teacher[k], targets[k], alignment[k]).backward()
        torch.testing.assert_close(stacked[k], leaf.grad, rtol=1e-4, atol=1e-6)


def train_ctkd(images: Tensor, teacher: Tensor, targets: Tensor, *, parallel: bool = False) -> list[Tensor]:
    """A student's weight and its learned temperature after three updates."""
    student = nn.Linear(3, 5)
    nn.init.ones_(student.weight)
    nn.init.zeros_(student.bias)
    loss = rltemp.DistillationLoss(rltemp.make_policy("ctkd"))
    networks: list[nn.Module] = [student, loss]
    if parallel:
        networks = [DistributedDataParallel(network) for network in networks]
    optimizer = torch.optim.SGD([p for network in networks for p in network.parameters()], lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        networks[1](networks[0](images), teacher, targets, 1.0).backward()
        optimizer.step()
    return [student.weight.detach(), loss.policy.get_parameter("logit").detach()]


def train_rank(rank: int, folder: Path) -> list[Tensor]:
    mine = slice(4 * rank, 4 * rank + 4)
    return train_ctkd(*(value[mine] for value in shared_batch()), parallel=True)


def shared_batch() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(8, 3, generator=generator), 3 * torch.randn(8, 5, generator=generator), torch.arange(8) % 5


def test_data_parallel_ranks_share_one_learned_temperature(
    in_two_ranks: Callable[[Callable[[int, Path], Any]], list[Any]],
) -> None:
    first, second = in_two_ranks(train_rank)
    alone = train_ctkd(*shared_batch())
    assert alone[1].item() != 1.0
    for ours, theirs, one in zip(first, second, alone, strict=True):
        assert torch.equal(ours, theirs)
        torch.testing.assert_close(ours, one, rtol=1e-4, atol=1e-6)


def test_pixels_are_instances_of_their_own() -> None:
    student, teacher, targets = batch(2, 4, 3)
    targets[0, 1] = -100
    loss = rltemp.DistillationLoss(trained(), ce_weight=0.0, kd_weight=1.0)
    terms = [
        rltemp.kd_loss(s[None], t[None], trained()(s[None], t[None], y[None], 0.5)).item()
        for s, t, y in zip(student.flatten(0, 2), teacher.flatten(0, 2), targets.flatten(), strict=True)
        if y != -100
    ]
    assert len(terms) == 21
    assert loss(student, teacher, targets, 0.5).item() == pytest.approx(sum(terms) / 21, rel=1e-5)


def peak_memory(step: Callable[[], Tensor]) -> int:
    """Most bytes alive at once in a forward and a backward pass."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step().backward()
    assert profiler.profiler is not None
    assert profiler.profiler.kineto_results is not None
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    alive = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        alive += event.nbytes()
        most = max(most, alive)
    return most


@pytest.mark.parametrize("name", ["learned", "static", "ctkd", "dtkd", "normkd"])
def test_tokens_of_a_large_vocabulary_take_little_more_memory_than_plain_distillation(name: str) -> None:
    student, teacher, targets = batch(2, 24, classes=50_000)
    targets[1, 16:] = -100  # padding
    student.requires_grad_()

    def plain() -> Tensor:
        counts = targets.flatten() != -100
        log_q = F.log_softmax(student.flatten(0, 1) / 4.0, 1)
        p = F.softmax(teacher.flatten(0, 1) / 4.0, 1)
        kl = F.kl_div(log_q, p, reduction="none").sum(1)
        ce = F.cross_entropy(student.flatten(0, 1), targets.flatten())
        return 0.1 * ce + 0.9 * 16.0 * (kl * counts).sum() / counts.sum()

    criterion = rltemp.DistillationLoss(make(name))
    if name == "static":
        assert criterion(student, teacher, targets).item() == pytest.approx(plain().item(), rel=1e-4)
    plain().backward()  # the first pass makes room for the gradient
    reference = peak_memory(plain)
    assert reference > 4 * student.numel() * 4
    assert peak_memory(lambda: criterion(student, teacher, targets, 0.5)) <= 1.2 * reference
