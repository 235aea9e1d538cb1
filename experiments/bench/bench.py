"""All measurements, one after the other, as tables."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType

from rich.console import Console

from rltemp.errors import InputError
from rltemp.experiments.bench import agent_and_loss, environment, imagenet, population, reuse, rules, throughput, tokens
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
        "imagenet": imagenet.measure,
        "tokens": tokens.measure,
    }
)
"""Measurements by name; the argument is about how many seconds each of their comparisons may take."""

_SECONDS, _QUICK_SECONDS = 20.0, 2.0


def bench(
    console: Console, *, only: str | None = None, quick: bool = False, sizes: tuple[int, int, int] | None = None
) -> list[Section]:
    """Measure on one thread, and print each table as soon as it is there.

    Args:
        console: where to.
        only: the one section to measure; by default all.
        quick: a few seconds per section, with wider quartiles.
        sizes: tokens, vocabulary and width of the section "tokens", each >= 1; None for its own.

    Raises:
        InputError: for an unknown section, or sizes below 1.
    """
    if only is not None and only not in SECTIONS:
        raise InputError(f"--only must be one of {', '.join(SECTIONS)}, got {only!r}")
    if sizes is not None and min(sizes) < 1:
        raise InputError(f"--tokens must be three numbers >= 1, got {' '.join(map(str, sizes))}")
    console.print(_machine(), markup=False)
    chosen = dict(SECTIONS) if only is None else {only: SECTIONS[only]}
    if sizes is not None and "tokens" in chosen:
        chosen["tokens"] = lambda seconds: tokens.measure(seconds, *sizes)
    sections = []
    with one_thread():
        for measure in chosen.values():
            sections.append(measure(_QUICK_SECONDS if quick else _SECONDS))
            console.print(*tables(sections[-1]), sep="\n")
    return sections


def _machine() -> str:
    machine = describe_machine()
    line = f"{machine['processor']}, {machine['cores']} cores, torch {machine['torch']}, one thread"
    if hasattr(os, "getloadavg"):
        line += f"; load {os.getloadavg()[0]:.1f}"
    return line
