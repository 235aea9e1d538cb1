"""Several trainings of one method, to be judged as one: the interval then covers the luck of a training as well."""

from __future__ import annotations

import glob
from collections.abc import Sequence

from rltemp.errors import InputError
from rltemp.experiments.evaluation.specs import PolicySpec, trained_policy
from rltemp.policies import list_policies
from rltemp.policies.artifact import load_policy

__all__ = ["check_names", "parse_trainings"]


def parse_trainings(text: str) -> list[PolicySpec]:
    """The policies of "NAME=GLOB", in the order of their paths, as one group.

    Raises:
        InputError: for another form, fewer than two policies, or policies that differ in more than their weights.
    """
    name, equals, pattern = text.partition("=")
    if not (name.strip() and equals and pattern):
        raise InputError(f"--trainings must read NAME=GLOB, got {text!r}")
    paths = sorted(glob.glob(pattern))
    if len(paths) < 2:
        raise InputError(f"--trainings {name} must match two policies or more, {pattern} matches {len(paths)}")
    _check_alike(name, paths)
    return [trained_policy(path, name.strip()) for path in paths]


def check_names(specs: Sequence[PolicySpec]) -> None:
    """Refuse a policy that is given twice, and trainings that are called like something else.

    Raises:
        InputError: naming the first of them.
    """
    groups: dict[str, str | None] = {}
    for spec in specs:
        if spec.name in groups:
            raise InputError(f"each policy must be given once, got {spec.label} alone and in trainings, or in several")
        groups[spec.name] = spec.group
    taken = groups.keys() | {spec.label for spec in specs if spec.group is None} | list_policies().keys()
    if clash := sorted(taken & {group for group in groups.values() if group is not None}):
        raise InputError(f"--trainings must have a name of its own, got {clash[0]!r}, which is a policy's")


def _check_alike(name: str, paths: Sequence[str]) -> None:
    policies = [load_policy(path) for path in paths]
    first, *others = (
        {"features": one.features.names, **one.actions.named(), "hidden layers": one.hidden} for one in policies
    )
    for path, other in zip(paths[1:], others, strict=True):
        for what, want in first.items():
            if (got := other[what]) != want:
                raise InputError(
                    f"--trainings {name} must match trainings of one method: {path} has the {what} {got}, "
                    f"{paths[0]} has {want}"
                )
