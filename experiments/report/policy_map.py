"""What a trained policy is and how it chooses: its card, and T over teacher confidence, student error and progress."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
import torch
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from rich.columns import Columns
from rich.console import Console
from rich.markdown import Markdown
from rich.style import Style
from rich.table import Table
from rich.text import Text
from torch import Tensor

from rltemp.alignment import ALIGNMENT_TEMPERATURES
from rltemp.errors import InputError
from rltemp.experiments.evaluation.results import FloatArray
from rltemp.experiments.report.figure import INK, drawing, to_png, to_svg
from rltemp.files import atomic_write
from rltemp.policies.artifact import load_policy
from rltemp.policies.card import render_card
from rltemp.policies.learned import LearnedPolicy

__all__ = ["PROGRESS", "plot_policy", "show_policy", "temperature_map"]

PROGRESS = (0.0, 0.5, 1.0)
CLASSES = 10
_SHOWN_CONFIDENCE = (0.2, 0.4, 0.6, 0.8, 0.95, 0.99)
_SHOWN_ERROR = (0.95, 0.8, 0.6, 0.4, 0.2, 0.05)
_COLD, _HOT = (59, 111, 182), (224, 123, 57)


def show_policy(path: str, out: str | None = None, console: Console | None = None) -> Path:
    """Print a policy's card and a map of its temperatures, and write the picture.

    Args:
        path: the policy's folder, or the name of one that comes with rltemp.
        out: the picture, .svg or .png; by default the policy's name with .svg, in the current folder.
        console: where to print; standard output by default.

    Returns:
        The picture.

    Raises:
        InputError: for a path that holds no policy, or another kind of picture.
    """
    from rltemp.experiments.console import output

    console = output() if console is None else console
    target = Path(out) if out is not None else Path(Path(os.path.abspath(path)).name + ".svg")
    if target.suffix not in (".svg", ".png"):
        raise InputError(f"--out must end in .svg or .png, got {target}")
    policy = load_policy(path)
    figure = plot_policy(policy)
    atomic_write(target, to_svg(figure) if target.suffix == ".svg" else to_png(figure))
    console.print(Markdown(_printable(_body(render_card(policy)))))
    console.print(Text(f"\nTemperature over teacher confidence (right) and student error (up). {_assumption(policy)}"))
    console.print(Columns([_table(policy, progress) for progress in PROGRESS], padding=(0, 3)))
    return target


def temperature_map(
    policy: LearnedPolicy, confidence: FloatArray, error: FloatArray, progress: float, classes: int = CLASSES
) -> FloatArray:
    """Temperatures [errors, confidences] of made-up instances.

    The teacher gives the label the probability `confidence`, the student 1 - `error`; what is left falls on the other
    classes, each half of the one before. The probe's alignment, where a policy sees it, is 0.

    Args:
        policy: what chooses.
        confidence: of the teacher in the label, in (0, 1).
        error: of the student, in (0, 1).
        progress: of the run, in [0, 1].
        classes: C.
    """
    teacher = _logits(torch.from_numpy(confidence), classes).repeat(len(error), 1)
    student = _logits(1.0 - torch.from_numpy(error), classes).repeat_interleave(len(confidence), dim=0)
    targets = torch.zeros(len(teacher), dtype=torch.int64)
    alignment = torch.zeros(len(teacher), len(ALIGNMENT_TEMPERATURES)) if "alignment" in policy.needs else None
    # Each is a batch of its own, for policies that look at their batch.
    temperatures = policy.choose(student, teacher, targets, progress, alignment, students=len(teacher)).teacher
    chosen: FloatArray = temperatures.view(len(error), len(confidence)).double().numpy()
    return chosen


def plot_policy(policy: LearnedPolicy) -> Figure:
    """T over teacher confidence and student error, a panel per stage of the run."""
    axis = np.linspace(0.02, 0.995, 60)
    with drawing(2.6, 5.4) as figure:
        panels = figure.subplots(1, len(PROGRESS), sharey=True)
        for axes, progress in zip(panels, PROGRESS, strict=True):
            image = axes.imshow(
                temperature_map(policy, axis, axis, progress),
                origin="lower",
                extent=(0, 1, 0, 1),
                norm=LogNorm(policy.low, policy.high),
                cmap="coolwarm",
            )
            axes.grid(visible=False)
            axes.set_title(f"{progress:.0%} of the run")
        panels[0].set_ylabel("Student error")
        panels[1].set_xlabel(f"Teacher confidence\n{_assumption(policy)}")
        bar = figure.colorbar(image, ax=panels, shrink=0.7)
        bar.set_label("T", color=INK)
        levels = [level for level in 2.0 ** np.arange(-10.0, 21.0) if policy.low <= level <= policy.high]
        bar.set_ticks(levels, labels=[f"{level:g}" for level in levels])
        bar.minorticks_off()
    return figure


def _assumption(policy: LearnedPolicy) -> str:
    neutral = ", a probe that says nothing" if "alignment" in policy.needs else ""
    return f"{CLASSES} classes{neutral}"


def _logits(probability: Tensor, classes: int) -> Tensor:
    others = torch.logspace(0, -(classes - 2), classes - 1, base=2.0, dtype=torch.float64)
    rest = (1.0 - probability)[:, None] * others / others.sum()
    return torch.cat((probability[:, None], rest), dim=1).log().float()


def _table(policy: LearnedPolicy, progress: float) -> Table:
    values = temperature_map(policy, np.array(_SHOWN_CONFIDENCE), np.array(_SHOWN_ERROR), progress)
    table = Table(title=f"{progress:.0%} of the run", box=None, padding=0, pad_edge=False)
    table.add_column("", justify="right")
    for confidence in _SHOWN_CONFIDENCE:
        table.add_column(f"{confidence:.2f} ", justify="right", width=5)
    for error, row in zip(_SHOWN_ERROR, values, strict=True):
        table.add_row(f"{error:.2f} ", *(_cell(policy, value) for value in row))
    return table


def _cell(policy: LearnedPolicy, value: float) -> Text:
    share = float(np.log(value / policy.low) / np.log(policy.high / policy.low))
    red, green, blue = (round(cold + share * (hot - cold)) for cold, hot in zip(_COLD, _HOT, strict=True))
    return Text(f"{value:.2g} ".rjust(5), style=Style.parse(f"white on rgb({red},{green},{blue})"))


def _body(card: str) -> str:
    """The card without its front matter, which is for machines."""
    return card.split("---\n", 2)[-1]


def _printable(text: str) -> str:
    """Without control characters: a card may come from a stranger, and terminals obey them."""
    return "".join(char for char in text if char == "\n" or unicodedata.category(char) not in ("Cc", "Cf"))
