"""The commands of the command line: their options, and what they call.

What a command needs is imported when it runs, so that `--help` and a mistake are answered at once.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from dataclasses import dataclass

from rltemp.errors import InputError
from rltemp.experiments.commands.arena_options import add_arena_options, run_arena_command
from rltemp.experiments.commands.bench_command import add_bench_options, run_bench_command
from rltemp.experiments.commands.detect_options import add_detect_options, run_detect_command
from rltemp.experiments.commands.distill_options import add_distill_options, run_distill_command
from rltemp.experiments.commands.options import (
    MOST_STUDENTS,
    POLICY_HELP,
    Overrides,
    add_runs,
    add_where,
    check,
    printed,
    read_setting,
)
from rltemp.experiments.commands.train_options import add_train_options, run_train_command
from rltemp.experiments.commands.tune_options import add_tune_options, run_tune_command

__all__ = ["COMMANDS", "RECIPE_HELP", "Command"]

RECIPE_HELP = (
    "Any value of the recipe can be given by its dotted name, such as --optimization.epochs 3 or --agent.seed=1; "
    "--print-config shows them all. What a recipe names is downloaded (data.download, networks timm:hf-hub:...) only "
    "with --allow-download, and a module that it names (MODULE:NAME of data or a network) is imported only with "
    "--allow-code. No recipe can give either."
)


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        name: what is typed.
        summary: one line.
        add_options: adds its options to the parser.
        run: does it.
        takes_recipe: whether it takes a recipe, and values of it as options.
        shares: whether several processes of a launcher may share its work.
    """

    name: str
    summary: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Overrides], None]
    takes_recipe: bool = False
    shares: bool = False


def _demo_options(parser: argparse.ArgumentParser) -> None:
    add_runs(parser)


def _demo(options: argparse.Namespace, overrides: Overrides) -> None:
    from rltemp.experiments.commands.demo_command import demo

    demo(options.runs)


def _evaluate_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--policy",
        action="append",
        default=[],
        metavar="POLICY",
        help=f"{POLICY_HELP}; 'all' for every rule and preset; may be given several times, or hold several with commas "
        "between them",
    )
    parser.add_argument(
        "--no-references",
        action="store_true",
        help="leave out what policies are compared with by default: no-kd, and the recipe's tuned references or every "
        "static temperature and schedule of the usual grids",
    )
    parser.add_argument(
        "--trainings",
        action="append",
        default=[],
        metavar="NAME=GLOB",
        help="trainings of one method, judged as one, such as 'mine=runs/digits/mine-*/policy'; may be given several "
        "times",
    )
    parser.add_argument("--students", type=int, default=64, help="paired students per policy (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first student (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="processes side by side (default: %(default)s)")
    parser.add_argument(
        "--student-pages",
        type=int,
        default=0,
        metavar="N",
        help="pages beside the report that show which training instances got which temperature: one for each of the "
        "first N students under each policy of --policy and --trainings (default: %(default)s)",
    )
    add_where(parser, "evaluation")


def _evaluate(options: argparse.Namespace, overrides: Overrides) -> None:
    from rltemp.experiments.commands.evaluate_command import run_comparison
    from rltemp.experiments.evaluation.specs import parse_policies
    from rltemp.experiments.evaluation.trainings import check_names, parse_trainings

    if "policies" in overrides:
        raise InputError("--policy must be given, with --no-references to compare nothing else, got --policies")
    setting = read_setting(options, overrides)
    named = [] if options.no_references else [*(setting.recipe.references.policies or ("static", "anneal")), "no-kd"]
    if not (named or options.policy or options.trainings):
        raise InputError("--policy or --trainings must be given with --no-references, got neither")
    trainings = [spec for text in options.trainings for spec in parse_trainings(text)]
    given = {spec.name: spec for text in options.policy for spec in parse_policies(text)}
    specs = list(({spec.name: spec for text in named for spec in parse_policies(text)} | given).values()) + trainings
    check_names(specs)
    check("--students", options.students, 2, MOST_STUDENTS)
    check("--processes", options.processes, 1)
    check("--seed", options.seed, 0)
    check("--student-pages", options.student_pages, 0, options.students)
    if not printed(options, setting.recipe):
        seeds = range(options.seed, options.seed + options.students)
        words = ["rltemp", "evaluate", options.recipe] + ["--no-references"] * options.no_references
        words += [word for path in options.policy for word in ("--policy", path)]
        words += [word for text in options.trainings for word in ("--trainings", text)]
        words += ["--students", str(options.students), "--seed", str(options.seed)]
        words += ["--student-pages", str(options.student_pages)] if options.student_pages else []
        words += ["--allow-download"] * options.allow_download + ["--allow-code"] * options.allow_code
        words += [f"--{name}={value}" for name, value in overrides.items()]
        report = run_comparison(
            setting,
            None,
            specs,
            seeds,
            options.runs,
            options.name,
            command=shlex.join(words),
            processes=options.processes,
            shown=[*given.values(), *trainings],
            pages=options.student_pages,
        )
        print(f"report: {report}")


def _nothing(parser: argparse.ArgumentParser) -> None:
    """No options."""


def _policies(options: argparse.Namespace, overrides: Overrides) -> None:
    from rltemp.policies import list_policies
    from rltemp.pretrained import list_pretrained

    _print_table({**list_policies(), **dict.fromkeys(list_pretrained(), "trained, comes with the package")})


def _policy_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["show"], help="show: print its card, and draw how it chooses")
    parser.add_argument("path", help="its folder, or the name of one that comes with rltemp")
    parser.add_argument("--out", metavar="FILE", help="the picture, .svg or .png (default: the policy's name, .svg)")


