"""All measurements, one after the other, as tables."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType

from rich.console import Console

from rltemp.errors import InputError
from rltemp.experiments.bench import agent_and_loss, environment, population, reuse, rules, throughput
from rltemp.experiments.bench.section import Section, tables
from rltemp.experiments.bench.timing import one_thread
from rltemp.experiments.machine import describe_machine

__all__ = ["SECTIONS", "bench"]

SECTIONS: Mapping[str, Callable[[float], Section]] = MappingProxyType(
    {
        "environment": environment.measure,
        "population": population.measure,
        "agent_and_loss": agent_and_loss.measure,
        "rules": rules.measure,
        "reuse": reuse.measure,
        "throughput": throughput.measure,
    }
)
"""Measurements by name; the argument is about how many seconds each of their comparisons may take."""

_SECONDS, _QUICK_SECONDS = 20.0, 2.0


def bench(console: Console, *, only: str | None = None, quick: bool = False) -> list[Section]:
    """Measure on one thread, and print each table as soon as it is there.

    Args:
        console: where to.
        only: the one section to measure; by default all.
        quick: a few seconds per section, with wider quartiles.

    Raises:
        InputError: for an unknown section.
    """
    if only is not None and only not in SECTIONS:
        raise InputError(f"--only must be one of {', '.join(SECTIONS)}, got {only!r}")
    console.print(_machine(), markup=False)
    sections = []
    with one_thread():
        for measure in SECTIONS.values() if only is None else [SECTIONS[only]]:
            sections.append(measure(_QUICK_SECONDS if quick else _SECONDS))
            console.print(*tables(sections[-1]), sep="\n")
    return sections


def _machine() -> str:
    machine = describe_machine()
    line = f"{machine['processor']}, {machine['cores']} cores, torch {machine['torch']}, one thread"
    if hasattr(os, "getloadavg"):
        line += f"; load {os.getloadavg()[0]:.1f}"
    return line
