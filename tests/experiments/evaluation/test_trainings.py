"""Policies stand each for itself, unless they are said to be trainings of one method, and are."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from rltemp import InputError, LearnedPolicy, LogitFeatures, save_policy
from rltemp.experiments.evaluation.specs import parse_policies, trained_policy
from rltemp.experiments.evaluation.trainings import check_names, parse_trainings


def save(folder: Path, *names: str, hidden: tuple[int, ...] = (4,), **options: Any) -> None:
    for name in names:
        save_policy(LearnedPolicy(LogitFeatures(), hidden, **options), folder / name / "policy")


def test_what_matches_is_one_group(tmp_path: Path) -> None:
    save(tmp_path, "a-1", "a-0", "b-0")
    specs = parse_trainings(f"mine={tmp_path}/a-*/policy")
    assert [(spec.group, spec.label.split("/")[-1]) for spec in specs] == [
        ("mine", "a-0 (logits)"),
        ("mine", "a-1 (logits)"),
    ]
    assert trained_policy(str(tmp_path / "b-0" / "policy")).group is None


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"low": 0.25}, "range of temperatures"),
        ({"high": 16.0}, "range of temperatures"),
        ({"scale": 4.0}, "scale"),
        ({"hidden": (5,)}, "hidden layers"),
    ],
)
def test_what_is_no_training_of_the_same_method_is_refused(tmp_path: Path, other: dict[str, Any], message: str) -> None:
    save(tmp_path, "a-0")
    save(tmp_path, "a-1", **other)
    with pytest.raises(InputError, match=rf"a-1/policy has the {message}.*a-0/policy has"):
        parse_trainings(f"mine={tmp_path}/a-*/policy")


def test_other_features_are_refused(tmp_path: Path) -> None:
    save(tmp_path, "a-0")
    save_policy(LearnedPolicy(LogitFeatures(["progress"]), (4,)), tmp_path / "a-1" / "policy")
    with pytest.raises(InputError, match="has the features"):
        parse_trainings(f"mine={tmp_path}/a-*/policy")


@pytest.mark.parametrize("text", ["", "mine", "=x", "mine=", "mine={0}/nothing-*", "mine={0}/a-0/policy", "mine={0}/*"])
def test_another_form_or_fewer_than_two_are_refused(tmp_path: Path, text: str) -> None:
    save(tmp_path, "a-0")
    with pytest.raises(InputError, match="--trainings"):
        parse_trainings(text.format(tmp_path))


def test_names_are_each_for_one(tmp_path: Path) -> None:
    save(tmp_path, "a-0", "a-1")
    specs = parse_trainings(f"mine={tmp_path}/a-*/policy")
    check_names([*specs, *parse_policies("static,dtkd")])
    with pytest.raises(InputError, match="each policy must be given once"):
        check_names([dataclasses.replace(specs[0], group=None), *specs])
    with pytest.raises(InputError, match="a name of its own"):
        check_names(parse_trainings(f"dtkd={tmp_path}/a-*/policy"))
    named = [dataclasses.replace(spec, group="preset(dtkd)") for spec in specs]
    with pytest.raises(InputError, match="a name of its own"):
        check_names([*named, *parse_policies("preset(dtkd)")])
