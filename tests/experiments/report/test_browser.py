"""The reports in a real browser, on a desk and on a phone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rltemp.data import Dataset
from rltemp.experiments.arena.outcome import ArenaOutcome
from rltemp.experiments.evaluation.instances import InstanceCourses
from rltemp.experiments.evaluation.results import Evaluation
from rltemp.experiments.report.arena_page import write_arena_report
from rltemp.experiments.report.page import write_report
from rltemp.experiments.report.student_page import write_student_page

Make = Callable[..., Any]
Look = Callable[[Path], list[dict[str, Any]]]


def check(view: dict[str, Any], tables: int) -> None:
    assert view["console"] == []
    assert view["width"] <= view["room"]
    assert len(view["tables"]) == tables
    for table in view["tables"]:
        if table["wide"]:
            assert table["scrolls"]
            assert (table["role"], table["tabindex"]) == ("region", "0")
            assert table["label"]


def shows_that_it_scrolls(view: dict[str, Any]) -> bool:
    """Whether the edge lies in shadow while there is more beyond it, and in the light at the end."""
    start, end = view["edge"]
    return any(table["wide"] for table in view["tables"]) and start < end - 15


def test_an_evaluation_fits_a_desk_and_a_phone(make_evaluation: Make, look: Look, tmp_path: Path) -> None:
    evaluation: Evaluation = make_evaluation(label="runs/a-policy-with-a-name-that-goes-on-and-on/policy (aligned)")
    *others, control = evaluation.results
    lost = replace(control, nll=control.nll + 1e4, trouble="a student diverged at update 7: lower optimization.lr")
    command = (
        "rltemp evaluate digits-short --no-references --policy static,anneal,dtkd,no-kd --students 8 --teacher.epochs=2"
    )
    write_report(tmp_path / "report.html", replace(evaluation, results=(*others, lost)), command=command)
    desk, phone = look(tmp_path / "report.html")
    check(desk, 1)
    check(phone, 1)
    assert shows_that_it_scrolls(phone)


def test_the_page_of_a_student_fits_a_desk_and_a_phone(make_evaluation: Make, look: Look, tmp_path: Path) -> None:
    rows, visits = 60, 24
    rng = np.random.default_rng(0)
    progress = np.sort(rng.uniform(0, 1, (rows, visits)), axis=1)
    courses = InstanceCourses(progress, rng.lognormal(1, 1, (rows, visits)), rng.exponential(1, (rows, visits)))
    data = Dataset(torch.randint(0, 256, (rows, 3, 32, 32), dtype=torch.uint8), torch.arange(rows) % 7, 1000)
    result = make_evaluation().results[0]
    title = "Student 12 under runs/a-policy-with-a-name-that-goes-on-and-on/policy (aligned)"
    write_student_page(tmp_path / "1.html", title, "digits", result, courses, data, torch.arange(rows) % 3 == 0)
    for view in look(tmp_path / "1.html"):
        check(view, 0)
        assert view["pictures"] == {"shown": 5 * 12, "broken": 0}


def test_an_arena_fits_a_desk_and_a_phone(make_arena: Make, look: Look, tmp_path: Path) -> None:
    outcome: ArenaOutcome = make_arena(tasks=6, budgets=(1,), policy="rltemp/cifar100-schedule (schedule)")
    write_arena_report(tmp_path / "arena.html", outcome)
    for view in look(tmp_path / "arena.html"):
        check(view, 1 + 12)
        assert shows_that_it_scrolls(view)
