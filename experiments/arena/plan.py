"""The work of a cell, wave by wave: each wave follows from the results of those before it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rltemp.experiments.arena.conditions import under_condition
from rltemp.experiments.arena.outcome import Cell, Kind
from rltemp.experiments.arena.selection import Selection, cell_recipe
from rltemp.experiments.arena.singles import SINGLES, choose_single
from rltemp.experiments.arena.work import Learn, Measure, Search, Work
from rltemp.experiments.evaluation.contenders import parse_contender
from rltemp.experiments.evaluation.measure import measure_of
from rltemp.experiments.evaluation.passes import Passes
from rltemp.experiments.evaluation.specs import PolicySpec
from rltemp.experiments.tuning.search import Found, Trial, best_static
from rltemp.experiments.tuning.spaces import AGENT, PROBE, RULES, SCHEDULE, SPREAD, STATIC
from rltemp.presets import list_presets
from rltemp.recipes import Recipe, change_recipe, dump_recipe
from rltemp.recipes.loading import count_updates

if TYPE_CHECKING:
    from rltemp.experiments.evaluation.agent_specs import AgentSpec

__all__ = ["AGENTS", "METHODS", "CellPlan", "Planned", "others_of", "waves"]

Results = Callable[[Work], dict[str, Any]]
"""The result of a finished piece of work."""

METHODS = (
    *(rule.name for rule in RULES),
    *(f"preset({name})" for name in list_presets() if not name.endswith("imagenet")),
)
"""Rules whose options are searched, and whole published methods."""
AGENTS = (AGENT,)
"""Agents that learn in every run: slow, and judged where they are named."""
_DEFAULT = "static(temperature=4)"
_CHEAP = 1.05
"""Passes over those of a static temperature, up to which no control with more updates is needed."""


@dataclasses.dataclass(frozen=True)
class Planned:
    """A measurement of a method.

    Attributes:
        method: what it is called in every cell.
        kind: of line.
        work: what is to be done.
        spec: the policy.
        recipe: it is measured in.
        tuning_runs: student runs of its tuning on this task.
    """

    method: str
    kind: Kind
    work: Measure
    spec: PolicySpec | AgentSpec
    recipe: Recipe
    tuning_runs: int

    @property
    def reads_probe(self) -> bool:
        """Whether clean training images are seen beside the batches."""
        return self.spec.needs_alignment or self.recipe.optimization.probe_weight > 0

    @property
    def passes(self) -> Passes:
        """Per update of one student."""
        return self.spec.passes(self.recipe)


class CellPlan:
    """The work of one cell.

    Args:
        selection: what is compared.
        cell: where.
        results: of finished work; each method asks for those of the waves before it alone, and remembers what it made
            of them.
    """

    def __init__(self, selection: Selection, cell: Cell, results: Results) -> None:
        self.selection = selection
        self.cell = cell
        self.recipe = cell_recipe(selection.tasks[cell.task], cell)
        self.measure = measure_of(self.recipe)
        self._results = results

    @property
    def learn(self) -> Learn:
        """The teacher, the same at every length."""
        setting = self.selection.tasks[self.cell.task]
        return Learn(_text(under_condition(setting.recipe, self.cell.condition)))

    @property
    def tuning(self) -> Search:
        """Of the recipe with a static temperature."""
        return Search(_text(self.recipe), "recipe", self.selection.trials, self.selection.tuning_students)

    @cached_property
    def frozen(self) -> Recipe:
        """The recipe as it was tuned, which all methods run in."""
        return change_recipe(self.recipe, self.found(self.tuning).best.changes)

    @cached_property
    def searches(self) -> Mapping[str, Search]:
        """By the name of the space: both references with all trials, others with fewer, as they have less to search."""
        trials, text = self.selection.trials, _text(self.frozen)
        spaces = {STATIC.name: trials, SCHEDULE.name: trials}
        spaces |= {name: trials // 2 if name == SPREAD.name else trials // 3 for name in self._rules}
        if any(spec.needs_alignment for spec in self.selection.trained):
            spaces[PROBE.name] = trials // 3
        students = self.selection.tuning_students
        # An agent's students cannot run side by side, so that each costs as much as all of a rule's.
        few = max(1, students // 2)
        return {name: Search(text, name, n, few if name in AGENTS else students) for name, n in spaces.items()}

    @property
    def _rules(self) -> list[str]:
        return [name for name in (*(rule.name for rule in RULES), *AGENTS) if name in self.selection.methods]

    def found(self, search: Search) -> Found:
        """What a finished search came to."""
        return Found(tuple(Trial(**trial) for trial in self._results(search)["trials"]), self.measure)

    def measures(self, others: Sequence[CellPlan]) -> list[Planned]:
        """All methods.

        Args:
            others: cells of other tasks at the same length, on which single settings are chosen.
        """
        frozen, searches = self.frozen, self.searches
        runs = {name: self.tuning.runs + search.runs for name, search in searches.items()}
        best = {name: self.found(search).best for name, search in searches.items()}
        best[STATIC.name] = best_static(self.found(searches[STATIC.name]), self.found(self.tuning))
        planned = [self._planned("labels alone", "bound", "no-kd", frozen, self.tuning.runs)]
        for name in (STATIC.name, SCHEDULE.name):
            planned.append(self._planned(_tuned(name), "reference", best[name].policy, frozen, runs[name]))
        planned.append(self._planned("T = 4, T²", "single", _DEFAULT, frozen, 0))
        for space in (space for space in SINGLES if others and space.name in searches):
            policy = choose_single(space, [plan.found(plan.searches[space.name]) for plan in others])
            planned.append(self._planned(f"one {space.name} for all tasks", "single", policy, frozen, 0))
        for name in self._rules:
            planned.append(self._planned(_tuned(name), "rule", best[name].policy, frozen, runs[name]))
        for name in METHODS:
            if name in self.selection.methods and name not in searches:
                planned.append(self._planned(name, "preset", name, frozen, 0))
        planned += [self._trained(spec, frozen) for spec in self.selection.trained]
        return [*planned, *self._controls(planned, best, runs)]

    def _controls(self, planned: list[Planned], best: Mapping[str, Trial], runs: Mapping[str, int]) -> list[Planned]:
        """For methods that read the probe or make more passes than a static temperature."""
        controls: list[Planned] = []
        if PROBE.name in best:
            found = best[PROBE.name]
            recipe = change_recipe(self.frozen, found.changes)
            method = "static with the probe's images, tuned"
            controls.append(self._planned(method, "control", found.policy, recipe, runs[PROBE.name]))
        name = max((STATIC.name, SCHEDULE.name), key=lambda name: best[name].score(self.measure))
        reference = next(plan for plan in planned if plan.method == _tuned(name))
        for factor in sorted({plan.passes.total / reference.passes.total for plan in planned}):
            if factor > _CHEAP:
                for words, recipe in (
                    ("times the updates", _longer(reference.recipe, factor)),
                    ("times the batch", _wider(reference.recipe, factor)),
                ):
                    method = f"{reference.method}, {factor:.1f} {words}"
                    controls.append(self._planned(method, "control", best[name].policy, recipe, runs[name]))
        return controls

    def _trained(self, spec: PolicySpec, frozen: Recipe) -> Planned:
        path = spec.name.rpartition("@")[0]
        work = Measure(_text(frozen), path, spec.name, self.selection.students)
        return Planned(spec.group or spec.label, "trained", work, spec, frozen, 0)

    def _planned(self, method: str, kind: Kind, policy: str, recipe: Recipe, runs: int) -> Planned:
        spec = parse_contender(policy)
        work = Measure(_text(recipe), policy, spec.name, self.selection.students)
        return Planned(method, kind, work, spec, recipe, runs)


def _tuned(name: str) -> str:
    """What the method of a searched space is called."""
    return f"{name}, tuned"


def _text(recipe: Recipe) -> str:
    return dump_recipe(recipe, agent=False)


def waves(selection: Selection, results: Results) -> Iterator[list[Work]]:
    """All work, each piece once: teachers, recipes, options, measurements.

    A wave may be asked for when `results` has those before it.
    """
    plans = [CellPlan(selection, cell, results) for cell in selection.cells]
    # Cells may ask for the same: a journal has room for one process.
    yield list(dict.fromkeys(plan.learn for plan in plans))
    yield list(dict.fromkeys(plan.tuning for plan in plans))
    yield list(dict.fromkeys(search for plan in plans for search in plan.searches.values()))
    yield list(dict.fromkeys(planned.work for plan in plans for planned in plan.measures(others_of(plan, plans))))


def others_of(plan: CellPlan, plans: Sequence[CellPlan]) -> list[CellPlan]:
    """The cells of other tasks at the same length."""
    return [other for other in plans if other.cell.task != plan.cell.task and other.cell.budget == plan.cell.budget]


def _longer(recipe: Recipe, factor: float) -> Recipe:
    return change_recipe(recipe, {"optimization.epochs": math.ceil(factor * recipe.optimization.epochs)})


def _wider(recipe: Recipe, factor: float) -> Recipe:
    """As many updates of batches larger by `factor`, as far as there are images for them."""
    optimization, images = recipe.optimization, recipe.data.train
    steps = count_updates(recipe)
    batch = min(images, math.ceil(factor * optimization.batch_size))
    epochs = math.ceil(max(steps, steps * factor * optimization.batch_size / batch) / (images // batch))
    return change_recipe(recipe, {"optimization.batch_size": batch, "optimization.epochs": epochs})
