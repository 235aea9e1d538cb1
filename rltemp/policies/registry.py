"""The built-in policies by name."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

from rltemp.errors import InputError
from rltemp.policies.adakd import AdaKDPolicy
from rltemp.policies.artifact import load_policy
from rltemp.policies.controls import AnnealPolicy, RandomPolicy
from rltemp.policies.ctkd import CTKDInstancePolicy, CTKDPolicy
from rltemp.policies.dtkd import DTKDPolicy
from rltemp.policies.influence import InfluencePolicy
from rltemp.policies.policy import TemperaturePolicy
from rltemp.policies.spread import SpreadPolicy
from rltemp.policies.standardized import LSKDPolicy, NormKDPolicy
from rltemp.policies.static import StaticPolicy
from rltemp.policies.ttm import TTMPolicy, WTTMPolicy
from rltemp.pretrained import list_pretrained

__all__ = ["list_policies", "make_policy"]


class _Entry(NamedTuple):
    kind: type[TemperaturePolicy]
    summary: str
    paper: str

    @property
    def options(self) -> tuple[str, ...]:
        return tuple(inspect.signature(self.kind).parameters)


_ENTRIES = {
    "static": _Entry(StaticPolicy, "one temperature", "Hinton et al. 2015"),
    "random": _Entry(RandomPolicy, "log-uniform per instance and step", "a control"),
    "anneal": _Entry(AnnealPolicy, "from hot to cold over the run", "a control; cf. Jafari et al. 2021"),
    "ctkd": _Entry(CTKDPolicy, "one temperature, learned against the student", "Li et al. 2023"),
    "ctkd-instance": _Entry(
        CTKDInstancePolicy, "learned per instance by a network, against the student", "Li et al. 2023"
    ),
    "dtkd": _Entry(DTKDPolicy, "in proportion to the largest logits", "Wei & Bai 2024"),
    "normkd": _Entry(NormKDPolicy, "in proportion to the spread of the logits", "Chi et al. 2023"),
    "lskd": _Entry(LSKDPolicy, "logits standardized before softening", "Sun et al. 2024"),
    "ttm": _Entry(TTMPolicy, "only the teacher softened", "Zheng & Yang 2024"),
    "wttm": _Entry(WTTMPolicy, "TTM with soft instances counting more", "Zheng & Yang 2024"),
    "adakd": _Entry(AdaKDPolicy, "colder where the networks differ more than usual", "Xie et al. 2026"),
    "spread": _Entry(SpreadPolicy, "from hot to cold in units of the teacher's spread", "this project"),
    "influence": _Entry(InfluencePolicy, "greedy by first-order effect on a probe", "this project"),
}


def list_policies() -> dict[str, str]:
    """Names that `make_policy` takes, each with one line of description and its paper."""
    return {name: f"{entry.summary} ({entry.paper})" for name, entry in _ENTRIES.items()}


def make_policy(name: str, **options: Any) -> TemperaturePolicy:
    """Make a built-in policy by name.

    Args:
        name: one of `list_policies()`, or, without options, a trained policy that comes with the package, such as
            "general" for "rltemp/general".
        options: keyword arguments of the policy; the defaults are the paper's values.

    Raises:
        InputError: for an unknown name or option, or an option out of range.
    """
    if name not in _ENTRIES and not options and f"rltemp/{name}" in list_pretrained():
        return load_policy(f"rltemp/{name}")
    if name not in _ENTRIES:
        raise InputError(f"policy must be one of {', '.join(_ENTRIES)}, got {name!r}")
    entry = _ENTRIES[name]
    unknown = [option for option in options if option not in entry.options]
    if unknown:
        raise InputError(f"policy {name!r} takes the options {', '.join(entry.options)}, got {unknown[0]!r}")
    return entry.kind(**options)
