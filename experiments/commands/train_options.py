"""`rltemp train`: its options."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rltemp.errors import InputError
from rltemp.experiments.commands.engine_options import add_engine, check_engine, make_engine, make_ray
from rltemp.experiments.commands.options import Overrides, add_where, check, printed, read_setting
from rltemp.experiments.launch import check_launch

if TYPE_CHECKING:
    from rltemp.experiments.named_recipe import NamedRecipe

__all__ = ["add_train_options", "run_train_command"]


def add_train_options(parser: argparse.ArgumentParser) -> None:
    """How many trainings, who does them, where they are kept, or whether only to say what one takes."""
    parser.add_argument(
        "--seeds",
        metavar="LIST",
        help="a training for each of these seeds of the agent, such as 0-4 or 0,3,7, each a run with its seed in its "
        "name; `evaluate --trainings` judges them as one method",
    )
    parser.add_argument(
        "--rollout-workers",
        type=int,
        metavar="N",
        help="share the students of each rollout out among so many workers of --engine ray, in stacks of agent.stack; "
        "the policy is the same, bit for bit",
    )
    add_engine(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="say how much memory and time it takes, and do nothing; data may be missing",
    )
    add_where(parser, "train")


def run_train_command(options: argparse.Namespace, overrides: Overrides) -> None:
    """Train, and say where the policies are; or say what it takes."""
    setting = read_setting(options, overrides, files=not options.dry_run)
    check_engine(options)
    if options.seeds is not None:
        _check_seeds(options, overrides)
    elif options.rollout_workers is not None:
        _check_workers(options, setting)
    elif options.engine != "processes" or options.processes is not None:
        raise InputError("--engine and --processes need several trainings, --seeds 0-4, or --rollout-workers")
    if printed(options, setting.recipe):
        return
    if options.dry_run:
        from rltemp.experiments.commands.train_command import dry_run

        print(dry_run(setting))
        return
    _train(options, setting)


def _check_seeds(options: argparse.Namespace, overrides: Overrides) -> None:
    from rltemp.experiments.commands.train_seeds import parse_seeds

    check_launch("train --seeds", shares=False)
    parse_seeds(options.seeds)
    if "agent.seed" in overrides:
        raise InputError("--seeds must be given without --agent.seed, which it replaces")
    if options.rollout_workers is not None:
        raise InputError("--rollout-workers must be given without --seeds, whose trainings are side by side already")


def _check_workers(options: argparse.Namespace, setting: NamedRecipe) -> None:
    check_launch("train --rollout-workers", shares=False)
    agent = setting.recipe.agent
    if options.engine != "ray":
        raise InputError("--rollout-workers needs --engine ray")
    if agent.stack is None:
        raise InputError("--rollout-workers needs --agent.stack, how many students are computed together, such as 4")
    check("--rollout-workers", options.rollout_workers, 1, agent.students // agent.stack)


def _train(options: argparse.Namespace, setting: NamedRecipe) -> None:
    from rltemp.experiments.commands.train_command import train
    from rltemp.experiments.commands.train_seeds import parse_seeds, train_seeds
    from rltemp.experiments.launch import joined

    if options.seeds is not None:
        seeds, engine = parse_seeds(options.seeds), make_engine(options)
        _say(train_seeds(setting, seeds, options.runs, options.name, engine))
    elif options.rollout_workers is not None:
        from rltemp.envs.split import SplitVectorEnv
        from rltemp.experiments.engines.rollouts import hiring

        with hiring(make_ray(options)) as hire:
            split = partial(SplitVectorEnv, workers=options.rollout_workers, hire=hire)
            _say([train(setting, options.runs, options.name, make_env=split)])
    else:
        with joined(setting.recipe.execution.device) as ranks:
            path = train(setting, options.runs, options.name, ranks=ranks)
            if ranks.is_first:
                _say([path])


def _say(policies: Sequence[Path]) -> None:
    for path in policies:
        print(f"policy: {path}")