def _policy(options: argparse.Namespace, overrides: Overrides) -> None:
    from rltemp.experiments.report.policy_map import show_policy

    print(f"picture: {show_policy(options.path, options.out)}")


def _presets(options: argparse.Namespace, overrides: Overrides) -> None:
    from rltemp.presets import list_presets

    _print_table(list_presets())


def _recipes_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=["show"], help="show: print all values of a recipe")
    parser.add_argument("recipe", nargs="?", help="name of a recipe that comes with rltemp, or a .yaml file")
    parser.add_argument("--comments", action="store_true", help="with what every value means, takes, and is by default")


def _recipes(options: argparse.Namespace, overrides: Overrides) -> None:
    from rltemp.recipes import dump_recipe, list_recipes, load_recipe
    from rltemp.recipes.commented import comment_recipe

    if options.action is None:
        print("\n".join(list_recipes()))
        return
    if options.recipe is None:
        raise InputError("recipes show needs the name or file of a recipe, got none")
    recipe = load_recipe(options.recipe)
    print(comment_recipe(recipe) if options.comments else dump_recipe(recipe), end="")


def _print_table(lines: dict[str, str]) -> None:
    width = max(map(len, lines))
    print("\n".join(f"{name:<{width}}  {line}" for name, line in lines.items()))


COMMANDS = (
    Command("demo", "the main job on embedded data: train, evaluate, reuse", _demo_options, _demo),
    Command(
        "train", "train a temperature policy", add_train_options, run_train_command, takes_recipe=True, shares=True
    ),
    Command("evaluate", "compare policies, paired over students", _evaluate_options, _evaluate, takes_recipe=True),
    Command(
        "tune",
        "search the recipe and its references on validation data",
        add_tune_options,
        run_tune_command,
        takes_recipe=True,
    ),
    Command("arena", "judge policies over tasks, conditions and lengths, fairly", add_arena_options, run_arena_command),
    Command("detect", "compare policies on detectors, paired over students", add_detect_options, run_detect_command),
    Command(
        "distill",
        "one new KD run that reuses a policy, or whose agent learns in it",
        add_distill_options,
        run_distill_command,
        takes_recipe=True,
        shares=True,
    ),
    Command(
        "bench", "speed, as ratios inside one run, and what a step is made of", add_bench_options, run_bench_command
    ),
    Command("policies", "list the rules, and the trained policies that come with rltemp", _nothing, _policies),
    Command("policy", "show a trained policy: its card, and how it chooses", _policy_options, _policy),
    Command("presets", "list the whole methods of the papers", _nothing, _presets),
    Command("recipes", "list the recipes that come with rltemp, or show one", _recipes_options, _recipes),
)
