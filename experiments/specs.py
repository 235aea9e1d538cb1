"""Policies as a person names them: a rule, a rule with options, or the folder of a trained policy.

static                      every static temperature of the usual grid; the best is chosen on validation data
anneal                      every schedule of the usual grid, likewise
dtkd                        a rule with its defaults
anneal(start=8, end=2)      a rule with options
runs/digits/policy          a trained policy
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rltemp.errors import InputError
from rltemp.experiments.results import Family
from rltemp.policies import list_policies, make_policy
from rltemp.policies.artifact import load_policy
from rltemp.policies.base import TemperaturePolicy
from rltemp.recipes.schema import PolicySpace
from rltemp.seeding import make_generator

__all__ = ["PolicySpec", "check_probe", "parse_policies", "parse_policy", "trained_policies", "trained_policy"]

STATIC_GRID = (1.0, 2.0, 3.0, 4.0, 8.0, 16.0, 32.0)
SCHEDULE_GRID = ((32.0, 1.0), (32.0, 2.0), (16.0, 0.5), (16.0, 1.0), (16.0, 2.0), (8.0, 1.0), (8.0, 2.0), (4.0, 1.0))

_STOCHASTIC = ("random",)
_FAMILIES: Mapping[str, Family] = {"static": "static", "anneal": "schedule", "random": "control"}
_CALL = re.compile(r"(?P<name>[\w-]+)\((?P<options>.*)\)")


@dataclass(frozen=True)
class PolicySpec:
    """A policy to evaluate.

    Attributes:
        name: unique within an evaluation.
        label: what people call it.
        family: what kind of policy it is.
        make: builds one for the student with a given seed.
        group: shared by trainings of one method that differ in the agent's seed.
    """

    name: str
    label: str
    family: Family
    make: Callable[[int], TemperaturePolicy]
    group: str | None = None


def parse_policies(text: str) -> list[PolicySpec]:
    """Policies from a comma-separated list; "all" stands for every rule.

    Raises:
        InputError: for an unknown rule or option, or a folder that holds no policy.
    """
    if not text.strip():
        raise InputError("policies must name at least one policy, got nothing")
    specs: dict[str, PolicySpec] = {}
    for item in _split(text):
        for spec in _expand(item):
            specs.setdefault(spec.name, spec)
    return list(specs.values())


def parse_policy(text: str) -> PolicySpec:
    """Exactly one policy.

    Raises:
        InputError: as `parse_policies`, or for none or several.
    """
    specs = [_rule(text, {}, text)] if text in list_policies() else parse_policies(text)
    if len(specs) != 1:
        raise InputError(f"policy must name one policy, got {text!r}, which names {len(specs)}")
    return specs[0]


def trained_policies(paths: Sequence[str]) -> list[PolicySpec]:
    """Trained policies: alone each for itself, several as trainings of one method."""
    return [trained_policy(path, "learned" if len(paths) > 1 else None) for path in paths]


def trained_policy(path: str, group: str | None = None) -> PolicySpec:
    """The policy in a folder, or one that comes with the package."""
    policy = load_policy(path)
    kind = "aligned" if "alignment" in policy.needs else "logits"
    # The digest tells a policy from another that was saved at the same place before.
    return PolicySpec(f"{path}@{_digest(policy)}", f"learned ({kind})", "trained", lambda seed: policy, group)


def check_probe(specs: Sequence[PolicySpec], space: PolicySpace) -> None:
    """Refuse policies that need a probe the recipe does not give.

    Raises:
        InputError: naming the first of them.
    """
    for spec in specs:
        if space.alignment == "none" and "alignment" in spec.make(0).needs:
            raise InputError(f"policy.alignment must be 'classifier' or 'network' for {spec.label}, got 'none'")


def _digest(policy: TemperaturePolicy) -> str:
    weights = b"".join(value.numpy().tobytes() for value in policy.state_dict().values())
    return hashlib.sha256(weights).hexdigest()[:8]


def _expand(item: str) -> list[PolicySpec]:
    if item == "all":
        return [spec for name in list_policies() for spec in _expand(name)]
    if item == "static":
        return [_rule("static", {"temperature": t}, f"T = {t:g}") for t in STATIC_GRID]
    if item == "anneal":
        return [_rule("anneal", {"start": a, "end": b}, f"T {a:g} → {b:g}") for a, b in SCHEDULE_GRID]
    if item in list_policies():
        return [_rule(item, {}, item)]
    if call := _CALL.fullmatch(item):
        return [_rule(call["name"], _options(call["options"], item), item)]
    return [trained_policy(item)]


def _rule(name: str, options: dict[str, Any], label: str) -> PolicySpec:
    def make(seed: int) -> TemperaturePolicy:
        if name in _STOCHASTIC:
            return make_policy(name, **options, generator=make_generator(seed, "policy"))
        return make_policy(name, **options)

    make(0)  # refuses a wrong option before any work starts
    listed = ", ".join(f"{key}={value!r}" for key, value in options.items())
    return PolicySpec(f"{name}({listed})" if listed else name, label, _FAMILIES.get(name, "rule"), make)


def _options(text: str, item: str) -> dict[str, Any]:
    """Keyword options, each a plain literal: nothing is evaluated."""
    options: dict[str, Any] = {}
    for part in filter(None, _split(text)):
        key, equals, value = part.partition("=")
        try:
            options[key.strip()] = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError) as error:
            if not equals:
                raise InputError(f"options of a policy must read name=value, got {part!r} in {item!r}") from error
            options[key.strip()] = value.strip()
    return options


def _split(text: str) -> list[str]:
    """Split at commas that stand outside parentheses."""
    return [part.strip() for part in re.split(r",(?![^()]*\))", text)]
