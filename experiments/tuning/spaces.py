"""What is searched: the options of each rule, and of a recipe with a static temperature."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from rltemp.recipes import Recipe

__all__ = ["AGENT", "PROBE", "RULES", "SCHEDULE", "SPREAD", "STATIC", "Space", "find_space"]

Values = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Space:
    """Settings of one method.

    Attributes:
        name: of the method.
        distributions: range or choices of every value.
        starts: tried first, in this order, on every task alike; each has all values.
        policy: the policy of some values, as `--policy` takes it.
        changes: values of the recipe that go with them, by dotted name.
    """

    name: str
    distributions: Mapping[str, BaseDistribution]
    starts: tuple[Values, ...]
    policy: Callable[[Values], str]
    changes: Callable[[Values], dict[str, Any]] = lambda values: {}


def _log(low: float, high: float) -> FloatDistribution:
    return FloatDistribution(low, high, log=True)


def _rounded(value: float) -> float:
    """To three digits, more than validation data can tell apart."""
    return float(f"{value:.3g}")


def _text(name: str, **options: float | bool) -> str:
    """A policy's text."""
    listed = ", ".join(
        f"{key}={value}" if isinstance(value, bool) else f"{key}={_rounded(value):g}" for key, value in options.items()
    )
    return f"{name}({listed})"


def _static(values: Values) -> str:
    temperature = values["temperature"]
    return _text("static", temperature=temperature, scale=values["strength"] * temperature, ce_weight=values["labels"])


def _schedule(values: Values) -> str:
    ends, strength, labels = {"start": values["start"], "end": values["end"]}, values["strength"], values["labels"]
    if values["squared"]:
        return _text("anneal", **ends, kd_weight=_USUAL_WEIGHT * strength / values["start"], ce_weight=labels)
    return _text("anneal", **ends, scale=strength * values["start"], ce_weight=labels)


_TEMPERATURE, _STRENGTH, _KD_WEIGHT, _LABELS = _log(0.125, 32.0), _log(0.1, 32.0), _log(0.05, 50.0), _log(0.02, 5.0)
# A strength is scale / T, at the start: it bounds the gradient by a logit, so that good settings lie together. The
# weight of the labels is searched with a reference: what suits T = 4 is a point off beside another temperature.
_USUAL_WEIGHT = 0.9
"""Of distillation in most recipes."""

STATIC = Space(
    "static",
    {"temperature": _TEMPERATURE, "strength": _STRENGTH, "labels": _LABELS},
    tuple(
        {"temperature": temperature, "strength": scale / temperature, "labels": labels}
        for temperature, scale, labels in (
            *((4.0, 16.0, 0.1), (2.0, 4.0, 1.0), (1.0, 1.0, 1.0), (8.0, 64.0, 0.1)),  # T^2
            *((1.0, 4.0, 0.1), (2.0, 8.0, 0.1), (4.0, 4.0, 1.0), (0.5, 2.0, 1.0)),
        )
    ),
    _static,
)
"""One temperature; T^2 is one constant among others."""

SCHEDULE = Space(
    "schedule",
    {
        "start": _TEMPERATURE,
        "end": _TEMPERATURE,
        "squared": CategoricalDistribution([False, True]),
        "strength": _STRENGTH,
        "labels": _LABELS,
    },
    tuple(
        {"start": start, "end": end, "squared": squared, "strength": strength, "labels": labels}
        for start, end, squared, strength, labels in (
            (2.0, 0.25, False, 2.0, 0.1),
            (4.0, 0.5, False, 1.0, 1.0),
            (8.0, 1.0, False, 4.0, 0.1),
            (8.0, 0.5, False, 4.0, 1.0),
            (4.0, 1.0, True, 4.0, 1.0),
            (16.0, 1.0, True, 16.0, 0.1),
            (2.0, 0.25, False, 4.0, 1.0),
            (8.0, 2.0, True, 8.0, 0.1),
        )
    ),
    _schedule,
)
"""From one temperature to another, either way; the scale is T^2 or constant, and the weight searched in both cases."""


def _recipe_space(recipe: Recipe) -> Space:
    """Learning rate, weight of the labels, augmentation or none where there is one, at T = 4 with T^2.

    With an objective on features, its weight as well. It is what most of the field runs its methods beside: whatever
    has its weight runs at the learning rate that suits it, and no static temperature without a search can be said to
    have got a wrong one.
    """
    data, teacher, rate = recipe.data, recipe.teacher, recipe.optimization.lr
    augmented = bool(data.shift or data.noise or data.flip)
    # The teacher keeps the augmentation that it was trained with.
    without = {
        "data.shift": 0,
        "data.noise": 0.0,
        "data.flip": False,
        "teacher.shift": data.shift if teacher.shift is None else teacher.shift,
        "teacher.noise": data.noise if teacher.noise is None else teacher.noise,
        "teacher.flip": data.flip if teacher.flip is None else teacher.flip,
    }

    def changes(values: Values) -> dict[str, Any]:
        tuned = {"optimization.lr": _rounded(values["lr"]), "optimization.ce_weight": values["labels"]}
        if "features" in distributions:
            tuned["optimization.features_weight"] = _rounded(values["features"])
        return tuned if values.get("augmented", True) else {**tuned, **without}

    distributions: dict[str, BaseDistribution] = {
        "lr": _log(rate / 5, rate * 10),
        # A large weight would be a learning rate by another name, and what is frozen one that suits no other method.
        # A policy that weighs labels must have some to weigh.
        "labels": CategoricalDistribution([*([] if recipe.policy.label_range else [0.0]), 0.1, 0.3, 1.0]),
    }
    choices = [True, False] if augmented else [True]
    if augmented:
        distributions["augmented"] = CategoricalDistribution(choices)
    beside: list[dict[str, float]] = [{}]
    if recipe.optimization.features != "none":
        # In units of its paper's weight, which suits longer runs of larger networks.
        distributions["features"] = _log(1e-3, 10.0)
        beside = [{"features": weight} for weight in (1.0, 0.1, 0.01)]
    starts = [
        {"lr": factor * rate, "labels": labels, "augmented": choice, **weight}
        for factor, labels in ((1, 0.1), (3, 0.1), (1, 1.0), (0.3, 0.1))
        for choice in choices
        for weight in beside
    ]
    return Space("recipe", distributions, tuple(starts), lambda values: "static(temperature=4)", changes)


