"""Is it which instance gets what that a trained policy gains by, or how much of it all get?

uv run python -m rltemp.experiments.studies.instances --data FOLDER

In cells of the arena, in the recipe that was tuned there, on the students that it measures: the policy as it is; its
choices dealt to other instances of the batch; their mean for all of a batch. The arena comes first, for the policy
alone; what is finished in its folder is found.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rltemp.experiments.arena.plan import CellPlan
from rltemp.experiments.arena.run import run_alone
from rltemp.experiments.arena.selection import Selection, find_tasks
from rltemp.experiments.arena.store import ResultStore
from rltemp.experiments.arena.work import FIRST_MEASURED
from rltemp.experiments.commands.arena_options import STUDENTS, TRIALS, TUNING_STUDENTS
from rltemp.experiments.engines import Here, Leave
from rltemp.experiments.evaluation.results import FloatArray
from rltemp.experiments.evaluation.specs import trained_policy
from rltemp.experiments.evaluation.statistics import Difference, mean_interval, paired_difference
from rltemp.experiments.named_recipe import NamedRecipe, build
from rltemp.experiments.report.sentences import gained
from rltemp.experiments.studies.changed import Changed, accuracy, averaged, dealt
from rltemp.experiments.studies.general import JUDGED_ON
from rltemp.policies import TemperaturePolicy
from rltemp.policies.artifact import load_policy
from rltemp.recipes import Recipe

CONDITIONS = ("clean", "noise30", "weak-teacher", "missing-classes", "noise60", "junk", "few", "small")
CHANGES = {"dealt to other instances": dealt, "their mean for the whole batch": averaged}


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--policy", default="rltemp/general", help="a trained one (default: %(default)s)")
    parser.add_argument("--tasks", default=",".join(JUDGED_ON), help="of the arena (default: %(default)s)")
    parser.add_argument("--conditions", default=",".join(CONDITIONS), help="of the arena (default: %(default)s)")
    parser.add_argument("--data", default="data", help="folder of the arena's data (default: %(default)s)")
    parser.add_argument("--runs", default="runs", help="folder of all runs (default: %(default)s)")
    options = parser.parse_args()
    selection = Selection(
        tasks=find_tasks(options.tasks.split(","), options.data, allow_download=False, allow_code=False),
        conditions=tuple(options.conditions.split(",")),
        budgets=(1,),
        methods=(),
        trained=(trained_policy(options.policy),),
        students=STUDENTS,
        trials=TRIALS,
        tuning_students=TUNING_STUDENTS,
    )
    policy = load_policy(options.policy)
    changed = {name: Changed(policy, change) for name, change in CHANGES.items()}
    losses: dict[str, list[Difference]] = {name: [] for name in changed}
    print(f"| | as it is | {' | '.join(changed)} |\n|{'---|' * (len(changed) + 2)}")
    for plan in _plans(selection, options.runs):
        task, condition = plan.cell.task, plan.cell.condition
        whole, *others = _accuracies(plan.frozen, [policy, *changed.values()], policy.weights, options.runs)
        gaps = [paired_difference(other, whole) for other in others]
        for each, gap in zip(losses.values(), gaps, strict=True):
            each.append(gap)
        cells = [f"{task}, {condition}", f"{100 * whole.mean():.1f}", *map(gained, gaps)]
        print(f"| {' | '.join(cells)} |", flush=True)
    if len(selection.cells) > 1:
        means = [mean_interval(np.array([gap.mean for gap in gaps])) for gaps in losses.values()]
        print(f"| mean of the cells | | {' | '.join(map(gained, means))} |")


def _plans(selection: Selection, root: str) -> Sequence[CellPlan]:
    """The cells, their recipes tuned."""
    store = ResultStore(Path(root, "arena", "work"))
    run_alone(selection, root, store, Here(), Leave())
    return [CellPlan(selection, cell, lambda work: store.find(work.key) or {}) for cell in selection.cells]


def _accuracies(
    recipe: Recipe, policies: Sequence[TemperaturePolicy], weights: Mapping[str, float], root: str
) -> list[FloatArray]:
    """Test accuracies of the same students under each policy, [S] in [0, 1]."""
    task = build(NamedRecipe("instances", recipe), root)
    teacher = task.teacher.recorded()
    seeds = range(FIRST_MEASURED, FIRST_MEASURED + STUDENTS)
    return [accuracy(recipe, task, policy, seeds, teacher, weights) for policy in policies]


if __name__ == "__main__":
    main()
