"""One HTML file that shows an evaluation to whoever opens it: no scripts, no requests, no other files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from html import escape

import yaml
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from rltemp.experiments.evaluation.comparison import Comparison, compare
from rltemp.experiments.evaluation.results import Evaluation
from rltemp.experiments.report.document import to_document, to_figure, to_prose
from rltemp.experiments.report.plots import (
    plot_accuracy,
    plot_differences,
    plot_difficulty,
    plot_temperature,
    plot_training,
    rows_with_temperature,
)
from rltemp.experiments.report.sentences import about_teacher, headline, note
from rltemp.experiments.report.strip import plot_strip
from rltemp.experiments.report.student_page import StudentLink
from rltemp.experiments.report.tables import to_html
from rltemp.files import atomic_write

__all__ = ["write_report"]

MEANINGS = {
    "Accuracy": "Share of test images whose label is the student's first choice, after the last epoch. Test images "
    "are used for nothing else.",
    "NLL": "Mean cross-entropy with the label on the test images, in nats. Lower is better.",
    "ECE": "Expected calibration error: the mean gap between how sure the student is and how often it is right, in 15 "
    "bins of confidence (Guo et al. 2017). 0 is best.",
    "Agreement": "Share of the test images on which student and teacher predict the same class, right or wrong.",
    "KL to teacher": "Mean Kullback-Leibler divergence of the student's prediction from the teacher's on the test "
    "images at temperature 1, in nats. 0 is a perfect copy.",
    "vs": "Mean difference in accuracy on the same students, in percentage points, ± half the width of its interval.",
    "Best static, best schedule": "Those with the highest mean accuracy on the validation images. Choosing on the "
    "test images would flatter the choice.",
    "Verdict": "“better” or “worse” if the difference to the best static temperature stands after Holm's "
    "correction for the number of policies tested; else “unclear”, which is not the same as equal. “diverged” with the "
    "number of students whose training left all useful numbers: such a policy is compared with nothing.",
}


def write_report(
    path: str | os.PathLike[str],
    evaluation: Evaluation,
    training_metrics: Mapping[str, ArrayLike] | None = None,
    command: str | None = None,
    students: Sequence[StudentLink] = (),
) -> None:
    """Write the report of an evaluation to `path`, in one step.

    The same evaluation gives the same file, byte for byte.

    Args:
        path: the HTML file, in an existing folder.
        evaluation: what was measured.
        training_metrics: columns of the agent's training log (`plots.TRAINING_COLUMNS`), one value per rollout.
        command: the command line that makes this report again.
        students: pages about single students, which stand beside the report.
    """
    comparison = compare(evaluation)
    trained = [row for row in comparison.rows if row.family == "trained"]
    title = f"Temperature policies on {evaluation.recipe}"
    figures = "\n".join(
        to_figure(f"figure-{number}", *parts)
        for number, parts in enumerate(_figures(comparison, training_metrics), start=1)
    )
    reproduce = "" if command is None else f'<h2>Reproduce</h2>\n<pre class="command">{escape(command)}</pre>'
    meanings = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in MEANINGS.items())
    machine = "".join(
        f"<dt>{escape(key)}</dt><dd>{escape(str(value))}</dd>" for key, value in evaluation.machine.items()
    )
    setting = yaml.safe_dump(dict(evaluation.setting), sort_keys=False, allow_unicode=True)
    body = f"""<p class="headline verdict-{trained[0].verdict if trained else ""}">{to_prose(headline(comparison))}</p>
<h2>Comparison</h2>
<div class="scroll" tabindex="0" role="region" aria-label="Comparison of the policies">
{to_html(comparison)}
</div>
{_paragraph(about_teacher(comparison))}<p class="note">{escape(note(comparison))}</p>
<h2>Figures</h2>
<div class="figures">
{figures}
</div>
{_links(students)}<h2>What the numbers mean</h2>
<dl>{meanings}</dl>
{reproduce}
<h2>Setting</h2>
<details open><summary>Machine and versions</summary><dl>{machine}</dl></details>
<details><summary>Recipe</summary><pre>{escape(setting)}</pre></details>
<details><summary>Students' seeds</summary><pre>{" ".join(map(str, evaluation.seeds))}</pre></details>"""
    kicker = f"rltemp · knowledge distillation, {len(evaluation.seeds)} paired students per policy"
    atomic_write(path, to_document(title, kicker, body))


def _paragraph(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>\n' if text else ""


def _links(students: Sequence[StudentLink]) -> str:
    if not students:
        return ""
    items = "".join(f'<li><a href="{escape(link.href)}">{escape(link.text)}</a></li>' for link in students)
    return f"<h2>Single students</h2>\n<p>Which instances got which temperature:</p>\n<ul>{items}</ul>\n"


def _figures(
    comparison: Comparison, training_metrics: Mapping[str, ArrayLike] | None
) -> Iterator[tuple[Figure, str, str]]:
    """The figures that the data allows, each with a title and a caption that says what to see."""
    static = comparison.best_static
    line = "" if static is None else f" The dashed line is the mean of {static.label}, the best static temperature."
    yield (
        plot_accuracy(comparison),
        "Test accuracy, every student",
        "A dot is a student; the diamond is their mean, the bar its 95 % interval." + line + " Part of the "
        "spread is luck that a seed brings under every policy; comparing the same students removes it. Arrows name "
        "policies too far off to draw.",
    )
    if static is not None and any(row.versus_static is not None for row in comparison.rows):
        yield (
            plot_differences(comparison),
            f"Difference to {static.label}, student by student",
            f"Mean difference to {static.label} with its 95 % interval. A bar that crosses the dashed line leaves open "
            "which one is better; the table's verdicts are stricter, since many policies are compared.",
        )
    if rows_with_temperature(comparison):
        level = (
            " The dashed line is the best static temperature, an arrow where it lies outside."
            if static is not None and static.trace
            else ""
        )
        yield (
            plot_temperature(comparison),
            "Temperature over the run",
            "The line is the median over instances and students, the dark band the middle half, the light band the "
            "middle 90 %. A wide band means that instances are told apart; a slope, that the policy changes with time."
            + level,
        )
    for row in comparison.rows:
        trace = row.members[0].trace
        if row.family == "trained" and trace is not None and len(trace.difficulty):
            wrong = (
                " Mislabelled are instances whose label was replaced by another (`data.label_noise`); they are neither."
                if trace.mislabelled is not None
                else ""
            )
            yield (
                plot_strip(row.members[0]),
                f"Easy and hard instances over the run: {row.label}",
                "Median and middle half, for the third of the instances whose cross-entropy is lowest at "
                "that time, and for the third whose is highest. Lines that part: the policy tells them apart." + wrong,
            )
            yield (
                plot_difficulty(row.members[0]),
                f"Temperature against difficulty: {row.label}",
                "A dot is one instance in one update, colored by when it happened. The lines are the medians of the "
                "first, second and last third of the run: a line that rises gives hard instances a higher temperature.",
            )
    if training_metrics is not None:
        yield (
            plot_training(training_metrics),
            "How the agent learned",
            "One value per rollout, a rollout being whole distillation runs of all its students. The return is what "
            "the agent maximizes; it is measured on held-out training data, never on test data.",
        )