def _rule(name: str, option: str, low: float, high: float, published: float, kd_weight: float = 0.9) -> Space:
    """A rule with one option of its own, beside the weight of distillation; it starts as it was published."""

    def policy(values: Values) -> str:
        return _text(name, **{option: values[option], "kd_weight": values["kd_weight"]})

    starts = {option: published, "kd_weight": kd_weight}, {option: published, "kd_weight": 0.9}
    return Space(
        name,
        {option: _log(low, high), "kd_weight": _KD_WEIGHT},
        starts if kd_weight != 0.9 else starts[:1],
        policy,
    )


def _spread(values: Values) -> str:
    ends = {"start": values["start"], "end": values["end"]}
    return _text("spread", **ends, scale=values["strength"] * values["start"], each=values["each"])


SPREAD = Space(
    "spread",
    {
        "start": _log(0.25, 8.0),
        "end": _log(0.05, 4.0),
        "strength": _STRENGTH,
        "each": CategoricalDistribution([False, True]),
    },
    tuple(
        {"start": start, "end": end, "strength": strength, "each": each}
        for start, end, strength, each in (
            (2.0, 0.2, 3.0, False),
            (2.0, 0.15, 2.0, False),
            (1.0, 0.2, 3.0, True),
            (1.0, 0.2, 3.0, False),
            (2.0, 0.5, 3.0, False),
            (2.0, 1.0, 1.5, False),
        )
    ),
    _spread,
)
"""A schedule in units of the teacher's spread."""

RULES = (
    SPREAD,
    _rule("ctkd", "ramp", 0.01, 1.0, 10 / 240),
    _rule("ctkd-instance", "ramp", 0.01, 1.0, 10 / 240),
    _rule("dtkd", "temperature", 0.25, 32.0, 4.0, kd_weight=3.0),
    _rule("normkd", "norm", 0.1, 8.0, 2.0),
    _rule("lskd", "temperature", 0.25, 16.0, 2.0, kd_weight=9.0),
    _rule("ttm", "temperature", 0.5, 32.0, 10.0, kd_weight=45.0),
    _rule("wttm", "temperature", 0.5, 32.0, 5.0, kd_weight=4.0),
    _rule("adakd", "temperature", 0.25, 8.0, 1.0),
)
"""Rules for temperatures, each with its own option and weight; whole published methods stand beside them unchanged."""


PROBE = Space(
    "probe",
    {**STATIC.distributions, "probe_weight": _log(0.02, 50.0)},
    tuple(
        {"temperature": temperature, "strength": 4.0, "labels": labels, "probe_weight": weight}
        for temperature, labels, weight in ((4.0, 0.1, 1.0), (1.0, 1.0, 1.0), (2.0, 0.1, 0.2), (1.0, 1.0, 5.0))
    ),
    _static,
    lambda values: {"optimization.probe_weight": _rounded(values["probe_weight"])},
)
"""A static temperature beside which the images of an aligned policy's probe are an ordinary term of the loss."""


AGENT = "rlkd"
"""Space of the agent that learns in the run that it acts in."""


def _agent_space(recipe: Recipe) -> Space:
    """The weight of distillation beside an agent; a run of one epoch has no room for its warm-up."""
    phases = {"warmup": 0.0} if recipe.optimization.epochs == 1 else {}
    starts = tuple({"kd_weight": weight} for weight in (0.9, 0.3, 2.7))
    return Space(AGENT, {"kd_weight": _KD_WEIGHT}, starts, lambda values: _text(AGENT, **phases, **values))


def find_space(name: str, recipe: Recipe) -> Space:
    """The space of a name: "recipe", `AGENT`, or that of `STATIC`, `SCHEDULE`, `PROBE` or one of `RULES`.

    Args:
        name: of the space.
        recipe: what "recipe" varies, and what runs the agent acts in.
    """
    if name == "recipe":
        return _recipe_space(recipe)
    if name == AGENT:
        return _agent_space(recipe)
    return next(space for space in (STATIC, SCHEDULE, PROBE, *RULES) if space.name == name)
