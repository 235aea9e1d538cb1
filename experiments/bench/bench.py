"""All measurements, one after the other, as tables."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from rich.console import Console

from rltemp.errors import InputError
from rltemp.experiments.bench import (
    agent_and_loss,
    characters,
    environment,
    imagenet,
    population,
    reuse,
    rules,
    throughput,
    tokens,
)
from rltemp.experiments.bench.record import write_record
from rltemp.experiments.bench.section import Section, tables
from rltemp.experiments.bench.timing import one_thread
from rltemp.experiments.machine import describe_machine
from rltemp.networks.execution import native_dtype

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
        "characters": characters.measure,
    }
)
"""Measurements by name; the argument is about how many seconds each of their comparisons may take."""

_SECONDS, _QUICK_SECONDS = 20.0, 2.0


def bench(
    console: Console,
    *,
    only: str | None = None,
    quick: bool = False,
    sizes: tuple[int, int, int] | None = None,
    path: Path | None = None,
) -> dict[str, Section]:
    """Measure on one thread, and print each table as soon as it is there.

    Args:
        console: where to.
        only: the one section to measure; by default all.
        quick: a few seconds per section, with wider quartiles.
        sizes: tokens, vocabulary and width of the section "tokens", each >= 1; None for its own.
        path: a file for what was measured (`write_record`), complete after every section; None for none.

    Returns:
        What was measured, by name.

    Raises:
        InputError: for an unknown section, or sizes below 1.
    """
    if only is not None and only not in SECTIONS:
        raise InputError(f"--only must be one of {', '.join(SECTIONS)}, got {only!r}")
    if sizes is not None and min(sizes) < 1:
        raise InputError(f"--tokens must be three numbers >= 1, got {' '.join(map(str, sizes))}")
    machine = _machine()
    console.print(machine["line"], markup=False)
    chosen = dict(SECTIONS) if only is None else {only: SECTIONS[only]}
    if sizes is not None and "tokens" in chosen:
        chosen["tokens"] = lambda seconds: tokens.measure(seconds, *sizes)
    sections: dict[str, Section] = {}
    with one_thread():
        for name, measure in chosen.items():
            sections[name] = measure(_QUICK_SECONDS if quick else _SECONDS)
            console.print(*tables(sections[name]), sep="\n")
            if path is not None:
                write_record(path, machine, sections)
    return sections


def _machine() -> dict[str, str | int]:
    """What is measured on; "line" says it in one line."""
    machine = describe_machine()
    kind = str(native_dtype(torch.device("cpu"))).removeprefix("torch.")
    line = f"{machine['processor']} ({kind}), {machine['cores']} cores, torch {machine['torch']}, one thread"
    if hasattr(os, "getloadavg"):
        line += f"; load {os.getloadavg()[0]:.1f}"
    return {"line": line, **machine}
