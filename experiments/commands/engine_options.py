"""Who does the work of a command: the options, and the engine that they name."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from rltemp.errors import InputError
from rltemp.experiments.commands.options import check

if TYPE_CHECKING:
    from rltemp.experiments.engines import Engine
    from rltemp.experiments.engines.on_ray import OnRay

__all__ = ["add_engine", "check_engine", "make_engine", "make_ray"]


def add_engine(parser: argparse.ArgumentParser, processes: int = 1) -> None:
    """Which engine, and what it may take; results are the same with all."""
    parser.add_argument(
        "--engine",
        choices=["processes", "ray"],
        default="processes",
        help="processes of this machine, or a cluster of Ray's (docs/scale.md) (default: %(default)s)",
    )
    parser.add_argument(
        "--processes",
        type=int,
        help=f"units of work side by side (default: {processes}; of ray, what the cluster has room for)",
    )
    parser.add_argument("--unit-cpus", type=float, help="CPUs of a unit of work, for ray (default: 1)")
    parser.add_argument("--unit-gpus", type=float, help="GPUs of a unit of work, for ray; may be a share (default: 0)")
    parser.set_defaults(usual_processes=processes)


def check_engine(options: argparse.Namespace) -> None:
    """Refuse numbers out of range, and what ray alone takes.

    Raises:
        InputError: naming the option.
    """
    if options.processes is not None:
        check("--processes", options.processes, 1)
    for option, value in (("--unit-cpus", options.unit_cpus), ("--unit-gpus", options.unit_gpus)):
        if value is not None and options.engine != "ray":
            raise InputError(f"{option} needs --engine ray, got --engine {options.engine}")
        if value is not None and not 0 <= value < float("inf"):
            raise InputError(f"{option} must be >= 0, got {value:g}")


def make_engine(options: argparse.Namespace) -> Engine:
    """The engine that the options name.

    Raises:
        InputError: for ray if it is not installed.
    """
    from rltemp.experiments.engines import Here, Processes

    if options.engine == "ray":
        return make_ray(options)
    count = options.processes or options.usual_processes
    return Here() if count == 1 else Processes(count)


def make_ray(options: argparse.Namespace) -> OnRay:
    """The engine of `--engine ray`.

    Raises:
        InputError: if Ray is not installed.
    """
    from rltemp.experiments.engines.on_ray import OnRay, require_ray

    require_ray()
    cpus = 1.0 if options.unit_cpus is None else options.unit_cpus
    return OnRay(options.processes, cpus, options.unit_gpus or 0.0)
