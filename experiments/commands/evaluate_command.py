"""`rltemp evaluate`: a table and a report of policies, paired over students."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from numpy.typing import ArrayLike

from rltemp.display import progress
from rltemp.distillation import Task, score_logits
from rltemp.experiments.commands.student_pages import check_student_pages, write_student_pages
from rltemp.experiments.console import output
from rltemp.experiments.evaluation.comparison import compare
from rltemp.experiments.evaluation.results import Evaluation, PolicyResult, TeacherResult
from rltemp.experiments.evaluation.results_files import load_evaluation, save_evaluation
from rltemp.experiments.evaluation.specs import PolicySpec, check_probe
from rltemp.experiments.evaluation.units import Unit, UnitStore, cut, merge
from rltemp.experiments.evaluation.workers import run_units
from rltemp.experiments.machine import describe_machine
from rltemp.experiments.named_recipe import NamedRecipe, build
from rltemp.experiments.report.page import write_report
from rltemp.experiments.report.sentences import about_teacher, about_trouble, headline, note
from rltemp.experiments.report.tables import to_markdown, to_rich
from rltemp.experiments.run_folder import RunFolder
from rltemp.files import atomic_write
from rltemp.markdown import escape_markdown
from rltemp.recipes import dump_recipe

__all__ = ["run_comparison"]


def run_comparison(
    setting: NamedRecipe,
    task: Task | None,
    specs: Sequence[PolicySpec],
    seeds: Sequence[int],
    root: str,
    name: str,
    *,
    training_metrics: Mapping[str, ArrayLike] | None = None,
    command: str | None = None,
    processes: int = 1,
    shown: Sequence[PolicySpec] = (),
    pages: int = 0,
) -> Path:
    """Evaluate policies in `<root>/<recipe>/<name>/`, print the table, write it (table.md) and the report.

    What was evaluated in this folder before is not run again: an interrupted comparison goes on where it stopped, and a
    finished one can be extended by more policies.

    Args:
        setting: the recipe.
        task: what it builds, if it is at hand already.
        specs: the policies.
        seeds: of the students, the same for all policies.
        root: folder of all runs.
        name: of this comparison.
        training_metrics: of a learned policy, for the report.
        command: the command line that makes this again, for the report.
        processes: how many work side by side; the results are the same.
        shown: the policies of which single students are shown.
        pages: how many of the first students, each on a page of its own under each of these policies.

    Returns:
        The HTML report.

    Raises:
        InputError: if the folder holds a comparison of another recipe or other seeds.
    """
    check_probe(specs, setting.recipe.policy)
    check_student_pages(setting.recipe, shown, pages)
    config = f"{dump_recipe(setting.recipe, agent=False)}# seeds: {' '.join(map(str, seeds))}\n"
    folder = RunFolder.start(root, setting.name, name, config)
    with folder.measuring():
        task = task or build(setting, root)
    before = _finished(folder)
    teacher = (before and before.teacher) or _judge(task)
    results = {result.name: result for result in (before.results if before else ())}
    parts = UnitStore(folder.path / "parts")
    units = cut([spec for spec in specs if spec.name not in results], seeds, task.stacked)
    for result in _run(setting, task, units, parts, root, processes):
        results[result.name] = result
        save_evaluation(_evaluation(setting, list(results.values()), seeds, teacher), folder.path)
    # What was measured stays; how a policy is called and grouped is for the command to say.
    results |= {
        spec.name: dataclasses.replace(results[spec.name], label=spec.label, group=spec.group) for spec in specs
    }
    save_evaluation(_evaluation(setting, list(results.values()), seeds, teacher), folder.path)
    parts.drop(cut(specs, seeds, task.stacked))
    evaluation = _evaluation(setting, [results[spec.name] for spec in specs], seeds, teacher)
    comparison = compare(evaluation)
    console = output()
    console.print(to_rich(comparison))
    notes = (about_teacher(comparison), note(comparison))
    told = ((row.label, about_trouble(row, comparison.best_static)) for row in comparison.rows)
    troubles = [f"{label}: {trouble}" for label, trouble in told if trouble]
    console.print(*troubles, notes[0], headline(comparison), notes[1], sep="\n", markup=False, emoji=False)
    paragraphs = (
        escape_markdown(headline(comparison)),
        to_markdown(comparison),
        *map(escape_markdown, troubles),
        *notes,
    )
    atomic_write(folder.path / "table.md", "\n\n".join(paragraphs) + "\n")
    report = folder.path / "report.html"
    students = write_student_pages(
        folder.path, setting, task, [results[spec.name] for spec in shown], shown, seeds[:pages]
    )
    write_report(report, evaluation, training_metrics, command, students)
    return report


def _run(
    setting: NamedRecipe, task: Task, units: Sequence[Unit], parts: UnitStore, root: str, processes: int
) -> Iterator[PolicyResult]:
    """Results of policies, each as soon as all its units are complete."""
    found = {unit: result for unit in units if (result := parts.find(unit)) is not None}
    waiting = [unit for unit in units if unit not in found]
    done: dict[Unit, PolicyResult] = {}
    with progress("policies", max(1, task.steps * len(units))) as display:
        display.advance(task.steps * len(found))
        fresh = run_units(
            setting.recipe,
            task,
            waiting,
            processes,
            root,
            display,
            allow_download=setting.allow_download,
            allow_code=setting.allow_code,
        )
        for unit, result in itertools.chain(found.items(), fresh):
            if unit not in found:
                parts.keep(unit, result)
            done[unit] = result
            siblings = [other for other in units if other.spec is unit.spec]
            if all(sibling in done for sibling in siblings):
                yield merge([done[sibling] for sibling in siblings])


def _finished(folder: RunFolder) -> Evaluation | None:
    return load_evaluation(folder.path) if (folder.path / "evaluation.json").exists() else None


def _judge(task: Task) -> TeacherResult:
    """What the task's teacher reaches on the test images, with one thread as the workers compute."""
    torch.set_num_threads(1)
    scores = score_logits(task.teacher_test_logits[None], task.test.labels)
    return TeacherResult(
        accuracy=scores.accuracy.item(),
        nll=scores.nll.nan_to_num(nan=torch.inf, posinf=torch.inf).item(),
        calibration_error=scores.calibration_error.nan_to_num(nan=1.0).item(),
    )


def _evaluation(
    setting: NamedRecipe, results: Sequence[PolicyResult], seeds: Sequence[int], teacher: TeacherResult
) -> Evaluation:
    return Evaluation(
        recipe=setting.name,
        setting=dataclasses.asdict(setting.recipe),
        seeds=tuple(seeds),
        results=tuple(results),
        machine=describe_machine(),
        teacher=teacher,
    )
