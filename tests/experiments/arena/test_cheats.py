"""Four cheats, planted in a real arena: each loses its verdict, however good it is, and the table says why."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from rltemp.distillation import Task
from rltemp.experiments.arena.cells import judge_cell
from rltemp.experiments.arena.conditions import lengthen
from rltemp.experiments.arena.outcome import CellOutcome, Kind, Line
from rltemp.experiments.arena.plan import CellPlan, Planned
from rltemp.experiments.arena.selection import Selection
from rltemp.experiments.arena.store import ResultStore
from rltemp.experiments.arena.work import Measure, Work
from rltemp.experiments.arena.workshop import Workshop
from rltemp.experiments.engines import Leave, Workplace
from rltemp.experiments.evaluation.specs import trained_policy
from rltemp.experiments.report.arena_tables import cell_to_markdown
from rltemp.policies import TemperaturePolicy, registry
from rltemp.policies.static import StaticPolicy
from rltemp.recipes import Recipe, dump_recipe
from rltemp.seeding import make_generator
from rltemp.temperatures import Temperatures

Plant = Callable[[CellPlan, list[Planned]], list[Planned]]

STRONG = 0.9
"""Share of the students' mistakes that are taken from a method to make it good."""


class Reader(TemperaturePolicy):
    """Makes instances hot by how many of the held-out images are of their class."""

    task: ClassVar[Task]

    def choose(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor | None,
        progress: float | Tensor,
        alignment: Tensor | None,
    ) -> Temperatures:
        frequent = torch.bincount(self.task.validation.targets, minlength=10).float()
        return Temperatures.shared(1.0 + frequent[teacher_logits.argmax(1)])


@pytest.fixture
def judged(
    selection: Selection, outcome: list[CellOutcome], arena_root: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., CellOutcome]:
    """Judges the cell with a cheat planted among what it measures; `method` is made good after it was measured."""
    store = ResultStore(arena_root / "work")
    workshop = Workshop(Workplace(arena_root, Leave()), arena_root / "journals")
    build = workshop.tasks._build

    def remember(recipe: Recipe) -> Task:
        Reader.task = build(recipe)
        return Reader.task

    workshop.tasks._build = remember
    entry = registry._Entry(Reader, "reads labels", "none")
    monkeypatch.setitem(registry._ENTRIES, "reader", entry)
    monkeypatch.setitem(registry._ENTRIES, "honest", registry._Entry(StaticPolicy, "one temperature", "none"))

    def judge(method: str, plant: Plant = lambda plan, planned: planned, **changes: Any) -> CellOutcome:
        good: set[Work] = set()

        class Planted(CellPlan):
            def measures(self, others: Sequence[CellPlan]) -> list[Planned]:
                planned = plant(self, super().measures(others))
                good.update(each.work for each in planned if each.method == method)
                return planned

        def results(work: Work) -> dict[str, Any]:
            found = store.find(work.key) or work.do(workshop)
            return made_good(found) if work in good else found

        plan = Planted(dataclasses.replace(selection, **changes), selection.cells[0], results)
        return judge_cell(plan, [plan], results)

    return judge


def made_good(measured: dict[str, Any]) -> dict[str, Any]:
    metrics = measured["metrics"]
    accuracy = [1.0 - (1.0 - STRONG) * (1.0 - value) for value in metrics["accuracy"]]
    return {**measured, "metrics": {**metrics, "accuracy": accuracy}}


def add(method: str, policy: str, kind: Kind = "rule", epochs: int = 1) -> Plant:
    """One more measurement, of a rule that takes no tuning."""

    def plant(plan: CellPlan, planned: list[Planned]) -> list[Planned]:
        return [*planned, plan._planned(method, kind, policy, lengthen(plan.frozen, epochs), 0)]

    return plant


def check(cell: CellOutcome, method: str, reason: str) -> Line:
    line = cell.line(method)
    assert line is not None
    reference = cell.line("static, tuned")
    assert reference is not None
    assert line.accuracy.mean > reference.accuracy.mean + 0.5
    assert (line.ruling, line.reasons) == ("withheld", (reason,))
    (row,) = [row for row in cell_to_markdown(cell).splitlines() if method in row]
    assert row.endswith(f"| withheld: {reason} |")
    return line


def test_without_a_cheat_a_good_method_is_better(judged: Callable[..., CellOutcome], selection: Selection) -> None:
    fresh = selection.trained[0].label
    for method, plant in (
        (fresh, lambda plan, planned: planned),
        ("honest", add("honest", "honest")),
        ("preset(dkd)", lambda plan, planned: planned),
    ):
        line = judged(method, plant).line(method)
        assert line is not None
        assert (line.ruling, line.reasons) == ("better", ())
        assert line.accuracy.mean == pytest.approx(1 - (1 - STRONG) * (1 - _true(judged, method, plant)))


def _true(judged: Callable[..., CellOutcome], method: str, plant: Plant) -> float:
    """The accuracy that was measured, of a method that is not better than the references."""
    line = judged("nothing", plant).line(method)
    assert line is not None
    assert line.ruling in ("not better", "worse")
    return line.accuracy.mean


