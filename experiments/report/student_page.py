"""A page about one student under one policy: which instances got which temperature over the run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rltemp.data import Dataset, decode
from rltemp.experiments.evaluation.instances import InstanceCourses
from rltemp.experiments.evaluation.results import FloatArray, PolicyResult, TemperatureTrace
from rltemp.experiments.report.document import to_document, to_figure
from rltemp.experiments.report.strip import plot_strip
from rltemp.experiments.report.style import STUDENT_STYLE
from rltemp.experiments.report.thumbnail import curve, thumbnail
from rltemp.files import atomic_write

__all__ = ["StudentLink", "write_student_page"]

_SHOWN_CHARACTERS = 16
_SHOWN = 12
"""Instances of a kind that are shown, so that the page stays small whatever the data."""


@dataclass(frozen=True)
class StudentLink:
    """A page about a student.

    Attributes:
        href: where it is, relative to the report.
        text: what it is about.
    """

    href: str
    text: str


def write_student_page(
    path: str | os.PathLike[str],
    title: str,
    recipe: str,
    result: PolicyResult,
    courses: InstanceCourses,
    data: Dataset,
    replaced: Tensor | None,
) -> None:
    """Write the page to `path`, in one step; the same values give the same file, byte for byte.

    Args:
        path: the HTML file, in a folder beside the report.
        title: which student this is, under which policy.
        recipe: name of the recipe.
        result: of the policy.
        courses: what the N training instances got in the student's run.
        data: the N training instances.
        replaced: which labels are not the instances' own, [N] bool, or [N, L] of windows of a text, of which any makes
            the window wrong; None if all are, or if it is not known.
    """
    wrong = np.zeros(len(data), dtype=bool) if replaced is None else replaced.view(len(data), -1).any(1).numpy()
    scales = _Scales.of(courses, data)
    low, high = scales.temperature
    strip = plot_strip(replace(result, trace=_as_trace(courses, wrong if replaced is not None else None)))
    caption = (
        "All training instances, each time they were seen. Median and middle half, for the third whose cross-entropy "
        "is lowest at that time, and for the third whose is highest."
        + (" Mislabelled instances are neither." if wrong.any() else "")
    )
    sections = "\n".join(
        f'<h2>{escape(name)}</h2>\n<p class="note">{escape(said)}</p>\n<ul class="instances">\n'
        + "\n".join(_card(row, courses, data, bool(wrong[row]), scales) for row in rows)
        + "\n</ul>"
        for name, said, rows in _kinds(courses, wrong)
    )
    body = f"""<p><a href="../report.html">All policies</a></p>
<p class="note">CE is an instance's mean cross-entropy in nats whenever the student met it, and T the geometric mean of
its temperatures. The line is its temperature over the run, on a log scale from {low:.2g} at the bottom to {high:.2g} at
the top, the same for all instances.</p>
<div class="figures">
{to_figure("strip", strip, "Easy and hard instances over the run", caption)}
</div>
{sections}"""
    atomic_write(path, to_document(title, f"rltemp · {recipe}, training instances", body, STUDENT_STYLE))


def _as_trace(courses: InstanceCourses, wrong: NDArray[np.bool_] | None) -> TemperatureTrace:
    """Every visit as a sample."""
    met = np.isfinite(courses.progress)
    return TemperatureTrace(
        progress=np.zeros(0),
        quantiles=np.zeros((0, 5)),
        difficulty=courses.difficulty[met],
        temperature=courses.temperature[met],
        sample_progress=courses.progress[met],
        mislabelled=None if wrong is None else np.broadcast_to(wrong[:, None], met.shape)[met].astype(np.float64),
    )


def _kinds(courses: InstanceCourses, wrong: NDArray[np.bool_]) -> list[tuple[str, str, Sequence[int]]]:
    """The instances that are shown, by kind, with what the kind is."""
    met = courses.visited > 0
    difficulty, temperature = courses.mean_difficulty, courses.mean_temperature

    def first(of: NDArray[np.bool_], by: FloatArray) -> list[int]:
        rows = np.flatnonzero(of)
        chosen: list[int] = rows[np.argsort(by[rows], kind="stable")][:_SHOWN].tolist()
        return chosen

    own = " Mislabelled ones are apart." if wrong.any() else ""
    kinds = [
        ("Hottest", "The highest temperatures in the mean of the run.", first(met, -temperature)),
        ("Coldest", "The lowest temperatures, likewise.", first(met, temperature)),
        ("Easiest", f"The lowest cross-entropy in the mean of the run.{own}", first(met & ~wrong, difficulty)),
        ("Hardest", f"The highest.{own}", first(met & ~wrong, -difficulty)),
        (
            "Mislabelled",
            f"The hardest of {int(wrong.sum())} instances whose label was replaced by another (data.label_noise).",
            first(met & wrong, -difficulty),
        ),
    ]
    return [kind for kind in kinds if kind[2]]


def _card(row: int, courses: InstanceCourses, data: Dataset, wrong: bool, scales: _Scales) -> str:
    if data.positions is None:
        label = f"class {int(data.targets[row])}"
    else:
        label = decode(data.images[row])[:_SHOWN_CHARACTERS]
    mark = ' <span class="wrong">mislabelled</span>' if wrong else ""
    bottom, top = np.log(scales.temperature)
    visits = np.flatnonzero(np.isfinite(courses.progress[row]))
    heights = (np.log(courses.temperature[row, visits]) - bottom) / (top - bottom)
    line = curve(list(zip((100 * courses.progress[row, visits]).tolist(), heights.tolist(), strict=True)), "course")
    numbers = f"CE&nbsp;{courses.mean_difficulty[row]:.2f}, T&nbsp;{courses.mean_temperature[row]:.2g}"
    picture = thumbnail(data.images[row], *scales.pixel, f"training instance {row}, {label}")
    return f"<li>{picture}<span><b>{escape(label)}</b>{mark}<br>{numbers}</span>{line}</li>"


@dataclass(frozen=True)
class _Scales:
    """What is at the bottom and at the top of every line, and black and white in every picture."""

    temperature: tuple[float, float]
    pixel: tuple[float, float]

    @staticmethod
    def of(courses: InstanceCourses, data: Dataset) -> _Scales:
        low, high = float(np.nanmin(courses.temperature)), float(np.nanmax(courses.temperature))
        # At least a factor of two, so that noise does not look like choice.
        widen = max(1.0, 2.0 * low / high) ** 0.5
        if data.images.dtype == torch.uint8:
            return _Scales((low / widen, high * widen), (0.0, 255.0))
        black, white = float(data.images.min()), float(data.images.max())
        return _Scales((low / widen, high * widen), (black, max(white, black + 1e-9)))
