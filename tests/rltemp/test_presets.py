import pytest
import torch
import torch.nn.functional as F

from rltemp.errors import InputError
from rltemp.objectives import DKD, KD
from rltemp.presets import list_presets, make_preset


def test_every_preset_is_listed_and_trains() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (3 * torch.randn(4, 6, generator=generator) for _ in range(2))
    for name, line in list_presets().items():
        assert line.endswith(")")
        leaf = student.clone().requires_grad_()
        make_preset(name).loss()(leaf, teacher, torch.arange(4), progress=0.5).backward()
        assert leaf.grad is not None
        assert bool(torch.isfinite(leaf.grad).all())
        assert leaf.grad.norm() > 0


@pytest.mark.parametrize(
    ("name", "policy", "ce", "kd", "plain", "warmup", "objective"),
    [
        ("kd-cifar", "static", 0.1, 0.9, 0.0, 0.0, KD()),
        ("kd-imagenet", "static", 0.5, 0.5, 0.0, 0.0, KD()),
        ("dkd", "static", 1.0, 1.0, 0.0, 20 / 240, DKD(1.0, 8.0)),
        ("ctkd", "ctkd", 0.1, 0.9, 0.0, 0.0, KD()),
        ("dtkd", "dtkd", 1.0, 3.0, 1.0, 20 / 240, KD()),
        ("normkd-cifar", "normkd", 0.1, 0.9, 0.0, 0.0, KD()),
        ("normkd-imagenet", "normkd", 0.5, 0.5, 0.0, 0.0, KD()),
        ("lskd", "lskd", 0.1, 9.0, 0.0, 0.0, KD()),
        ("lskd-dkd", "lskd", 1.0, 1.0, 0.0, 20 / 240, DKD(9.0, 72.0)),
        ("ttm", "ttm", 1.0, 45.0, 0.0, 0.0, KD()),
    ],
)
def test_the_weights_are_the_published_ones(
    name: str, policy: str, ce: float, kd: float, plain: float, warmup: float, objective: object
) -> None:
    preset = make_preset(name)
    assert (preset.policy, preset.ce_weight, preset.kd_weight, preset.plain_weight) == (policy, ce, kd, plain)
    assert preset.warmup == warmup
    assert preset.objective == objective


@pytest.mark.parametrize(
    ("pair", "alpha", "beta"), [("R56-R20", 1.0, 0.5), ("W40_2-ShuV1", 2.0, 0.5), ("R50-MV2", 3.0, 2.0)]
)
def test_dtkd_by_pair(pair: str, alpha: float, beta: float) -> None:
    preset = make_preset("dtkd", pair)
    assert (preset.kd_weight, preset.plain_weight) == (alpha, beta)


@pytest.mark.parametrize(("pair", "beta"), [("R110-R32", 2.0), ("VGG13-MV2", 6.0), ("R32x4-R8x4", 8.0)])
def test_dkd_by_pair(pair: str, beta: float) -> None:
    assert make_preset("dkd", pair).objective == DKD(1.0, beta)
    assert make_preset("lskd-dkd", pair).objective == DKD(9.0, 9.0 * beta)


def test_presets_are_told_apart_and_can_be_keys() -> None:
    presets = {make_preset(name): name for name in list_presets()}
    assert list(presets.values()) == list(list_presets())


@pytest.mark.parametrize(("epoch", "fade"), [(1, 0.05), (10, 0.5), (20, 1.0), (240, 1.0)])
def test_dtkd_is_its_papers_sum(epoch: int, fade: float) -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(5, 7, generator=generator, dtype=torch.float64) for _ in range(2))
    targets = torch.arange(5)
    m_t, m_s = teacher.amax(1, keepdim=True), student.amax(1, keepdim=True)
    t_t, t_s = 8 * m_t / (m_t + m_s), 8 * m_s / (m_t + m_s)
    p, log_q = torch.softmax(teacher / t_t, 1), torch.log_softmax(student / t_s, 1)
    dtkd = ((p * (p.log() - log_q)).sum(1, keepdim=True) * t_t * t_s).mean()
    p, log_q = torch.softmax(teacher / 4, 1), torch.log_softmax(student / 4, 1)
    kd = 16 * (p * (p.log() - log_q)).sum(1).mean()
    expected = fade * (3 * dtkd + kd) + F.cross_entropy(student, targets)
    loss = make_preset("dtkd").loss()(student, teacher, targets, progress=epoch / 240)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)


@pytest.mark.parametrize(("epochs", "share"), [(240, 20 / 240), (480, 20 / 480), (100, 0.2), (20, 1.0), (5, 1.0)])
def test_a_warmup_is_twenty_epochs_long_in_runs_of_every_length(epochs: int, share: float) -> None:
    assert make_preset("dkd").for_run(epochs).warmup == pytest.approx(share)
    assert make_preset("kd-cifar").for_run(epochs) == make_preset("kd-cifar")


def test_a_run_has_at_least_an_epoch() -> None:
    with pytest.raises(InputError, match="epochs must be >= 1, got 0"):
        make_preset("dkd").for_run(0)


def test_options_of_the_rule_go_over_the_presets() -> None:
    assert make_preset("kd-cifar").loss(temperature=2.0).policy.temperature == 2.0


def test_two_losses_of_a_preset_share_no_parameter() -> None:
    preset = make_preset("ctkd")
    (first,), (second,) = preset.loss().parameters(), preset.loss().parameters()
    assert first is not second


def test_unknown_names_and_pairs_are_refused_with_what_there_is() -> None:
    with pytest.raises(InputError, match=r"preset must be one of kd-cifar, .*got 'kd'"):
        make_preset("kd")
    with pytest.raises(InputError, match=r"the preset 'dtkd' has values for \(R56-R20, .*\), got 'R8-R4'"):
        make_preset("dtkd", "R8-R4")
    with pytest.raises(InputError, match=r"'lskd' has values for \(none\)"):
        make_preset("lskd", "R56-R20")
