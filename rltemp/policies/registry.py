"""The rules by name."""

from __future__ import annotations

import dataclasses
import inspect

from rltemp.errors import InputError
from rltemp.policies.base import TemperaturePolicy
from rltemp.policies.controls import AnnealPolicy, RandomPolicy
from rltemp.policies.ctkd import CTKDInstancePolicy, CTKDPolicy
from rltemp.policies.dtkd import DTKDPolicy
from rltemp.policies.influence import InfluencePolicy
from rltemp.policies.standardized import LSKDPolicy, NormKDPolicy
from rltemp.policies.static import StaticPolicy
from rltemp.policies.ttm import TTMPolicy, WTTMPolicy

__all__ = ["PolicyEntry", "list_policies", "make_policy"]


@dataclasses.dataclass(frozen=True)
class PolicyEntry:
    """One rule that `make_policy` makes.

    Attributes:
        name: what `make_policy` takes.
        summary: one line.
        paper: where it comes from.
        kind: the class.
    """

    name: str
    summary: str
    paper: str
    kind: type[TemperaturePolicy]

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the options."""
        return tuple(inspect.signature(self.kind).parameters)


_ENTRIES = {
    entry.name: entry
    for entry in (
        PolicyEntry("static", "one temperature", "Hinton et al. 2015", StaticPolicy),
        PolicyEntry("random", "log-uniform per instance and step", "control", RandomPolicy),
        PolicyEntry("anneal", "from hot to cold over the run", "control; cf. Jafari et al. 2021", AnnealPolicy),
        PolicyEntry("ctkd", "one temperature, learned against the student", "Li et al. 2023", CTKDPolicy),
        PolicyEntry("ctkd-instance", "the same per instance, by a network", "Li et al. 2023", CTKDInstancePolicy),
        PolicyEntry("dtkd", "in proportion to the largest logits", "Wei & Bai 2024", DTKDPolicy),
        PolicyEntry("normkd", "in proportion to the spread of the logits", "Chi et al. 2023", NormKDPolicy),
        PolicyEntry("lskd", "logits standardized before softening", "Sun et al. 2024", LSKDPolicy),
        PolicyEntry("ttm", "only the teacher softened", "Zheng & Yang 2024", TTMPolicy),
        PolicyEntry("wttm", "the same, soft instances counting more", "Zheng & Yang 2024", WTTMPolicy),
        PolicyEntry("influence", "greedy by first-order effect on a probe", "this project", InfluencePolicy),
    )
}


def list_policies() -> tuple[PolicyEntry, ...]:
    """Every rule that `make_policy` makes, with one line and the paper each."""
    return tuple(_ENTRIES.values())


def make_policy(name: str, **options: object) -> TemperaturePolicy:
    """Make a rule by name.

    Args:
        name: one of `list_policies()`.
        options: of the rule; what is left out has the paper's value.

    Raises:
        InputError: for an unknown name or option, or an option out of range.
    """
    if name not in _ENTRIES:
        raise InputError(f"policy must be one of {', '.join(_ENTRIES)}, got {name!r}")
    entry = _ENTRIES[name]
    unknown = [option for option in options if option not in entry.options]
    if unknown:
        raise InputError(f"policy {name!r} takes the options {', '.join(entry.options)}, got {unknown[0]!r}")
    return entry.kind(**options)
