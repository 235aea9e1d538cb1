"""`rltemp bench`: speed as ratios, kept in a file, and two such files compared."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rltemp.errors import InputError

__all__ = ["add_bench_options", "run_bench_command"]


def add_bench_options(parser: argparse.ArgumentParser) -> None:
    """What is measured, how long, and where it is kept."""
    parser.add_argument(
        "--only",
        metavar="SECTION",
        help="environment, population, agent_and_loss, rules, reuse, throughput, imagenet, tokens or characters",
    )
    parser.add_argument(
        "--tokens",
        nargs=3,
        type=int,
        metavar=("N", "V", "H"),
        help="tokens, vocabulary and width of the section tokens (default 2048 32000 256)",
    )
    parser.add_argument("--quick", action="store_true", help="a few seconds per section, with wider quartiles")
    parser.add_argument("--json", metavar="FILE", help="keep what is measured in a file")
    parser.add_argument(
        "--compare", nargs=2, metavar=("BEFORE", "AFTER"), help="measure nothing, and compare two such files"
    )


def run_bench_command(options: argparse.Namespace, overrides: dict[str, Any]) -> None:
    """Measure, or compare what was measured before.

    Raises:
        InputError: for an unknown section, sizes below 1, a file that cannot be written, or one that is no such file.
    """
    from rltemp.experiments.bench.bench import bench
    from rltemp.experiments.bench.record import compare, read_record
    from rltemp.experiments.console import output

    if options.compare is not None:
        output().print(compare(*map(read_record, options.compare)))
        return
    path = None if options.json is None else Path(options.json)
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise InputError(f"--json must name a file in a folder that exists, got {path}")
    sizes = None if options.tokens is None else tuple(options.tokens)
    bench(output(), only=options.only, quick=options.quick, sizes=sizes, path=path)
