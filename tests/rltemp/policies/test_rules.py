"""What each rule answers, in closed form; what it does where its paper does not say."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import functional_call, stack_module_state

from rltemp.alignment import ALIGNMENT_TEMPERATURES
from rltemp.errors import InputError
from rltemp.objectives import dkd_loss, kd_loss
from rltemp.policies import TemperaturePolicy, list_policies, make_policy

LOGITS_ALONE = ["static", "anneal", "ctkd", "dtkd", "normkd", "lskd", "ttm", "wttm"]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_every_rule_is_listed_with_its_paper_and_made_without_options() -> None:
    listed = list_policies()
    assert list(listed) == [
        "static", "random", "anneal", "ctkd", "ctkd-instance", "dtkd", "normkd", "lskd", "ttm", "wttm", "adakd",
        "spread", "influence",
    ]  # fmt: skip
    alignment = draw(4, len(ALIGNMENT_TEMPERATURES))
    for name, line in listed.items():
        assert "\n" not in line
        assert line.endswith(")")
        policy = make_policy(name)
        temperatures = policy(draw(4, 6), draw(4, 6, seed=1), torch.arange(4), 0.5, alignment)
        assert len(temperatures) == 4
        assert policy.needs == ({"alignment"} if name == "influence" else frozenset())


def test_unknown_names_and_options_are_refused_with_what_there_is() -> None:
    with pytest.raises(InputError, match=r"policy must be one of static, random, .*, got 'statik'"):
        make_policy("statik")
    with pytest.raises(InputError, match="policy 'anneal' takes the options start, end, shape, scale, got 'ramp'"):
        make_policy("anneal", ramp=1)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("static", {"temperature": 0.0}),
        ("static", {"temperature": "4"}),
        ("random", {"low": 4.0, "high": 2.0}),
        ("anneal", {"end": -1.0}),
        ("anneal", {"shape": "step"}),
        ("anneal", {"scale": 0.0}),
        ("static", {"scale": "T"}),
        ("ctkd", {"ramp": 10}),
        ("ctkd-instance", {"hidden": 0}),
        ("ctkd-instance", {"classes": 1}),
        ("dtkd", {"temperature": math.inf}),
        ("normkd", {"norm": 0}),
        ("lskd", {"temperature": -2}),
        ("wttm", {"temperature": math.nan}),
        ("spread", {"start": 0.0}),
        ("spread", {"end": -1.0}),
        ("spread", {"scale": None}),
        ("spread", {"each": 1}),
        ("influence", {"temperatures": (1.0, 0.0)}),
        ("influence", {"temperatures": 4.0}),
    ],
)
def test_options_out_of_range_are_refused_by_name(name: str, options: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(reversed(options)))):
        make_policy(name, **options)


@pytest.mark.parametrize("progress", [0.0, 0.25, 1.0, torch.tensor(0.25), torch.tensor([0.0, 0.25, 1.0])])
def test_schedules_follow_progress(progress: float | Tensor) -> None:
    p = torch.as_tensor(progress, dtype=torch.float64).expand(3)
    linear = make_policy("anneal", start=16.0, end=1.0)(draw(3, 5), draw(3, 5), None, progress)
    cosine = make_policy("anneal", start=16.0, end=1.0, shape="cosine")(draw(3, 5), draw(3, 5), None, progress)
    assert linear.teacher.tolist() == pytest.approx([2 ** (4 * (1 - x)) for x in p.tolist()])
    assert cosine.teacher.tolist() == pytest.approx([8.5 + 7.5 * math.cos(math.pi * x) for x in p.tolist()])
    assert torch.equal(linear.scale, linear.student**2)


@pytest.mark.parametrize("name", ["static", "anneal"])
def test_a_scale_changes_how_much_the_loss_counts_and_nothing_else(name: str) -> None:
    usual, flat = (make_policy(name, **options)(draw(3, 5), draw(3, 5), None, 0.3) for options in ({}, {"scale": 9.0}))
    assert torch.equal(flat.teacher, usual.teacher)
    assert flat.scale.tolist() == [9.0] * 3


def test_random_draws_are_log_uniform_fresh_each_step_and_resumed() -> None:
    policy = make_policy("random", low=0.5, high=32.0, generator=torch.Generator().manual_seed(3))
    logits = torch.zeros(20_000, 2)
    exponents = policy(logits, logits).teacher.log2()
    assert exponents.min() >= -1.0
    assert exponents.max() <= 5.0
    counts = torch.histc(exponents, bins=6, min=-1, max=5) / 20_000
    assert (counts - 1 / 6).abs().max() < 4 * math.sqrt(5 / 36 / 20_000)  # 4 standard deviations

    twin, resumed = copy.deepcopy(policy), make_policy("random")
    resumed.load_state_dict(policy.state_dict())
    after = policy(logits, logits).teacher
    assert not torch.equal(after.log2(), exponents)
    assert torch.equal(twin(logits, logits).teacher, after)
    assert torch.equal(resumed(logits, logits).teacher, after)


def test_ctkd_starts_at_the_published_temperature() -> None:
    temperatures = make_policy("ctkd")(draw(3, 5), draw(3, 5))
    assert temperatures.teacher.tolist() == pytest.approx([1 + 20 / (1 + math.exp(-1))] * 3)
    assert temperatures.teacher[0].item() == pytest.approx(15.621, abs=5e-4)


@pytest.mark.parametrize("objective", ["kd", "dkd"])
@pytest.mark.parametrize(("epoch", "reversal"), [(1, -0.02447174), (5, -0.5), (10, -1.0), (11, -1.0), (240, -1.0)])
def test_ctkd_gets_the_plain_gradient_times_lambda(objective: str, epoch: int, reversal: float) -> None:
    student, teacher, targets = draw(6, 5), draw(6, 5, seed=1), torch.arange(6) % 5

    def loss(t: Tensor) -> Tensor:
        log_p, log_q = (torch.log_softmax(z / t, 1) for z in (teacher, student))
        p, q = log_p.exp(), log_q.exp()
        kl = (p * (log_p - log_q)).sum(1)
        if objective == "dkd":
            rows, others = torch.arange(6), 1 - torch.nn.functional.one_hot(targets, 5)
            p_y, q_y = p[rows, targets], q[rows, targets]
            p_o, q_o = p / (1 - p_y)[:, None], q / (1 - q_y)[:, None]
            tckd = p_y * (p_y / q_y).log() + (1 - p_y) * ((1 - p_y) / (1 - q_y)).log()
            kl = tckd + 8 * (others * p_o * (p_o / q_o).log()).sum(1)
        return (t * t * kl).mean()

    g = torch.ones((), dtype=torch.float64, requires_grad=True)
    (plain,) = torch.autograd.grad(loss(1 + 20 * torch.sigmoid(g)), g)

    policy = make_policy("ctkd").double()
    temperatures = policy(student, teacher, None, epoch / 240)
    if objective == "kd":
        kd_loss(student, teacher, temperatures).mean().backward()
    else:
        dkd_loss(student, teacher, targets, temperatures).mean().backward()
    (parameter,) = policy.parameters()
    assert parameter.grad is not None
    assert parameter.grad.item() == pytest.approx(reversal * plain.item(), rel=1e-6)


def test_ctkd_raises_the_loss_it_is_trained_on() -> None:
    student, teacher = draw(64, 10), draw(64, 10, seed=1)
    policy = make_policy("ctkd").double()
    optimizer = torch.optim.SGD(policy.parameters(), lr=0.05)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = kd_loss(student, teacher, policy(student, teacher, None, 1.0)).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses)
    assert losses[-1] > losses[0]


def test_ctkd_without_a_ramp_is_reversed_from_the_start() -> None:
    student, teacher = draw(4, 5), draw(4, 5, seed=1)
    gradients = []
    for ramp, progress in ((0.0, 0.0), (0.1, 0.1)):
        policy = make_policy("ctkd", ramp=ramp)
        kd_loss(student, teacher, policy(student, teacher, None, progress)).mean().backward()
        gradients.append(next(iter(policy.parameters())).grad)
    first, second = gradients
    assert first is not None
    assert second is not None
    assert torch.equal(first, second)


def test_ctkd_per_instance_differs_by_instance_and_teaches_its_network_alone() -> None:
    student, teacher = draw(6, 5).requires_grad_(), draw(6, 5, seed=1)
    policy = make_policy("ctkd-instance", classes=5).double()
    temperatures = policy(student, teacher, None, 1.0)
    assert temperatures.teacher.unique().numel() == 6
    assert 1.0 < temperatures.teacher.min() < temperatures.teacher.max() < 21.0
    (through_rule,) = torch.autograd.grad(temperatures.scale.sum(), student, retain_graph=True, allow_unused=True)
    assert through_rule is None
    kd_loss(student, teacher, temperatures).mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in policy.parameters())


def test_ctkd_per_instance_takes_shape_with_the_first_batch_and_from_a_generator() -> None:
    before = torch.random.get_rng_state()
    late, early = make_policy("ctkd-instance"), make_policy("ctkd-instance", classes=5)
    other = make_policy("ctkd-instance", classes=5, generator=torch.Generator().manual_seed(9))
    answers = [policy(draw(6, 5), draw(6, 5, seed=1)).teacher for policy in (late, early, other)]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not torch.equal(answers[1], answers[2])
    fresh = make_policy("ctkd-instance")
    fresh.load_state_dict(late.state_dict())
    assert torch.equal(fresh(draw(6, 5), draw(6, 5, seed=1)).teacher, answers[0])


def test_dtkd_shares_twice_tau_by_largest_logit() -> None:
    teacher, student = torch.tensor([[9.0, 1.0], [-1.0, -2.0]]), torch.tensor([[3.0, 0.0], [-3.0, -4.0]])
    temperatures = make_policy("dtkd", temperature=4.0)(student, teacher)
    assert temperatures.teacher.tolist() == pytest.approx([6.0, 2.0])  # a ratio of negative maxima is as good
    assert temperatures.student.tolist() == pytest.approx([2.0, 6.0])
    assert temperatures.scale.tolist() == pytest.approx([12.0, 12.0])


def test_dtkd_stays_positive_where_the_published_formula_does_not() -> None:
    # Published: 2 * 4 * 12 / (12 - 11.9) = 960 and -952.
    teacher, student = torch.tensor([[12.0, 0.0, 0.0]]), torch.tensor([[-11.9, -12.9, -13.9]])
    temperatures = make_policy("dtkd")(student, teacher)
    assert temperatures.teacher.item() == pytest.approx(8 * 8 / 9)  # maxima above the mean: 8 and 1
    assert temperatures.student.item() == pytest.approx(8 * 1 / 9)


@pytest.mark.parametrize(("teacher", "expected"), [([5.0, 5.0, 5.0], 4.0), ([3.0, 0.0, 0.0], 8.0)])
def test_dtkd_with_a_student_that_is_constant(teacher: list[float], expected: float) -> None:
    student = torch.zeros(1, 3, requires_grad=True)
    temperatures = make_policy("dtkd")(student, torch.tensor([teacher]))
    assert temperatures.teacher.item() == pytest.approx(expected, rel=1e-5)
    assert temperatures.student.item() > 0
    temperatures.scale.sum().backward()
    assert student.grad is not None
    assert bool(torch.isfinite(student.grad).all())


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 1000), st.floats(-30.0, 30.0), st.floats(-30.0, 30.0), st.floats(0.5, 10.0))
def test_dtkd_temperatures_add_up_to_twice_tau(seed: int, by_t: float, by_s: float, tau: float) -> None:
    temperatures = make_policy("dtkd", temperature=tau)(draw(3, 6, seed=seed) + by_s, draw(3, 6, seed=seed + 1) + by_t)
    torch.testing.assert_close(temperatures.teacher + temperatures.student, torch.full((3,), 2 * tau).double())


@pytest.mark.parametrize("name", ["normkd", "lskd"])
def test_spread_rules_divide_by_the_deviation(name: str) -> None:
    student, teacher = torch.tensor([[0.0, 2.0, 4.0]]), torch.tensor([[3.0, 0.0, -3.0]])  # deviations 2 and 3
    temperatures = make_policy(name)(student, teacher)
    assert temperatures.teacher.item() == pytest.approx(6.0)
    assert temperatures.student.item() == pytest.approx(4.0)
    assert temperatures.scale.item() == pytest.approx(36.0 if name == "normkd" else 4.0)


@pytest.mark.parametrize("name", ["normkd", "lskd"])
@pytest.mark.parametrize("level", [0.0, 1e4, -7.3])
def test_constant_logits_keep_a_temperature_and_a_gradient_of_ordinary_size(name: str, level: float) -> None:
    # A head that starts at zero is a student with constant logits: it must be able to leave.
    student = torch.full((2, 1000), level, requires_grad=True)
    temperatures = make_policy(name)(student, draw(2, 1000).float())
    assert temperatures.student.tolist() == [2.0, 2.0]
    kd_loss(student, draw(2, 1000).float(), temperatures).sum().backward()
    assert student.grad is not None
    assert 0 < student.grad.abs().max() < 100


def test_ttm_softens_the_teacher_alone_and_wttm_weighs_by_the_power_sum() -> None:
    teacher, student = torch.tensor([[0.0, 0.0, 0.0, 0.0], [90.0, 0.0, 0.0, 0.0]]), draw(2, 4).float()
    ttm, wttm = (make_policy(name, temperature=2.0)(student, teacher) for name in ("ttm", "wttm"))
    for temperatures in (ttm, wttm):
        assert temperatures.teacher.tolist() == [2.0, 2.0]
        assert temperatures.student.tolist() == [1.0, 1.0]
    assert ttm.scale.tolist() == [1.0, 1.0]
    assert wttm.scale.tolist() == pytest.approx([2.0, 1.0])  # C^(1 - 1/T) at a loss, 1 when sure


def test_influence_takes_the_best_column_and_its_default_where_all_are_equal() -> None:
    policy = make_policy("influence", temperatures=(1.0, 4.0, 16.0), default=3.0)
    alignment = torch.tensor([[0.1, 0.5, 0.2], [-3.0, -2.0, -1.0], [0.0, 0.0, 0.0], [0.7, 0.7, 0.7]])
    temperatures = policy(draw(4, 5), draw(4, 5), alignment=alignment)
    assert temperatures.teacher.tolist() == [4.0, 16.0, 3.0, 3.0]
    with pytest.raises(InputError, match="InfluencePolicy needs alignment, got None"):
        policy(draw(4, 5), draw(4, 5))
    with pytest.raises(InputError, match=r"alignment must have shape \[B, 3\], one per temperature, got \[4, 5\]"):
        policy(draw(4, 5), draw(4, 5), alignment=draw(4, 5))


@pytest.mark.parametrize(
    "name", ["static", "anneal", "ctkd", "ctkd-instance", "normkd", "lskd", "ttm", "wttm", "adakd", "spread"]
)
@settings(deadline=None, max_examples=15)
@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.integers(0, 1000))
def test_all_but_dtkd_are_blind_to_a_constant_added_to_the_logits(
    name: str, by_s: float, by_t: float, seed: int
) -> None:
    student, teacher, policy = draw(3, 6, seed=seed), draw(3, 6, seed=seed + 1), make_policy(name).double()
    plain, shifted = policy(student, teacher, None, 0.3), policy(student + by_s, teacher + by_t, None, 0.3)
    for field in ("teacher", "student", "scale"):
        torch.testing.assert_close(getattr(shifted, field), getattr(plain, field), rtol=1e-8, atol=0)


@pytest.mark.parametrize("name", LOGITS_ALONE)
def test_no_instance_sees_another(name: str) -> None:
    student, teacher, policy = draw(5, 6), draw(5, 6, seed=1), make_policy(name)
    order = torch.tensor([3, 0, 4, 1, 2])
    whole, moved = policy(student, teacher, None, 0.3), policy(student[order], teacher[order], None, 0.3)
    alone = policy(student[2:3], teacher[2:3], None, 0.3)
    torch.testing.assert_close(moved.teacher, whole.teacher[order], rtol=1e-12, atol=0)
    torch.testing.assert_close(alone.scale, whole.scale[2:3], rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["dtkd", "normkd", "lskd", "wttm"])
@pytest.mark.parametrize("case", ["published", "beyond", "flat teacher"])
def test_both_derivatives_of_a_rule_equal_numeric_ones(name: str, case: str) -> None:
    policy, student = make_policy(name), draw(3, 5)
    teacher = torch.zeros(3, 5, dtype=torch.float64) if case == "flat teacher" else draw(3, 5, seed=1)
    if case == "beyond":
        student, teacher = student - 20.0, teacher + 20.0

    def answer(student: Tensor, teacher: Tensor) -> tuple[Tensor, ...]:
        temperatures = policy(student, teacher)
        return temperatures.teacher, temperatures.student, temperatures.scale

    inputs = (student.requires_grad_(), teacher if case == "flat teacher" else teacher.requires_grad_())
    assert torch.autograd.gradcheck(answer, inputs)
    assert name == "wttm" or torch.autograd.gradgradcheck(answer, inputs)


@pytest.mark.parametrize("name", [*LOGITS_ALONE, "ctkd-instance", "adakd", "spread"])
def test_students_side_by_side_get_what_each_gets_alone(name: str) -> None:
    options = [{"classes": 6, "generator": torch.Generator().manual_seed(k)} for k in range(3)]
    policies = [make_policy(name, **(options[k] if name == "ctkd-instance" else {})).double() for k in range(3)]
    students, teacher = draw(3, 4, 6), draw(4, 6, seed=1)

    def loss(
        parameters: dict[str, Tensor], student: Tensor, policy: TemperaturePolicy = policies[0]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        temperatures = functional_call(policy, parameters, (student, teacher, None, 0.02))
        return kd_loss(student, teacher, temperatures).mean(), (temperatures.teacher, temperatures.scale)

    stacked, _ = stack_module_state(list(policies))
    stacked = {key: value.detach() for key, value in stacked.items()}
    gradients, answers = torch.vmap(torch.func.grad(loss, argnums=(0, 1), has_aux=True))(stacked, students)
    for k, policy in enumerate(policies):
        student = students[k].clone().requires_grad_()
        temperatures = policy(student, teacher, None, 0.02)
        torch.testing.assert_close(answers[0][k], temperatures.teacher, rtol=1e-12, atol=0)
        torch.testing.assert_close(answers[1][k], temperatures.scale, rtol=1e-12, atol=0)
        kd_loss(student, teacher, temperatures).mean().backward()
        torch.testing.assert_close(gradients[1][k], student.grad)
        for key, parameter in policy.named_parameters():
            torch.testing.assert_close(gradients[0][key][k], parameter.grad)


def test_random_draws_differ_between_students_side_by_side() -> None:
    policy = make_policy("random")
    answer = torch.vmap(lambda z: policy(z, z).teacher, randomness="different")(torch.zeros(3, 4, 5))
    assert answer.unique().numel() == 12
