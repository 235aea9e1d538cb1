"""The page docs/results.md, from the comparisons that `prove` makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rltemp.experiments.evaluation.comparison import Comparison
from rltemp.experiments.machine import describe_machine
from rltemp.experiments.report.sentences import headline, note, points, signed
from rltemp.experiments.report.tables import to_markdown

__all__ = ["ProbeSettings", "cifar_section", "results_page"]

ProbeSettings = Mapping[str, str | int]

FIRST = ("varied", "softness, varied", "logits, varied", "influence")
"""Labels of the rows at the head of the page, before the best schedule."""

HEAD = """# Results

> **What these figures are, and are not.** They were the first of this project, and the comparison they make is not
> a fair one. The recipe's augmentation (shifts of 1 px and noise on 8 x 8 px) costs every static student about 15
> points; an aligned policy sees clean training images at every update, through its probe, and gives some of them
> back. A static student who may use those images as well, as an ordinary term of the loss, gains more than twice as
> much, and without augmentation a plain constant is ahead
> ([analysis.md](analysis.md#the-control-that-was-missing)). What the policies gain here is information, not
> temperature. The fair comparison is [the arena](arena.md).

- **Agents that see a probe of clean images gain in short runs**; those that see logits or progress alone are not
  clearly ahead of the best static temperature.
- **The gain is smaller in longer runs.**
- **Credit for instances is what makes agents learn**: with a uniform reward, or credit given to the wrong students,
  nothing clear is gained.

Points of test accuracy over the best static temperature, with 95 % intervals. Every policy is below, folded."""

METHOD = """\
Written by `uv run python -m rltemp.experiments.studies.prove`; every number on this page comes from that command.
Policies were trained on `digits-short` (split 0, teacher 0, student 64-16-10, 90 updates, 12 rollouts), *varied* ones
on `digits-varied` (four splits, teachers and students in turn, one with label noise, one with another learning rate; 24
rollouts, or 48 for those that see logits alone, which learn more slowly). All are judged on a split, a teacher and a
student they never saw, with 64 paired students. All policies see the same labelled images of it: the probe of an
aligned policy is taken from the training images. The best static T and the best schedule are chosen on validation
images. Where a method was trained several times, its interval covers trainings and students.
Machine: """

NAMES = """- **Shuffled credit**: the same training with rewards and credit given to the wrong students.
- **Progress only**: an agent that sees nothing but how far the run is: what a schedule can give.
- **Influence reward**: credit for the effect on the next loss instead of the last; **redistribution**: learned from the
  rewards; **uniform reward**: none. Each with the settings that suit pay at every step.
- **Softness**: agents whose temperatures say how soft an instance is and not how much it counts (`policy.scale: 16`:
  every instance has the factor of T = 4 in the place of T²); *scale 16* marks other temperatures in the same loss.
- **influence**: greedy by the same alignment, without an agent."""

TRAINING = """\
The five aligned agents, rollout by rollout. The policy that counts is the one with the lowest validation NLL.

![Return, validation NLL, KL, noise, clipping and spread of the temperatures over rollouts](figures/training.svg)"""

PROBE = """\
Policies trained through the network with all 600 images at every update, reused with cheaper probes: points over the
best static T."""

CIFAR_METHOD = """\
`uv run rltemp train cifar100-cpu-short --data.path DATA --agent.seed SEED --name schedule-SEED` for three seeds, then
`uv run rltemp evaluate cifar100-cpu --data.path DATA --students 8 --no-references --policy "static,anneal,ctkd,dtkd,
normkd,static(temperature=4, scale=32),anneal(start=8, end=1, scale=32),rltemp/cifar100-schedule,rltemp/digits"
--trainings "learned=runs/cifar100-cpu-short/schedule-*/policy"`.

*Learned* are agents that were trained on other students and one epoch, paid by validation images; they saw nothing but
the progress of the run, and their scale is 32. *rltemp/cifar100-schedule* is the one of them with the best validation
loss. *rltemp/digits* was trained on digits alone; its probe is 128 training images every 4 updates, through the last
layer. What has a scale of its own stands as a control in this table, the same loss without an agent, and was not among
the references to choose from. Rules stand with the loss weights of the recipe; whole methods come with
`preset(...)`."""


def results_page(
    short: Comparison,
    other: Comparison,
    long: Comparison,
    longer: Comparison,
    probes: Sequence[tuple[ProbeSettings, Comparison]],
) -> str:
    """The page docs/results.md.

    Args:
        short: policies and references on the first unseen task, 90 updates.
        other: those that are reused, on the second unseen task, 90 updates.
        long: the same on the first unseen task, 270 updates.
        longer: the same on the second, 270 updates.
        probes: the first task again, by how much of a probe the policies get.
    """
    machine = ", ".join(f"{key} {value}" for key, value in describe_machine().items())
    parts = (
        HEAD,
        _first_rows({"90 updates": short, "another task": other, "270 updates": long, "270, another": longer}),
        _folded("How it was measured", f"{METHOD}{machine}."),
        "## Short runs: 90 updates",
        "Student 64-24-10.",
        _folded("All policies", f"{_judged(short)}\n\n{note(short)}\n\n{NAMES}"),
        "## Another task: weak teacher, small student, wrong labels",
        "A third split with 10 % random labels among the training images, a teacher of one member, student 64-12-10.",
        _folded("All policies", _judged(other)),
        "## Longer runs: 270 updates",
        "The same policies, trained on 90 updates and reused.",
        _folded("All policies", _judged(long)),
        _folded("All policies on the other task", _judged(longer)),
        "## How the agents learned",
        _folded("The curves", TRAINING),
        "## What the probe costs and gives",
        PROBE,
        _folded("All probes", _probe_table(probes)),
    )
    return "\n\n".join(parts) + "\n"


def cifar_section(cifar: Comparison) -> str:
    """The table of another data set."""
    judged = f"{_judged(cifar)}\n\n{note(cifar)}"
    return f"""
## CIFAR-100

20,000 images of 16 x 16 px, 4 epochs, small networks, 8 paired students.

{_folded("How it was measured", CIFAR_METHOD)}

{_folded("All policies", judged)}
"""


def _judged(comparison: Comparison) -> str:
    return f"{headline(comparison)}\n\n{to_markdown(comparison).rstrip()}"


def _folded(title: str, body: str) -> str:
    """Markdown that a reader opens, on hosting sites and on the project's own."""
    return f'<details markdown="1">\n<summary>{title}</summary>\n\n{body}\n\n</details>'


def _first_rows(tasks: Mapping[str, Comparison]) -> str:
    """What the policies of `FIRST` and the best schedule gain over the best static temperature, task by task."""
    lines = [f"| | {' | '.join(tasks)} |", f"|---|{'---|' * len(tasks)}"]
    for name in (*FIRST, "the best schedule"):
        cells = [_gain(comparison, name) for comparison in tasks.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _gain(comparison: Comparison, name: str) -> str:
    best = comparison.best_schedule
    label = best.label if best is not None and name not in FIRST else name
    (gain,) = (row.versus_static for row in comparison.rows if row.label == label)
    assert gain is not None
    shown = f"{signed(gain.mean)} ± {50 * (gain.high - gain.low):.2f}"
    return shown if label == name else f"{shown} ({label})"


def _probe_table(probes: Sequence[tuple[ProbeSettings, Comparison]]) -> str:
    """Gain over the best static temperature by probe."""
    names = [row.label for row in probes[0][1].rows if row.family == "trained"]
    lines = [f"| through | images | refreshed every | {' | '.join(names)} |", f"|---|---|---|{'---|' * len(names)}"]
    for settings, comparison in probes:
        gains = {row.label: row.versus_static for row in comparison.rows if row.family == "trained"}
        cells = [points(gain) if (gain := gains[name]) is not None else "-" for name in names]
        lines.append(f"| {' | '.join(map(str, settings.values()))} | {' | '.join(cells)} |")
    return "\n".join(lines)
