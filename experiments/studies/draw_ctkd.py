"""Draws how CTKD's temperature moves over KD runs on digits: 8 students, 270 updates each.

Run `python -m rltemp.experiments.studies.draw_ctkd` from the root of the repository.
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from rltemp.distillation import ForwardPass, Task
from rltemp.distillation.policy_run import PolicyRun
from rltemp.policies import make_policy
from rltemp.recipes import load_recipe
from rltemp.recipes.schema import PolicySpace
from rltemp.tasks import build_task
from rltemp.temperatures import Temperatures

STUDENTS = 8
COLORS = {"ctkd": "#2b6ca3", "ctkd-instance": "#b84f00"}


def curve(name: str, task: Task, space: PolicySpace) -> Tensor:
    """Mean temperature over a minibatch, by update and student, [steps, STUDENTS]."""
    means: list[Tensor] = []

    def watch(_: ForwardPass, temperatures: Temperatures) -> None:
        means.append(temperatures.student.detach().view(STUDENTS, -1).mean(1))

    whole = PolicyRun(task, [make_policy(name) for _ in range(STUDENTS)], range(STUDENTS), space)
    while not whole.run.finished:
        whole.advance(watch)
    return torch.stack(means)


def main() -> None:
    recipe = load_recipe("digits")
    task = build_task(recipe)
    figure = Figure(figsize=(6.0, 2.8), layout="constrained")
    axes = figure.subplots()
    for name, color in COLORS.items():
        temperatures = curve(name, task, recipe.policy).numpy()
        axes.plot(np.arange(len(temperatures)), temperatures, color=color, linewidth=0.6, alpha=0.35)
        axes.plot(temperatures.mean(1), color=color, label=name)
        print(f"{name}: T starts at {temperatures[0].mean():.3f} and ends at {temperatures[-1].mean():.2f}")
    for bound in (1.0, 21.0):
        axes.axhline(bound, color="#626a73", linestyle=":", linewidth=0.8)
    axes.set(xlabel="update", ylabel="temperature", ylim=(0, 22), xlim=(0, task.steps))
    axes.grid(color="#dfe3e8", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    with mpl.rc_context({"svg.hashsalt": "rltemp", "svg.fonttype": "none"}):
        figure.savefig(Path("docs/figures/ctkd-digits.svg"), metadata={"Date": None})


if __name__ == "__main__":
    main()
