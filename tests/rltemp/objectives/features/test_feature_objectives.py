"""Objectives on features against loops over single numbers, written from the papers' formulas in float64."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from rltemp.errors import InputError
from rltemp.objectives import DistillationLoss
from rltemp.objectives.features import CRD, PKT, SP, SRRL, VID, Activations, FeatureDistillationLoss, FeatureObjective
from rltemp.policies import make_policy

B, C, N = 4, 5, 12
LABELS = torch.arange(N) % 3
INDICES = torch.tensor([1, 5, 9, 11])


def wave(*shape: int, phase: float) -> Tensor:
    """Fixed numbers without a generator, so that golden values outlive any change of one."""
    count = torch.arange(math.prod(shape), dtype=torch.float64)
    return (torch.sin(1.7 * count + phase) + 0.3 * torch.cos(0.4 * count)).view(shape)


def activations(phase: float, width: int, size: int) -> Activations:
    maps = (wave(B, 2, 2 * size, 2 * size, phase=phase + 1), wave(B, width, size, size, phase=phase + 2))
    return Activations(wave(B, C, phase=phase), wave(B, width, phase=phase + 3), maps)


STUDENT, TEACHER = activations(0.0, 3, 2), activations(5.0, 6, 4)


def fill(module: nn.Module) -> None:
    with torch.no_grad():
        for i, parameter in enumerate(module.parameters()):
            parameter.copy_(0.5 * wave(*parameter.shape, phase=float(i)))


def make(name: str) -> FeatureObjective:
    classifier = nn.Linear(6, C).double()
    fill(classifier)
    makers: dict[str, Callable[[], FeatureObjective]] = {
        "pkt": PKT,
        "sp": SP,
        "vid": lambda: VID([2, 3], [2, 6]),
        "crd": lambda: CRD(3, 6, N, LABELS, embedding=4, negatives=7),
        "srrl": lambda: SRRL(3, classifier),
    }
    objective = makers[name]()
    objective.double()
    for submodule in objective.children():
        fill(submodule)
    return objective


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def pkt_loop() -> float:
    def closeness(vectors: list[list[float]]) -> list[list[float]]:
        rows = [[(1 + cosine(a, b)) / 2 for b in vectors] for a in vectors]
        return [[x / sum(row) for x in row] for row in rows]

    p, q = closeness(TEACHER.vector.tolist()), closeness(STUDENT.vector.tolist())
    terms = [p[i][j] * math.log((p[i][j] + 1e-7) / (q[i][j] + 1e-7)) for i in range(B) for j in range(B)]
    return sum(terms) / B**2


def sp_loop() -> float:
    def similarity(maps: Tensor) -> list[list[float]]:
        rows = maps.flatten(1).tolist()
        gram = [[sum(x * y for x, y in zip(a, b, strict=True)) for b in rows] for a in rows]
        return [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in gram]

    ours, theirs = similarity(STUDENT.maps[-1]), similarity(TEACHER.maps[-1])
    return sum((ours[i][j] - theirs[i][j]) ** 2 for i in range(B) for j in range(B)) / B**2


def pool(maps: Tensor) -> Tensor:
    """Means of 2 x 2 blocks."""
    return (maps[:, :, ::2, ::2] + maps[:, :, 1::2, ::2] + maps[:, :, ::2, 1::2] + maps[:, :, 1::2, 1::2]) / 4


def vid_loop() -> float:
    objective, total = make("vid"), 0.0
    assert isinstance(objective, VID)
    for layer in range(2):
        first, second, third = (objective.regressors[layer].get_submodule(str(i)) for i in (0, 2, 4))
        weights = [convolution.get_parameter("weight").detach()[:, :, 0, 0] for convolution in (first, second, third)]
        scale, teacher = objective.scales[layer].detach(), pool(TEACHER.maps[layer])
        _, channels, high, wide = teacher.shape
        terms = []
        for b in range(B):
            for y in range(high):
                for x in range(wide):
                    hidden = STUDENT.maps[layer][b, :, y, x]
                    mean = weights[2] @ (weights[1] @ (weights[0] @ hidden).clamp(min=0)).clamp(min=0)
                    for c in range(channels):
                        v = math.log(1 + math.exp(scale[c].item())) + 1e-5
                        error = teacher[b, c, y, x].item() - mean[c].item()
                        terms.append(0.5 * (error**2 / v + math.log(v)))
        total += sum(terms) / len(terms)
    return total


def srrl_loop() -> float:
    objective = make("srrl")
    assert isinstance(objective, SRRL)
    weight = objective.connector[0].get_parameter("weight").detach()[:, :, 0, 0]
    scale, shift = (objective.connector[1].get_parameter(name).detach() for name in ("weight", "bias"))
    maps = torch.einsum("oc,bchw->bohw", weight, STUDENT.maps[-1])
    translated = torch.zeros(B, 6, dtype=torch.float64)
    for c in range(6):
        values = maps[:, c].flatten()
        mean = values.mean()
        deviation = ((values - mean).square().mean() + 1e-5).sqrt()
        for b in range(B):
            translated[b, c] = ((maps[b, c] - mean) / deviation * scale[c] + shift[c]).clamp(min=0).mean()
    matching = [(translated[b, c] - TEACHER.maps[-1][b, c].mean()).item() ** 2 for b in range(B) for c in range(6)]
    w, bias = 0.5 * wave(C, 6, phase=0.0), 0.5 * wave(C, phase=1.0)
    regression = [
        (sum(w[k, c] * translated[b, c] for c in range(6)) + bias[k] - TEACHER.logits[b, k]).item() ** 2
        for b in range(B)
        for k in range(C)
    ]
    return sum(matching) / len(matching) + sum(regression) / len(regression)


def crd_loop() -> float:
    objective = make("crd")
    assert isinstance(objective, CRD)
    bank = {name: objective.bank.get_buffer(name).clone() for name in ("student", "teacher")}
    drawn = objective.bank.draw(INDICES, 7)  # the first draw of the generator

    def embed(layer: nn.Linear, vector: Tensor) -> Tensor:
        embedded = layer.weight @ vector + layer.bias
        return embedded / embedded.square().sum().sqrt()

    total = 0.0
    for layer, mine, other in (
        (objective.embed_student, STUDENT, "teacher"),
        (objective.embed_teacher, TEACHER, "student"),
    ):
        closeness = [
            [
                math.exp((embed(layer, mine.vector[b]) @ bank[other][i]).item() / 0.07)
                for i in [int(INDICES[b]), *drawn[b].tolist()]
            ]
            for b in range(B)
        ]
        z = sum(map(sum, closeness)) / (B * 8) * N
        for row in closeness:
            h = [x / z for x in row]
            noise = 7 / N
            total -= math.log(h[0] / (h[0] + noise + 1e-7))
            total -= sum(math.log(noise / (x + noise + 1e-7)) for x in h[1:])
    return total / B


LOOPS = {"pkt": pkt_loop, "sp": sp_loop, "vid": vid_loop, "crd": crd_loop, "srrl": srrl_loop}
GOLDEN = {"pkt": 0.12301951895100965, "sp": 0.47828881120238376, "vid": 0.08803067487405411, "srrl": 0.8796637158054792}
"""Values of the loops, taken once; CRD's depends on a generator."""


