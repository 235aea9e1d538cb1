"""`rltemp train`: its options."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rltemp.errors import InputError
from rltemp.experiments.commands.engine_options import add_engine, check_engine, make_engine, make_ray
from rltemp.experiments.commands.options import Overrides, add_where, check, printed, read_setting

if TYPE_CHECKING:
    from rltemp.experiments.named_recipe import NamedRecipe

__all__ = ["add_train_options", "run_train_command"]


def add_train_options(parser: argparse.ArgumentParser) -> None:
    """How many trainings, and who does them."""
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
    add_where(parser, "train")


def run_train_command(options: argparse.Namespace, overrides: Overrides) -> None:
    """Train, and say where the policies are."""
    setting = read_setting(options, overrides)
    check_engine(options)
    if options.seeds is not None:
        _check_seeds(options, overrides)
    elif options.rollout_workers is not None:
        _check_workers(options, setting)
    elif options.engine != "processes" or options.processes is not None:
        raise InputError("--engine and --processes need several trainings, --seeds 0-4, or --rollout-workers")
    if not printed(options, setting.recipe):
        for path in _trained(options, setting):
            print(f"policy: {path}")


def _check_seeds(options: argparse.Namespace, overrides: Overrides) -> None:
    from rltemp.experiments.commands.train_seeds import parse_seeds

    parse_seeds(options.seeds)
    if "agent.seed" in overrides:
        raise InputError("--seeds must be given without --agent.seed, which it replaces")
    if options.rollout_workers is not None:
        raise InputError("--rollout-workers must be given without --seeds, whose trainings are side by side already")


def _check_workers(options: argparse.Namespace, setting: NamedRecipe) -> None:
    agent = setting.recipe.agent
    if options.engine != "ray":
        raise InputError("--rollout-workers needs --engine ray")
    if agent.stack is None:
        raise InputError("--rollout-workers needs --agent.stack, how many students are computed together, such as 4")
    check("--rollout-workers", options.rollout_workers, 1, agent.students // agent.stack)


def _trained(options: argparse.Namespace, setting: NamedRecipe) -> list[Path]:
    from rltemp.experiments.commands.train_command import train
    from rltemp.experiments.commands.train_seeds import parse_seeds, train_seeds

    if options.seeds is not None:
        return train_seeds(setting, parse_seeds(options.seeds), options.runs, options.name, make_engine(options))
    if options.rollout_workers is None:
        return [train(setting, options.runs, options.name)]
    from rltemp.envs.split import SplitVectorEnv
    from rltemp.experiments.engines.rollouts import hiring

    with hiring(make_ray(options)) as hire:
        split = partial(SplitVectorEnv, workers=options.rollout_workers, hire=hire)
        return [train(setting, options.runs, options.name, make_env=split)]