def test_a_policy_that_reads_validation_labels(judged: Callable[..., CellOutcome]) -> None:
    reason = "it reads labels of validation or test images"
    check(judged("reader", add("reader", "reader")), "reader", reason)


def test_a_policy_that_is_measured_with_more_updates(judged: Callable[..., CellOutcome]) -> None:
    """The controls of the aligned policy make enough; without it there is none."""
    cell = judged("longer", add("longer", "honest", epochs=5), trained=())
    line = check(cell, "longer", "it makes 5.0 times the passes of its references")
    assert line.passes == 24
    with_controls = judged("longer", add("longer", "honest", epochs=4)).line("longer")
    assert with_controls is not None
    assert with_controls.ruling == "better"


def test_a_policy_that_was_trained_on_images_of_the_task(
    judged: Callable[..., CellOutcome], selection: Selection, arena_recipe: Recipe
) -> None:
    _, seen, silent, aligned = (spec.label for spec in selection.trained)
    # As in `data.pool` "all": 100 training and 50 validation images in the order of one permutation of all.
    shown = set(torch.randperm(1797, generator=make_generator(4, "split"))[:150].tolist())
    order = torch.randperm(1797, generator=make_generator(0, "pools")).tolist()
    test, pool = order[: 1797 // 4], order[1797 // 4 + (1797 - 1797 // 4) // 3 :]
    split = torch.randperm(len(pool), generator=make_generator(arena_recipe.data.split_seed, "split")).tolist()
    used = {*test, *(pool[row] for row in split[: 64 + 50])}
    check(judged(seen), seen, f"it was trained on {len(shown & used)} of the images of this task")
    check(judged(silent), silent, "its card does not say what it was trained on")
    line = judged(aligned).line(aligned)
    assert line is not None
    assert line.ruling == "withheld"
    assert line.tuning_runs == 24 * 16
    assert line.reasons[0].startswith("it was trained on ")
    assert line.reasons[1:] == ("it took 384 student runs, tuning its references 12",)


def test_a_card_that_fits_no_image_withholds_and_ends_nothing(
    judged: Callable[..., CellOutcome], tmp_path: Path, save_schedule: Callable[..., str]
) -> None:
    spec = trained_policy(save_schedule(tmp_path / "huge", {"data.train": 10**6}))
    check(judged(spec.label, trained=(spec,)), spec.label, "its card names more images than there are")


def test_references_that_were_not_tuned(judged: Callable[..., CellOutcome], selection: Selection) -> None:
    fresh = selection.trained[0].label

    def untuned(plan: CellPlan, planned: list[Planned]) -> list[Planned]:
        return [dataclasses.replace(each, tuning_runs=0) if each.kind == "reference" else each for each in planned]

    check(judged(fresh, untuned), fresh, "its references are not tuned")


def test_references_that_were_tuned_less_than_the_policy_was_trained(
    judged: Callable[..., CellOutcome], tmp_path: Path, save_schedule: Callable[..., str]
) -> None:
    spec = trained_policy(save_schedule(tmp_path / "long", {"data.pool": "agents"}, rollouts=5))
    check(judged(spec.label, trained=(spec,)), spec.label, "it took 15 student runs, tuning its references 12")
    enough = trained_policy(save_schedule(tmp_path / "enough", {"data.pool": "agents"}, rollouts=4))
    line = judged(enough.label, trained=(enough,)).line(enough.label)
    assert line is not None
    assert (line.ruling, line.tuning_runs) == ("better", 12)


def test_too_few_students(judged: Callable[..., CellOutcome], selection: Selection) -> None:
    fresh = selection.trained[0]
    cell = judged(fresh.label, students=5, trained=(fresh,))
    check(cell, fresh.label, "5 students are fewer than 32")
    assert cell.students == 5


def test_one_training_that_cheats_taints_its_group(judged: Callable[..., CellOutcome], selection: Selection) -> None:
    fresh, seen = (dataclasses.replace(spec, group="mine") for spec in selection.trained[:2])
    line = judged("mine", trained=(fresh, seen)).line("mine")
    assert line is not None
    assert line.accuracy.policies == 2
    assert line.ruling == "withheld"
    assert len(line.reasons) == 1
    assert line.reasons[0].startswith("it was trained on ")


def test_lines_say_what_was_measured(outcome: list[CellOutcome], selection: Selection, arena_root: Path) -> None:
    """Every line of the real arena, from the files of its work."""
    (cell,) = outcome
    store = ResultStore(arena_root / "work")
    plan = CellPlan(selection, selection.cells[0], lambda work: store.find(work.key) or {})
    planned = plan.measures([])
    assert [line.method for line in cell.lines] == ["the teacher", *(each.method for each in planned)]
    for line, each in zip(cell.lines[1:], planned, strict=True):
        metrics = plan._results(each.work)["metrics"]
        assert line.accuracy.mean == pytest.approx(np.mean(metrics["accuracy"]))
        assert line.nll == pytest.approx(np.mean(metrics["nll"]))
        assert line.passes == each.passes.total
        assert isinstance(each.work, Measure)
        assert each.work.recipe == dump_recipe(each.recipe, agent=False)
    assert cell.updates == 8
