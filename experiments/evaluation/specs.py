"""Policies as a person names them: a rule, a rule with options, or the folder of a trained policy.

static                      every static temperature of the usual grid; the best is chosen on validation data
anneal                      every schedule of the usual grid, likewise
no-kd                       cross-entropy with the labels alone, no distillation
dtkd                        a rule with its defaults
anneal(start=8, end=2)      a rule with options; kd_weight and ce_weight, of distillation and labels, are every rule's
preset(dtkd)                the whole method of a paper: its rule, loss, weights, and warm-up in epochs
preset(dtkd, warmup=1)      the same with another warm-up, a share of the run; pair=R56-R20 has that pair's weights
runs/digits/policy          a trained policy
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rltemp.checks import check_number
from rltemp.errors import InputError
from rltemp.experiments.evaluation.policy_spec import PolicySpec
from rltemp.experiments.evaluation.results import Family
from rltemp.objectives.method import Method
from rltemp.policies import list_policies, make_policy
from rltemp.policies.artifact import load_policy
from rltemp.policies.controls import AnnealPolicy
from rltemp.policies.learned import LearnedPolicy
from rltemp.policies.policy import TemperaturePolicy
from rltemp.policies.static import StaticPolicy
from rltemp.presets import Preset, list_presets, make_preset
from rltemp.recipes.schema import PolicySpace
from rltemp.seeding import make_generator

__all__ = [
    "PolicySpec",
    "check_probe",
    "is_rule",
    "parse_call",
    "parse_policies",
    "parse_policy",
    "split_weights",
    "trained_policy",
]

STATIC_GRID = (1.0, 2.0, 3.0, 4.0, 8.0, 16.0, 32.0)
SCHEDULE_GRID = ((32.0, 1.0), (32.0, 2.0), (16.0, 0.5), (16.0, 1.0), (16.0, 2.0), (8.0, 1.0), (8.0, 2.0), (4.0, 1.0))

_WITHOUT = "no-kd"
_STOCHASTIC = ("random",)
_FAMILIES: Mapping[str, Family] = {"static": "static", "anneal": "schedule", "random": "control"}
_WEIGHTS = {"kd_weight": "weight", "ce_weight": "labels"}
"""Options of every rule, and what a table calls them."""
_CALL = re.compile(r"(?P<name>[\w-]+)\((?P<options>.*)\)")


def parse_policies(text: str) -> list[PolicySpec]:
    """Policies from a comma-separated list; "all" stands for every rule and every preset.

    Raises:
        InputError: for an unknown rule or option, or a folder that holds no policy.
    """
    if not text.strip():
        raise InputError("policy must name a policy, got nothing")
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
    specs = [_rule(text, {})] if text in list_policies() else parse_policies(text)
    if len(specs) != 1:
        raise InputError(f"policy must name one policy, got {text!r}, which names {len(specs)}")
    return specs[0]


def is_rule(text: str) -> bool:
    """Whether the text names anything but a trained policy, be it right or wrong."""
    return text in ("all", _WITHOUT, *list_policies()) or _CALL.fullmatch(text) is not None


def parse_call(text: str) -> tuple[str, dict[str, Any]]:
    """A name and its options, as NAME or NAME(option=value, ...).

    Raises:
        InputError: for options that do not read name=value.
    """
    call = _CALL.fullmatch(text)
    return (call["name"], _options(call["options"], text)) if call else (text, {})


def trained_policy(path: str, group: str | None = None) -> PolicySpec:
    """The policy in a folder, or one that comes with the package."""
    policy = load_policy(path)
    # The digest tells a policy from another that was saved at the same place before.
    return PolicySpec(
        f"{path}@{_digest(policy)}",
        f"{_called(path)} ({_kind(policy)})",
        "trained",
        _Same(policy),
        group,
        weights=policy.weights,
    )


def _kind(policy: LearnedPolicy) -> str:
    """What it looks at."""
    if policy.is_schedule:
        return "schedule"
    if policy.over_batch:
        return "batch"
    return "aligned" if "alignment" in policy.needs else "logits"


def check_probe(specs: Sequence[PolicySpec], space: PolicySpace) -> None:
    """Refuse policies that need a probe the recipe does not give.

    Raises:
        InputError: naming the first of them.
    """
    for spec in specs:
        if space.alignment == "none" and spec.needs_alignment:
            raise InputError(f"policy.alignment must be 'classifier' or 'network' for {spec.label}, got 'none'")


def _called(path: str) -> str:
    """What a table calls a trained policy: "rltemp/digits", or "digits/train" for runs/digits/train/policy."""
    parts = Path(path).parts
    if parts in ((), ("policy",)):
        parts = Path(path).resolve().parts
    return "/".join((parts[:-1] if parts[-1] == "policy" else parts)[-2:])


def _digest(policy: TemperaturePolicy) -> str:
    weights = b"".join(value.numpy().tobytes() for value in policy.state_dict().values())
    return hashlib.sha256(weights).hexdigest()[:8]


def _expand(item: str) -> list[PolicySpec]:
    if item == "all":
        rules = [spec for name in list_policies() for spec in _expand(name)]
        return [*rules, *(_preset(name) for name in list_presets() if not name.endswith("imagenet"))]
    if item == "static":
        return [_rule("static", {"temperature": t}) for t in STATIC_GRID]
    if item == "anneal":
        return [_rule("anneal", {"start": a, "end": b}) for a, b in SCHEDULE_GRID]
    if item == _WITHOUT:
        # A temperature for the form: the method has no distillation that it could act on.
        method = Method(ce_weight=1.0, kd_weight=0.0)
        return [PolicySpec(_WITHOUT, "labels alone", "control", _Rule("static", {}), method=method)]
    if item in list_policies():
        return [_rule(item, {})]
    if call := _CALL.fullmatch(item):
        if call["name"] == "preset":
            name, _, options = call["options"].partition(",")
            return [_preset(name.strip(), _options(options, item))]
        return [_rule(*parse_call(item))]
    return [trained_policy(item)]


@dataclass(frozen=True, eq=False)
class _Same:
    """Makes one and the same policy for all students. Unlike a closure it can be sent to another process."""

    policy: TemperaturePolicy

    def __call__(self, seed: int) -> TemperaturePolicy:
        return self.policy


@dataclass(frozen=True, eq=False)
class _Rule:
    """Makes a rule for each student; also fit to be sent."""

    name: str
    options: dict[str, Any]

    def __call__(self, seed: int) -> TemperaturePolicy:
        if self.name in _STOCHASTIC:
            return make_policy(self.name, **self.options, generator=make_generator(seed, "policy"))
        return make_policy(self.name, **self.options)


def _preset(name: str, options: Mapping[str, Any] = MappingProxyType({})) -> PolicySpec:
    if unknown := [key for key in options if key not in ("pair", "warmup")]:
        raise InputError(f"preset({name}) takes the options pair and warmup, got {unknown[0]!r}")
    preset = make_preset(name, options.get("pair"))
    rule = _rule(preset.policy, dict(preset.options))
    listed = "".join(f", {key}={value}" for key, value in options.items())
    item = f"preset({name}{listed})"
    if "warmup" in options:
        asked = check_number("warmup", options["warmup"], low=0.0, high=1.0)
        return replace(rule, name=item, label=item, family="rule", method=_method(replace(preset, warmup=asked)))
    # What was measured when warm-ups did not follow the length of a run was another method.
    version = "@20-epochs" if preset.warmup else ""
    return replace(rule, name=item + version, label=item, family="rule", method=preset)


def _method(preset: Preset) -> Method:
    """The loss of a preset alone, whose warm-up is a share of any run."""
    return Method(**{part.name: getattr(preset, part.name) for part in fields(Method)})


def _rule(name: str, options: dict[str, Any]) -> PolicySpec:
    if "generator" in options:
        raise InputError(f"{name} draws by the student's seed and takes no generator, got {options['generator']!r}")
    listed = ", ".join(f"{key}={value!r}" for key, value in options.items())
    weights, options = split_weights(options)
    make = _Rule(name, options)
    policy = make(0)  # refuses a wrong option before any work starts
    full = f"{name}({listed})" if listed else name
    label = _label(policy, full)
    if label != full:
        label += "".join(f", {_WEIGHTS[key]} {weight:g}" for key, weight in weights.items())
    return PolicySpec(full, label, _FAMILIES.get(name, "rule"), make, weights=weights)


def split_weights(options: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, Any]]:
    """The weights of the loss among options, and all others.

    Raises:
        InputError: for a weight < 0.
    """
    weights = {key: check_number(key, options[key], low=0.0) for key in _WEIGHTS if key in options}
    return weights, {key: value for key, value in options.items() if key not in _WEIGHTS}


def _label(policy: TemperaturePolicy, name: str) -> str:
    """What a table calls a rule."""
    if isinstance(policy, StaticPolicy):
        return f"T = {policy.temperature:g}{_scaled(policy.scale)}"
    if isinstance(policy, AnnealPolicy) and policy.shape == "log-linear":
        return f"T {policy.start:g} → {policy.end:g}{_scaled(policy.scale)}"
    return name


def _scaled(scale: float | None) -> str:
    return "" if scale is None else f", scale {scale:g}"


def _options(text: str, item: str) -> dict[str, Any]:
    """Keyword options, each a plain literal: nothing is evaluated."""
    options: dict[str, Any] = {}
    for part in filter(None, _split(text)):
        key, equals, value = part.partition("=")
        try:
            options[key.strip()] = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError) as error:
            if not equals:
                raise InputError(f"options must read name=value, got {part!r} in {item!r}") from error
            options[key.strip()] = value.strip()
    return options


def _split(text: str) -> list[str]:
    """Split at commas that stand outside parentheses."""
    return [part.strip() for part in re.split(r",(?![^()]*\))", text)]