@pytest.mark.parametrize("name", LOOPS)
def test_value_equals_that_of_a_loop(name: str) -> None:
    loss = make(name)(STUDENT, TEACHER, INDICES)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(LOOPS[name](), rel=1e-9)


@pytest.mark.parametrize("name", GOLDEN)
def test_value_is_the_golden_one(name: str) -> None:
    assert make(name)(STUDENT, TEACHER, INDICES).item() == pytest.approx(GOLDEN[name], rel=1e-9)


@pytest.mark.parametrize(("name", "weight"), [("pkt", 3e4), ("sp", 3e3), ("vid", 1.0), ("crd", 0.8), ("srrl", 1.0)])
def test_weights_are_the_papers(name: str, weight: float) -> None:
    assert make(name).weight == weight
    assert FeatureDistillationLoss(DistillationLoss(make_policy("static")), make(name)).weight == weight


@pytest.mark.parametrize("name", LOOPS)
def test_the_students_gradient_is_that_of_finite_differences(name: str) -> None:
    leaf = (STUDENT.vector if name in ("pkt", "crd") else STUDENT.maps[-1]).clone().requires_grad_()
    objective = make(name)
    objective(STUDENT, TEACHER, INDICES)  # CRD's normalizer is a constant once the first batch has set it
    state = copy.deepcopy(objective.state_dict())

    def loss(values: Tensor) -> Tensor:
        objective.load_state_dict(state)
        student = Activations(STUDENT.logits, values if values.ndim == 2 else STUDENT.vector, STUDENT.maps)
        if values.ndim == 4:
            student = Activations(STUDENT.logits, STUDENT.vector, (STUDENT.maps[0], values))
        total: Tensor = objective(student, TEACHER, INDICES)
        return total

    (gradient,) = torch.autograd.grad(loss(leaf), leaf)
    direction = wave(*leaf.shape, phase=9.0)
    slope = (loss(leaf.detach() + 1e-6 * direction) - loss(leaf.detach() - 1e-6 * direction)) / 2e-6
    assert (gradient * direction).sum().item() == pytest.approx(slope.item(), rel=1e-4)


