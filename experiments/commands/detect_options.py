"""`rltemp detect`: its options."""

from __future__ import annotations

import argparse

from rltemp.experiments.commands.options import MOST_STUDENTS, Overrides, add_runs, check

__all__ = ["add_detect_options", "run_detect_command"]

_POLICIES = (
    "no-kd",
    *(f"static(temperature={t})" for t in (1, 2, 4, 8)),
    "static(temperature=2, scale=32)",  # the scale of the last of them, without its schedule
    "anneal(start=4, end=1)",
    "normkd",
    "ctkd",
    "rltemp/digits-logits",
    "rltemp/general-kd",
    "rltemp/cifar100-schedule",
)


def add_detect_options(parser: argparse.ArgumentParser) -> None:
    """What is compared, and on what."""
    parser.add_argument("task", choices=["digits", "cells"], help="digits on a canvas, or blood cells (BCCD)")
    parser.add_argument("--data", metavar="PATH", help="of cells: BCCD's folder, or a zip archive of it")
    parser.add_argument(
        "--policy",
        action="append",
        default=[],
        metavar="POLICY",
        help="a rule or a trained policy, named as for evaluate; may be given several times, or hold several with "
        f"commas between them (default: {', '.join(_POLICIES)})",
    )
    parser.add_argument("--students", type=int, default=5, help="paired students per policy (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first student (default: %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="say how much work it is, and do nothing")
    add_runs(parser)


def run_detect_command(options: argparse.Namespace, overrides: Overrides) -> None:
    """Run it, or say how much work it is."""
    from rltemp.experiments.commands.detect_command import detect, dry_run
    from rltemp.experiments.detection.units import check_specs
    from rltemp.experiments.evaluation.specs import parse_policies

    check("--students", options.students, 2, MOST_STUDENTS)
    check("--seed", options.seed, 0)
    named = {spec.name: spec for text in options.policy or _POLICIES for spec in parse_policies(text)}
    specs = list(named.values())
    check_specs(specs)
    seeds = range(options.seed, options.seed + options.students)
    if options.dry_run:
        dry_run(options.task, options.data, specs, seeds, options.runs)
    else:
        print(f"table: {detect(options.task, options.data, specs, seeds, options.runs)}")
