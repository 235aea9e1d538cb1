"""Policies as a person names them."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from rltemp import InputError, LearnedPolicy, LogitFeatures, list_policies, save_policy
from rltemp.distillation import Task
from rltemp.experiments.evaluation.specs import (
    SCHEDULE_GRID,
    STATIC_GRID,
    parse_policies,
    parse_policy,
    trained_policy,
)
from rltemp.objectives.method import Method
from rltemp.presets import make_preset
from rltemp.recipes import Recipe

LOGITS = torch.randn(4, 10, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(save_policy(LearnedPolicy(LogitFeatures()), tmp_path / "policy"))


def test_a_policy_that_says_the_weights_of_its_loss_is_used_in_that_loss(tmp_path: Path) -> None:
    weights = {"kd_weight": 0.9, "ce_weight": 1.0}
    policy = LearnedPolicy(LogitFeatures(["progress"]), (), scale_range=(1.0, 4.0), weights=weights)
    spec = trained_policy(str(save_policy(policy, tmp_path / "mine")))
    usual = Method(ce_weight=0.1, kd_weight=0.5)
    assert spec.loss(usual) == Method(ce_weight=1.0, kd_weight=0.9)
    assert trained_policy("rltemp/digits").loss(usual) == usual


def test_static_and_anneal_stand_for_their_grids() -> None:
    specs = parse_policies("static,anneal")
    assert [spec.family for spec in specs] == ["static"] * len(STATIC_GRID) + ["schedule"] * len(SCHEDULE_GRID)
    assert torch.equal(specs[3].make(0)(LOGITS, LOGITS).student, torch.full((4,), STATIC_GRID[3]))


def test_options_reach_the_rule() -> None:
    (spec,) = parse_policies("anneal(start=8, end=2.0, shape=cosine)")
    policy = spec.make(0)
    assert torch.allclose(policy(LOGITS, LOGITS, progress=0.5).student, torch.full((4,), 5.0))
    assert spec.family == "schedule"


@pytest.mark.parametrize(
    ("text", "label", "family"),
    [
        ("static(temperature=2, scale=16)", "T = 2, scale 16", "static"),
        ("anneal(start=8, end=1, scale=32)", "T 8 → 1, scale 32", "schedule"),
        ("spread(end=0.5, scale=3, each=True)", "spread(end=0.5, scale=3, each=True)", "rule"),
    ],
)
def test_with_a_scale_of_its_own_a_rule_stays_in_its_family_and_says_so(text: str, label: str, family: str) -> None:
    (spec,) = parse_policies(text)
    assert (spec.label, spec.family) == (label, family)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("static(temperature=2, kd_weight=3)", "T = 2, weight 3"),
        ("static(temperature=2, kd_weight=0.5, scale=4)", "T = 2, scale 4, weight 0.5"),
        ("anneal(start=8, end=1, kd_weight=3)", "T 8 → 1, weight 3"),
        ("anneal(start=8, end=1, shape=cosine, kd_weight=3)", "anneal(start=8, end=1, shape='cosine', kd_weight=3)"),
        ("dtkd(kd_weight=3)", "dtkd(kd_weight=3)"),
        ("random(kd_weight=3)", "random(kd_weight=3)"),
        ("static(temperature=2, ce_weight=0.25)", "T = 2, labels 0.25"),
        ("anneal(start=8, end=1, ce_weight=2, kd_weight=3)", "T 8 → 1, weight 3, labels 2"),
        ("dtkd(ce_weight=0)", "dtkd(ce_weight=0)"),
    ],
)
def test_the_weights_of_distillation_and_labels_are_options_of_every_rule_and_are_told(text: str, label: str) -> None:
    (spec,), (plain,) = parse_policies(text), parse_policies(re.sub(r",? ?(kd|ce)_weight=[\d.]+", "", text))
    assert spec.label == label
    assert spec.name != plain.name
    assert spec.family == plain.family
    assert torch.equal(spec.make(3)(LOGITS, -LOGITS).student, plain.make(3)(LOGITS, -LOGITS).student)
    usual = Method(ce_weight=0.3, kd_weight=0.7, warmup=0.2)
    given: dict[str, Any] = {key: float(value) for key, value in re.findall(r"(\w\w_weight)=([\d.]+)", text)}
    assert given
    assert spec.loss(usual) == dataclasses.replace(usual, **given)
    assert plain.loss(usual) == usual


@pytest.mark.parametrize("weight", ["kd_weight", "ce_weight"])
def test_every_rule_takes_a_weight_and_no_preset_does(weight: str) -> None:
    usual = Method(kd_weight=0.7, ce_weight=0.3)
    for name in list_policies():
        assert getattr(parse_policy(f"{name}({weight}=0)").loss(usual), weight) == 0.0
        assert parse_policy(name).loss(usual) == usual
    with pytest.raises(InputError, match="preset"):
        parse_policies(f"preset(dtkd, {weight}=2)")


def test_all_names_every_rule_once() -> None:
    names = [spec.name for spec in parse_policies("all,static")]
    assert len(names) == len(set(names))
    assert {name.split("(")[0] for name in names} == {*list_policies(), "preset"}


def test_a_preset_brings_its_loss() -> None:
    (spec,) = parse_policies("preset(lskd)")
    assert spec.method is not None
    assert spec.method.kd_weight == 9.0
    assert spec.label == "preset(lskd)"


def test_a_preset_takes_another_warmup_or_a_pair() -> None:
    plain, longer = parse_policies("preset(dkd),preset(dkd, warmup=1)")
    assert (longer.label, longer.name, longer.family) == (*["preset(dkd, warmup=1)"] * 2, "rule")
    assert plain.method is not None
    assert (plain.label, plain.name) == ("preset(dkd)", "preset(dkd)@20-epochs")
    assert longer.method == _method(plain.method, 1.0)
    assert longer.method is not None
    assert (longer.method.fade(0.25), plain.method.fade(0.25)) == (0.25, 1.0)
    (both,) = parse_policies("preset(dtkd,pair=R56-R20,warmup=0.5)")
    assert both.label == "preset(dtkd, pair=R56-R20, warmup=0.5)"
    assert both.method == _method(make_preset("dtkd", "R56-R20"), 0.5)


def _method(preset: Method, warmup: float) -> Method:
    values = {part.name: getattr(preset, part.name) for part in dataclasses.fields(Method)}
    return Method(**{**values, "warmup": warmup})


def test_the_warmup_of_a_preset_follows_the_run_and_one_that_was_asked_for_does_not(tiny_task: Task) -> None:
    seen = {}
    for epochs in (5, 240):
        task = dataclasses.replace(tiny_task, optimization=dataclasses.replace(tiny_task.optimization, epochs=epochs))
        for policy in ("preset(dkd)", "preset(dkd, warmup=0.25)"):
            run = parse_policy(policy).start(task, [0], Recipe().policy).run
            seen[policy, epochs] = run.method.warmup
    assert seen == {
        ("preset(dkd)", 5): 1.0,
        ("preset(dkd)", 240): pytest.approx(20 / 240),
        ("preset(dkd, warmup=0.25)", 5): 0.25,
        ("preset(dkd, warmup=0.25)", 240): 0.25,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("kd_weight=2", r"preset\(dkd\) takes the options pair and warmup, got 'kd_weight'"),
        ("warmup=2", "warmup must be finite and >= 0 and <= 1"),
        ("warmup=long", "warmup must be a number, got str"),
        ("1", "must read name=value"),
        ("pair=A-B", "pair must be one of those the preset 'dkd' has values for"),
    ],
)
def test_wrong_options_of_a_preset_are_refused(options: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_policies(f"preset(dkd, {options})")


def test_without_distillation_the_labels_are_all_there_is() -> None:
    (spec,) = parse_policies("no-kd")
    assert (spec.name, spec.label, spec.family) == ("no-kd", "labels alone", "control")
    assert spec.method is not None
    targets, temperatures = torch.tensor([1, 5, 0, 9]), spec.make(0)(LOGITS, -LOGITS)
    losses = spec.method.losses(LOGITS, -LOGITS, targets, temperatures, 0.5)
    expected = [-float(row.double().log_softmax(0)[y]) for row, y in zip(LOGITS, targets, strict=True)]
    assert losses.tolist() == pytest.approx(expected, rel=1e-5)
    assert parse_policy("no-kd").name == "no-kd"


def test_a_random_policy_draws_by_the_students_seed() -> None:
    (spec,) = parse_policies("random")
    first, again, other = (spec.make(seed)(LOGITS, LOGITS).student for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_trained_policy_is_told_from_another_at_the_same_place(folder: str) -> None:
    before = parse_policy(folder)
    policy = LearnedPolicy(LogitFeatures())
    policy.load_state_dict({name: value + 0.1 for name, value in policy.state_dict().items()})
    save_policy(policy, folder, overwrite=True)
    after = parse_policy(folder)
    assert before.family == after.family == "trained"
    assert before.name != after.name


@pytest.mark.parametrize(
    ("features", "kind"),
    [(["progress"], "schedule"), (["progress", "teacher_margin"], "logits"), (["alignment_4"], "aligned")],
)
def test_a_trained_policy_is_called_by_what_it_looks_at(features: list[str], kind: str, tmp_path: Path) -> None:
    path = save_policy(LearnedPolicy(LogitFeatures(features)), tmp_path / "mine" / "policy")
    assert parse_policy(str(path)).label.endswith(f"mine ({kind})")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("statik", "which does not exist"),
        ("static(temprature=4)", "takes the options temperature"),
        ("static(4)", "must read name=value"),
        ("random(generator=3)", "takes no generator"),
        ("static(temperature=-1)", "temperature must be"),
        ("static(temperature=__import__('os'))", "temperature must be"),
        ("", "policy must name a policy, got nothing"),
        ("static(kd_weight=-1)", "kd_weight must be finite and >= 0"),
        ("dtkd(kd_weight=1e999)", "kd_weight must be finite"),
        ("dtkd(kd_weight=True)", "kd_weight must be a number, got bool"),
        ("dtkd(kd_weight=much)", "kd_weight must be a number, got str"),
        ("lskd(ce_weight=-0.1)", "ce_weight must be finite and >= 0"),
        ("dtkd(kd_wait=3)", "got 'kd_wait'"),
    ],
)
def test_a_wrong_name_is_one_clear_error(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_policies(text)


def test_one_policy_is_one_policy() -> None:
    assert parse_policy("static").name == "static"
    with pytest.raises(InputError, match="names 2"):
        parse_policy("dtkd,normkd")
