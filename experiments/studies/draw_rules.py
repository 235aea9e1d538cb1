"""Draws the pictures of docs/rules.md: temperatures against the teacher's confidence and the student's error.

Run `python -m rltemp.experiments.studies.draw_rules` from the root of the repository.
"""

from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from rltemp.policies import make_policy
from rltemp.temperatures import Temperatures

FOLDER = Path("docs/figures")
ERRORS = {0.05: "#2b6ca3", 0.5: "#8a6100", 0.95: "#b84f00"}
PROGRESS = {0.0: "#2b6ca3", 0.5: "#8a6100", 1.0: "#b84f00"}
RULES = ("static", "random", "anneal", "ctkd", "dtkd", "normkd", "lskd", "ttm", "wttm")
CLASSES = 10


def logits_of(confidence: Tensor) -> Tensor:
    """Logits [B, C] of mean 0 that give class 0 the probability [B]; the others lie like a sorted normal sample."""
    ranks = (torch.arange(1, CLASSES, dtype=torch.float64) - 0.5) / (CLASSES - 1)
    others = torch.special.ndtri(ranks).expand(len(confidence), -1)
    first = torch.logit(confidence) + others.logsumexp(1)
    logits = torch.cat((first[:, None], others), dim=1)
    return logits - logits.mean(1, keepdim=True)


def temperatures(name: str, confidence: Tensor, error: float, progress: float = 0.0) -> Temperatures:
    student = logits_of(torch.full_like(confidence, 1.0 - error))
    chosen: Temperatures = make_policy(name)(student, logits_of(confidence), progress=progress)
    return chosen.detach()


def draw(name: str, axes: Axes) -> None:
    """The teacher's temperature as a line; the student's, where it is another, dashed."""
    confidence = torch.linspace(0.11, 0.999, 200, dtype=torch.float64)
    lines = {f"progress {p:g}": (temperatures(name, confidence, 0.5, p), color) for p, color in PROGRESS.items()}
    if name != "anneal":
        lines = {f"student's error {e:g}": (temperatures(name, confidence, e), color) for e, color in ERRORS.items()}
    if name in ("static", "random", "ctkd", "ttm", "wttm"):
        lines = {"whatever the student's error": lines["student's error 0.5"]}
    for label, (chosen, color) in lines.items():
        axes.plot(confidence, chosen.teacher, "." if name == "random" else "-", color=color, markersize=3, label=label)
        if not torch.equal(chosen.teacher, chosen.student):
            axes.plot(confidence, chosen.student, color=color, linestyle="--")
    if name == "wttm":
        axes.plot(confidence, chosen.scale, color="#626a73", linestyle=":", label="scale")
    axes.set(xlabel="teacher's confidence", ylabel="temperature", yscale="log", ylim=(0.3, 40), xlim=(0.1, 1.0))
    ticks = [0.5, 1, 2, 4, 8, 16, 32]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(color="#dfe3e8", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=7, loc="upper left", ncols=2)


def main() -> None:
    # Text stays text and the ids stay the same, so that a picture changes in version control when a rule does.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "rltemp", "font.size": 8, "font.family": "sans-serif"})
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in RULES:
        figure = Figure(figsize=(4.4, 2.5), layout="constrained")
        draw(name, figure.subplots())
        figure.savefig(FOLDER / f"rule_{name}.svg", metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main()