@pytest.mark.parametrize("policy", ["static", "ctkd", "dtkd"])
@pytest.mark.parametrize("name", LOOPS)
def test_any_policy_with_any_objective_trains_student_policy_and_side_modules(name: str, policy: str) -> None:
    distillation = DistillationLoss(make_policy(policy), ce_weight=0.1, kd_weight=0.9)
    criterion = FeatureDistillationLoss(distillation, make(name), weight=2.0)
    leaves = [value.clone().requires_grad_() for value in (STUDENT.logits, STUDENT.vector, *STUDENT.maps)]
    teacher_leaves = [value.clone().requires_grad_() for value in (TEACHER.vector, *TEACHER.maps)]
    student = Activations(leaves[0], leaves[1], tuple(leaves[2:]))
    teacher = Activations(TEACHER.logits, teacher_leaves[0], tuple(teacher_leaves[1:]))
    targets = torch.arange(B)

    before = copy.deepcopy(criterion.objective)
    total = criterion(student, teacher, targets, 1.0, indices=INDICES)
    expected = distillation(STUDENT.logits, TEACHER.logits, targets, 1.0) + 2.0 * before(STUDENT, TEACHER, INDICES)
    assert total.item() == pytest.approx(expected.item(), rel=1e-9)
    total.backward()
    assert any(leaf.grad is not None and leaf.grad.abs().sum() > 0 for leaf in leaves[1:])
    assert all(leaf.grad is None for leaf in teacher_leaves)
    for parameter in criterion.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["vid", "crd", "srrl"])
def test_side_modules_learn(name: str) -> None:
    objective = make(name)
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = objective(STUDENT, TEACHER, INDICES)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_negatives_are_of_other_classes_and_all_of_them_alike_often() -> None:
    crd = make("crd")
    assert isinstance(crd, CRD)
    drawn = crd.bank.draw(INDICES, 8000)
    for index, row in zip(INDICES, drawn, strict=True):
        assert bool((LABELS[row] != LABELS[index]).all())
        counts = row.bincount(minlength=N)[LABELS[index] != LABELS]
        assert counts.min() > 850  # 1000 expected, deviation 30
    alone = CRD(3, 6, N, negatives=7).bank.draw(INDICES, 2000)
    assert bool((alone != INDICES[:, None]).all())
    assert len(alone.unique()) == N


def test_the_bank_moves_towards_the_batch_and_resumes_with_it() -> None:
    crd = make("crd")
    assert isinstance(crd, CRD)
    before = crd.bank.get_buffer("teacher").clone()
    crd(STUDENT, TEACHER, INDICES)
    after = crd.bank.get_buffer("teacher")
    moved = (after != before).any(1)
    assert moved.nonzero().flatten().tolist() == INDICES.tolist()
    embedded = TEACHER.vector @ crd.embed_teacher.weight.T + crd.embed_teacher.bias
    mixed = 0.5 * before[INDICES] + 0.5 * embedded / embedded.norm(dim=1, keepdim=True)
    torch.testing.assert_close(after[INDICES], (mixed / mixed.norm(dim=1, keepdim=True)).detach())

    resumed = make("crd")
    resumed.load_state_dict(copy.deepcopy(crd.state_dict()))
    assert resumed(STUDENT, TEACHER, INDICES).item() == crd(STUDENT, TEACHER, INDICES).item()


@pytest.mark.parametrize("name", LOOPS)
def test_half_precision_and_autocast_are_computed_in_float32(name: str) -> None:
    def half(value: Activations) -> Activations:
        return Activations(
            value.logits.bfloat16(), value.vector.bfloat16(), tuple(one.bfloat16() for one in value.maps)
        )

    student, teacher = half(STUDENT), half(TEACHER)
    first, second = make(name).float(), make(name).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = first(student, teacher, INDICES)
    assert loss.dtype == torch.float32
    assert loss.item() == second(student.float(), teacher.float(), INDICES).item()


def test_srrl_keeps_the_teachers_classifier_frozen_and_out_of_the_file() -> None:
    objective = make("srrl")
    assert not any("teacher" in name for name in [*objective.state_dict(), *dict(objective.named_parameters())])


def test_wrong_input_is_refused() -> None:
    bare = Activations(STUDENT.logits, STUDENT.vector)
    with pytest.raises(InputError, match="maps of the student must be at least 1, got 0"):
        SP()(bare, TEACHER)
    with pytest.raises(InputError, match="one batch, got 4 and 3"):
        PKT()(bare, Activations(TEACHER.logits[:3], TEACHER.vector[:3]))
    with pytest.raises(InputError, match=r"vector must be .* got torch.float64 \[3, 3\]"):
        Activations(STUDENT.logits, STUDENT.vector[:3])
    with pytest.raises(InputError, match="features of the student must be finite"):
        PKT()(Activations(STUDENT.logits, STUDENT.vector / 0.0), TEACHER)
    with pytest.raises(InputError, match="indices must be given"):
        make("crd")(STUDENT, TEACHER)
    with pytest.raises(InputError, match=r"lie in \[0, 12\)"):
        make("crd")(STUDENT, TEACHER, INDICES + 1)
    with pytest.raises(InputError, match="student_channels and teacher_channels"):
        VID([2], [2, 6])
    with pytest.raises(InputError, match="at least two classes, got 1"):
        CRD(3, 6, N, torch.zeros(N, dtype=torch.int64))
