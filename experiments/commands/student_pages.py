"""Pages beside a report, one for each of the first students under each policy that was asked for."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from rltemp.display import progress
from rltemp.distillation import Task
from rltemp.errors import DivergenceError, InputError
from rltemp.experiments.evaluation.instances import record_instances
from rltemp.experiments.evaluation.results import PolicyResult
from rltemp.experiments.evaluation.specs import PolicySpec
from rltemp.experiments.named_recipe import NamedRecipe
from rltemp.experiments.report.student_page import StudentLink, write_student_page
from rltemp.progress import Progress
from rltemp.recipes import Recipe

__all__ = ["check_student_pages", "write_student_pages"]

_FOLDER = "students"


def check_student_pages(recipe: Recipe, shown: Sequence[PolicySpec], pages: int) -> None:
    """Refuse pages that cannot be made, before any work starts.

    Raises:
        InputError: without a policy, or for images that are not in memory.
    """
    if pages and not shown:
        raise InputError("--student-pages must come with --policy or --trainings, got neither")
    if pages and not recipe.data.in_memory:
        raise InputError("data.in_memory must be true for --student-pages, got false")


def write_student_pages(
    folder: Path,
    setting: NamedRecipe,
    task: Task,
    results: Sequence[PolicyResult],
    shown: Sequence[PolicySpec],
    seeds: Sequence[int],
) -> list[StudentLink]:
    """Write the pages that are not there yet into `students/`, and tell of all.

    A policy without distillation has none, and neither has one under which one of these students diverges.

    Args:
        folder: of the report.
        setting: the recipe.
        task: what it builds.
        results: of the policies, in their order.
        shown: the policies.
        seeds: of the students.
    """
    if not (seeds and shown):
        return []
    links: list[StudentLink] = []
    with progress("student pages", task.steps * len(seeds) * len(shown)) as display:
        for result, spec in zip(results, shown, strict=True):
            if spec.loss(task.method).kd_weight > 0.0:
                links += _pages_of(folder, setting, task, result, spec, seeds, display)
    return links


def _pages_of(
    folder: Path,
    setting: NamedRecipe,
    task: Task,
    result: PolicyResult,
    spec: PolicySpec,
    seeds: Sequence[int],
    display: Progress,
) -> Iterator[StudentLink]:
    """The pages of one policy."""
    links = [
        StudentLink(f"{_FOLDER}/{_slug(spec)}-{seed}.html", f"Student {seed} under {spec.label}") for seed in seeds
    ]
    missing = [(seed, link) for seed, link in zip(seeds, links, strict=True) if not (folder / link.href).exists()]
    try:
        wanted = [seed for seed, _ in missing]
        courses = record_instances(task, spec, wanted, setting.recipe.policy, display.advance) if wanted else []
    except DivergenceError:
        return
    (folder / _FOLDER).mkdir(exist_ok=True)
    for (_, link), course in zip(missing, courses, strict=True):
        write_student_page(folder / link.href, link.text, setting.name, result, course, task.probe, task.replaced)
    yield from links


def _slug(spec: PolicySpec) -> str:
    """A file name that is no other policy's."""
    words = re.sub(r"[^a-z0-9]+", "-", spec.label.lower()).strip("-")[:40]
    return f"{words}-{hashlib.sha256(spec.name.encode()).hexdigest()[:6]}"
