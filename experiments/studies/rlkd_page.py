"""Tables and figure of `rlkd`: what students reached, and where their agents went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from rltemp.errors import InputError
from rltemp.experiments.evaluation.results import FloatArray
from rltemp.experiments.evaluation.statistics import paired_difference
from rltemp.experiments.machine import describe_machine
from rltemp.experiments.report.sentences import signed
from rltemp.files import atomic_write

__all__ = ["Outcome", "draw", "insert", "machine", "student_table", "temperature_table"]

USUAL, OWN, CONTROL = "T = 4", "rlkd", "shuffled rewards"
DRAWN = {OWN: "#b84f00", "as released": "#2b6ca3", CONTROL: "#626a73"}


@dataclass(frozen=True)
class Outcome:
    """What S students came to under one arm; NaN for one whose agent diverged.

    Attributes:
        accuracy: on the test images, [S].
        nll: on the test images, in nats, [S].
        validation_accuracy: [S].
        means: mean log2 T of each agent that did not diverge, by epoch, [S, epochs]; None for a static temperature.
        spreads: deviation of log2 T over the instances of a batch, likewise.
    """

    accuracy: FloatArray
    nll: FloatArray
    validation_accuracy: FloatArray
    means: FloatArray | None = None
    spreads: FloatArray | None = None


def student_table(outcomes: Mapping[str, Outcome], static: Sequence[str]) -> str:
    """Accuracy of every arm, and its paired differences to T = 4 and to the online agent."""
    best = max(static, key=lambda arm: float(outcomes[arm].validation_accuracy.mean()))
    agents = [arm for arm in outcomes if arm not in static]
    rows = ["| arm | accuracy, % | NLL | points over T = 4 | points over rlkd | students |", f"|{'---|' * 6}"]
    for label, arm in ((USUAL, USUAL), (f"tuned static: {best}", best), *zip(agents, agents, strict=True)):
        outcome = outcomes[arm]
        there = np.isfinite(outcome.accuracy)
        cells = [
            label,
            f"{100 * outcome.accuracy[there].mean():.2f}",
            f"{outcome.nll[there].mean():.3f}",
            *("" if arm == other else _over(outcome, outcomes[other]) for other in (USUAL, OWN)),
            f"{there.sum()}" if there.all() else f"{there.sum()}, {(~there).sum()} diverged",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def temperature_table(outcomes: Mapping[str, Outcome]) -> str:
    """Where the agents' temperatures are in the first epoch after the warm-up and in the last one."""
    rows = [
        "| agent | T, first epoch | T, last epoch | octaves from shuffled rewards | factor between students "
        "| factor between instances |",
        f"|{'---|' * 6}",
    ]
    for arm, outcome in outcomes.items():
        if outcome.means is None or outcome.spreads is None:
            continue
        first = int(np.argmax(outcome.spreads.mean(0) > 0.0))
        last = outcome.means[:, -1]
        cells = [
            arm,
            f"{2.0 ** outcome.means[:, first].mean():.2f}",
            f"{2.0 ** last.mean():.2f}",
            "" if arm == CONTROL else _octaves(outcome, outcomes[CONTROL]),
            f"{2.0 ** last.std(ddof=1):.2f}",
            f"{2.0 ** outcome.spreads[:, -1].mean():.2f}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def draw(outcomes: Mapping[str, Outcome], path: Path) -> None:
    """Mean T by epoch of every student's agent, and their mean; three agents side by side."""
    figure = Figure(figsize=(8.0, 2.6), layout="constrained")
    for axes, (arm, color) in zip(figure.subplots(1, len(DRAWN), sharey=True), DRAWN.items(), strict=True):
        means, spreads = outcomes[arm].means, outcomes[arm].spreads
        assert means is not None
        assert spreads is not None
        epochs = np.arange(1, means.shape[1] + 1)
        middle, spread = means.mean(0), spreads.mean(0)
        axes.plot(epochs, 2.0**means.T, color=color, linewidth=0.7, alpha=0.45)
        axes.plot(epochs, 2.0**middle, color=color, linewidth=2.0)
        ends = 2.0 ** (middle - spread), 2.0 ** (middle + spread)
        axes.fill_between(epochs, *ends, color=color, alpha=0.15, linewidth=0)
        axes.set(title=arm, xlabel="epoch", yscale="log", yticks=(1, 2, 4, 8), yticklabels=("1", "2", "4", "8"))
        axes.minorticks_off()
        axes.grid(color="#dfe3e8", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("temperature")
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "rltemp", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})


def machine() -> str:
    """Processor, cores, and PyTorch's version."""
    found = describe_machine()
    return f"{found['processor']}, {found['cores']} cores, PyTorch {found['torch']}"


def insert(page: Path, name: str, table: str) -> None:
    """Print a table, and put it in the page between its two marks, if the page has them.

    Raises:
        InputError: for a page in which the first mark has no second.
    """
    print(f"\n{name}\n\n{table}", flush=True)
    start, end = f"<!-- table {name} -->\n", f"<!-- end of {name} -->"
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    before, found, rest = text.partition(start)
    if not found:
        return
    _, closed, after = rest.partition(end)
    if not closed:
        raise InputError(f"{page} must have {end!r} after {start.strip()!r}")
    atomic_write(page, f"{before}{start}{table}\n{end}{after}")


def _over(outcome: Outcome, other: Outcome) -> str:
    """Difference of accuracy in points."""
    pair = _both(outcome.accuracy, other.accuracy)
    if len(pair[0]) < 2:
        return "too few"
    difference = paired_difference(*pair)
    return f"{signed(difference.mean)} [{signed(difference.low)}, {signed(difference.high)}]"


def _octaves(outcome: Outcome, control: Outcome) -> str:
    """Difference of log2 T in the last epoch, of the students whose agents diverged under neither arm."""
    pair = _both(_ends(outcome), _ends(control))
    if len(pair[0]) < 2:
        return "too few"
    difference = paired_difference(*pair)
    return f"{difference.mean:+.2f} [{difference.low:+.2f}, {difference.high:+.2f}]".replace("-", "\N{MINUS SIGN}")


def _ends(outcome: Outcome) -> FloatArray:
    """Log2 T in the last epoch, [S]; NaN where the agent diverged."""
    assert outcome.means is not None
    ends = np.full(len(outcome.accuracy), np.nan)
    ends[np.isfinite(outcome.accuracy)] = outcome.means[:, -1]
    return ends


def _both(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The values of the students that have one in both."""
    there = np.isfinite(a) & np.isfinite(b)
    return a[there], b[there]
