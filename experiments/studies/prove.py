"""Does the agent win? Trained policies against everything a sceptic asks for, nested over agent seeds and students.

    uv run python -m rltemp.experiments.studies.prove

It trains and evaluates what is missing, then writes docs/results.md.

Policies are trained on one split, one teacher and one student size, and judged on another split, another teacher and
another size. Everything is resumable: what is finished is not repeated.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rltemp.agents.policy_io import export_policy
from rltemp.agents.selection import validation_score
from rltemp.agents.train import run_training
from rltemp.agents.trainer import Trainer
from rltemp.distillation import Task
from rltemp.envs import DistillationVectorEnv, Transition
from rltemp.experiments.commands.evaluate_command import run_comparison
from rltemp.experiments.commands.train_command import train
from rltemp.experiments.evaluation.comparison import Comparison, compare
from rltemp.experiments.evaluation.results import PolicyResult
from rltemp.experiments.evaluation.results_files import load_evaluation
from rltemp.experiments.evaluation.specs import PolicySpec, parse_policies, trained_policy
from rltemp.experiments.named_recipe import NamedRecipe
from rltemp.experiments.report.figure import drawing, to_svg
from rltemp.experiments.report.plots import plot_differences
from rltemp.experiments.studies.results_page import ProbeSettings, cifar_section, results_page
from rltemp.features import LogitFeatures
from rltemp.policies.artifact import save_policy
from rltemp.policies.learned import LearnedPolicy
from rltemp.recipes import Recipe, load_recipe, vary
from rltemp.tasks import build_task

UNSEEN: dict[str, Any] = {"data.split_seed": 1, "teacher.seed": 1, "student.options": {"hidden": [24]}}
UNSEEN_TOO: dict[str, Any] = {
    "data.split_seed": 2,
    "data.label_noise": 0.1,
    "teacher.seed": 2,
    "teacher.members": 1,
    "student.options": {"hidden": [12]},
}
REFERENCES = (
    "static,anneal,random,influence,static(temperature=2, scale=16),static(temperature=8, scale=16),"
    "anneal(start=16, end=1, scale=16),anneal(start=8, end=2, scale=16)"
)
STUDENTS = range(64)


@dataclasses.dataclass(frozen=True)
class Variant:
    """A way to train a policy.

    Attributes:
        name: of the row in the table.
        overrides: of the recipe.
        seeds: how many agents are trained.
        shuffled: whether rewards and credit go to the wrong students.
        recipe: what the agents learn on.
    """

    name: str
    overrides: dict[str, Any]
    seeds: int
    shuffled: bool = False
    recipe: str = "digits-short"


# What serves credit that is paid at every step best: noisier, it needs smaller steps and more exploration.
AT_EVERY_STEP: dict[str, Any] = {
    "agent.learning_rate": 1e-3,
    "agent.target_kl": 0.03,
    "agent.log_std_init": -1.5,
    "agent.n_epochs": 10,
    "agent.minibatches": 10,
}
VARIANTS = (
    Variant("aligned", {}, 5),
    Variant("varied", {}, 5, recipe="digits-varied"),
    Variant("softness", {"policy.scale": 16.0}, 5),
    Variant("softness, varied", {"policy.scale": 16.0}, 5, recipe="digits-varied"),
    Variant("logits", {"policy.alignment": "none"}, 5),
    Variant("logits, varied", {"policy.alignment": "none", "agent.rollouts": 48}, 3, recipe="digits-varied"),
    Variant("progress only", {"policy.alignment": "none", "policy.features": ["progress"]}, 3),
    Variant("shuffled credit", {}, 3, shuffled=True),
    Variant("influence reward", {"agent.credit": "influence", **AT_EVERY_STEP}, 3),
    Variant("redistribution", {"agent.credit": "redistribution", **AT_EVERY_STEP}, 3),
    Variant("uniform reward", {"agent.credit": "uniform", **AT_EVERY_STEP}, 3),
)
REUSED = ("aligned", "varied", "softness", "softness, varied", "logits, varied", "influence reward")
PROBED = ("varied", "softness, varied", "influence reward")


class ShuffledEnv(DistillationVectorEnv):
    """The environment with rewards and credit given to the wrong students: each gets what its neighbour earned."""

    @property
    def transition(self) -> Transition:
        """What the last step did, with the rewards of others."""
        true = super().transition
        return dataclasses.replace(true, reward=np.roll(true.reward, 1))

    def effects(self, actions: Any) -> Any:
        """What the same instance of another student did."""
        return np.roll(super().effects(actions), self.batch_size, axis=-1)


CURVES = {
    "return": "Return",
    "score": "Minus validation NLL",
    "kl": "KL to the last policy",
    "std": "Exploration (std)",
    "clip_fraction": "Clipped ratios",
    "temperature_spread": "Spread of log2 T",
}

PROBES: tuple[ProbeSettings, ...] = tuple(
    {"policy.alignment": scope, "policy.probe_size": size, "policy.every": every}
    for scope, size, every in (
        ("network", 600, 1),
        ("network", 600, 2),
        ("network", 600, 5),
        ("network", 600, 20),
        ("network", 64, 1),
        ("network", 64, 5),
        ("classifier", 600, 1),
        ("classifier", 600, 2),
        ("classifier", 600, 5),
        ("classifier", 64, 1),
        ("classifier", 64, 5),
        ("classifier", 64, 2),
    )
)


def main() -> None:
    """Train, evaluate, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", default="runs/prove", help="folder of all runs (default: %(default)s)")
    parser.add_argument(
        "--cifar",
        metavar="FOLDER",
        help="an evaluation of cifar100-cpu, made by the command that the page names, to be shown as well",
    )
    parser.add_argument("--write", default="docs/results.md", help="the page (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    trained = {variant.name: train_variant(variant, options.runs) for variant in VARIANTS}
    everyone = [spec for specs in trained.values() for spec in specs]
    probed = [spec for name in PROBED for spec in trained[name]]
    reused = [spec for name in REUSED for spec in trained[name]]
    short = judge("digits-short", UNSEEN, everyone, options.runs, "unseen")
    other = judge("digits-short", UNSEEN_TOO, reused, options.runs, "unseen-too")
    long = judge("digits", UNSEEN, reused, options.runs, "unseen")
    probes = [
        (probe, judge("digits-short", {**UNSEEN, **probe}, probed, options.runs, f"probe-{number}", short.best_static))
        for number, probe in enumerate(PROBES)
    ]
    longer = judge("digits", UNSEEN_TOO, reused, options.runs, "unseen-too")
    figures = Path(options.write).parent / "figures"
    (figures / "result.svg").write_text(to_svg(plot_differences(short)), encoding="utf-8")
    draw_training(Path(options.runs) / "digits-short", figures / "training.svg")
    cifar = cifar_section(compare(load_evaluation(options.cifar))) if options.cifar else ""
    Path(options.write).write_text(results_page(short, other, long, longer, probes) + cifar, encoding="utf-8")


def train_variant(variant: Variant, root: str) -> list[PolicySpec]:
    """Policies of one variant, one per agent seed."""
    setting = load_recipe(variant.recipe, variant.overrides)
    tasks = [build_task(recipe, cache=root) for recipe in vary(setting)]
    specs = []
    for seed in range(variant.seeds):
        recipe = load_recipe(variant.recipe, variant.overrides | {"agent.seed": seed})
        name = f"{variant.name.replace(', ', '-').replace(' ', '-')}-{seed}"
        path = Path(root) / variant.recipe / name / "policy"
        if not path.exists():
            if variant.shuffled:
                save_policy(train_shuffled(recipe, tasks[0]), path)
            else:
                train(NamedRecipe(variant.recipe, recipe), root, name, tasks)
        specs.append(trained_policy(str(path), group=variant.name))
    return specs


def train_shuffled(recipe: Recipe, task: Task) -> LearnedPolicy:
    """The usual training and choice of the best rollout, with shuffled rewards."""
    slots = recipe.agent.students * recipe.optimization.batch_size
    env = ShuffledEnv(slots, recipe, task=task)
    trainer, score = Trainer(env, recipe.agent), validation_score(recipe, [task])

    def export() -> LearnedPolicy:
        return export_policy(trainer.model, LogitFeatures(env.feature_names), recipe.policy)

    run_training(trainer, callbacks=[lambda trainer: trainer.keep_best(score(export()))])
    trainer.restore_best()
    return export()


def judge(
    recipe: str,
    overrides: dict[str, Any],
    specs: Sequence[PolicySpec],
    root: str,
    name: str,
    reference: PolicyResult | None = None,
) -> Comparison:
    """Policies and references on a task; one reference where it is known which is the best."""
    setting = NamedRecipe(recipe, load_recipe(recipe, overrides))
    task = build_task(setting.recipe, cache=root)
    report = run_comparison(
        setting, task, [*parse_policies(reference.name if reference else REFERENCES), *specs], STUDENTS, root, name
    )
    return compare(load_evaluation(report.parent))


def draw_training(runs: Path, target: Path) -> None:
    """How the aligned agents learned: one line per agent."""
    with drawing(4.4) as figure:
        panels = figure.subplots(2, 3, sharex=True)
        for axes, (column, title) in zip(panels.flat, CURVES.items(), strict=True):
            for seed in range(VARIANTS[0].seeds):
                with (runs / f"aligned-{seed}" / "metrics.csv").open() as file:
                    values = [float(row[column]) for row in csv.DictReader(file)]
                axes.plot(range(1, len(values) + 1), values, linewidth=1.2)
            axes.set_title(title, loc="left", fontsize=9)
        for axes in panels[1]:
            axes.set_xlabel("rollout")
    target.write_text(to_svg(figure), encoding="utf-8")


if __name__ == "__main__":
    main()
