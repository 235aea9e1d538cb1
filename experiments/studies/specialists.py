"""Is a policy that goes on training on a task of one's own better than a search with as many student runs?

uv run python -m rltemp.experiments.studies.specialists --data FOLDER

For every task and condition: references are tuned with as many student runs as the training takes; the policy goes on
from `--start` in the recipe that was tuned for them, on images that they do not see; and the arena judges both, and the
policy that it started from. What is finished is kept, and the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from rltemp.errors import InputError
from rltemp.experiments.arena.outcome import CellOutcome
from rltemp.experiments.arena.run import run_alone
from rltemp.experiments.arena.selection import Selection, cell_recipe, check_cells, find_tasks
from rltemp.experiments.arena.store import ResultStore
from rltemp.experiments.commands.arena_options import STUDENTS as MEASURED
from rltemp.experiments.commands.arena_options import TUNING_STUDENTS
from rltemp.experiments.commands.train_command import train
from rltemp.experiments.engines import Here, Leave
from rltemp.experiments.evaluation.specs import trained_policy
from rltemp.experiments.named_recipe import NamedRecipe, build
from rltemp.experiments.report.arena_tables import DASH
from rltemp.experiments.report.sentences import above
from rltemp.experiments.studies.cells import tuned_recipe
from rltemp.experiments.studies.general import CONDITIONS
from rltemp.experiments.studies.plugins import REFERENCES
from rltemp.policies.artifact import load_policy
from rltemp.recipes import Recipe, change_recipe, load_recipe
from rltemp.recipes.loading import count_updates

TASKS = "fashion"
STUDENTS = 64
"""Of a rollout."""


def main() -> None:
    """Tune, train, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tasks", default=TASKS, help="of the arena (default: %(default)s)")
    parser.add_argument("--conditions", default=",".join(CONDITIONS), help="of the arena (default: %(default)s)")
    parser.add_argument("--rollouts", type=int, default=120, help="of each training (default: %(default)s)")
    parser.add_argument("--start", default="rltemp/general", help="policy to go on from (default: %(default)s)")
    parser.add_argument("--data", default="data", help="folder of the arena's data (default: %(default)s)")
    parser.add_argument("--runs", default="runs", help="folder of all runs (default: %(default)s)")
    options = parser.parse_args()
    rows = ["| | static, tuned | schedule, tuned | started from | specialist | ruling |", f"|{'---|' * 6}"]
    for task in options.tasks.split(","):
        for condition in options.conditions.split(","):
            cell = specialist(task, condition, options.rollouts, options.start, options.data, options.runs)
            rows.append(row(cell))
            print(rows[-1], flush=True)
    print("\n".join(rows))


def specialist(task: str, condition: str, rollouts: int, start: str, data: str, root: str) -> CellOutcome:
    """Judge a policy that was trained for one cell of the arena; the last line of the outcome is its own.

    Args:
        task: of the arena.
        condition: of the arena.
        rollouts: of the training.
        start: policy that it goes on from.
        data: folder of the arena's data.
        root: folder of all runs.

    Raises:
        InputError: for a task whose images are too few for the arena and for agents.
    """
    # Recipe and references are searched with so many settings, of which each is a reference's own cost twice.
    trials = -(-rollouts * STUDENTS // (2 * TUNING_STUDENTS))
    selection = Selection(
        tasks=find_tasks([task], data, allow_download=False, allow_code=False),
        conditions=(condition,),
        budgets=(1,),
        methods=(),
        trained=(trained_policy(start),),
        students=MEASURED,
        trials=trials,
        tuning_students=TUNING_STUDENTS,
    )
    check_cells(selection)
    (cell,) = selection.cells
    # A task whose images are too few for the arena and for agents ends here, and not after hours of searches.
    name = f"specialist-{cell.task}-{condition}"
    build(NamedRecipe(name, specialized(cell_recipe(selection.tasks[cell.task], cell), rollouts, start)), root)
    store = ResultStore(Path(root, "specialists", "work"))
    _judge(selection, root, store)
    # Another start, of the same name even, is another training.
    run = f"{rollouts}-from-{selection.trained[0].name.rpartition('@')[2]}"
    policy = Path(root, name, run, "policy")
    if not policy.exists():
        train(NamedRecipe(name, specialized(tuned_recipe(selection, cell, store), rollouts, start)), root, run)
    both = dataclasses.replace(selection, trained=(*selection.trained, trained_policy(str(policy))))
    return _judge(both, root, store)


def specialized(recipe: Recipe, rollouts: int, start: str) -> Recipe:
    """The training of a policy for one recipe: by evolution, on images that the arena does not judge on."""
    policy, taught = load_policy(start), load_recipe("general")
    if not policy.weights:
        raise InputError(f"--start must be a policy that holds the weights of its loss, got {start}")
    own = change_recipe(recipe, {"data.pool": "agents", **{f"optimization.{k}": v for k, v in policy.weights.items()}})
    agent = dataclasses.replace(
        taught.agent,
        variations=(),
        start=start,
        hidden=policy.hidden,
        students=STUDENTS,
        rollouts=rollouts,
        reward_every=count_updates(own),
    )
    space = dataclasses.replace(
        taught.policy,
        features=policy.features.names,
        low=policy.low,
        high=policy.high,
        scale_range=policy.scale_range or (),
        label_range=policy.label_range or (),
    )
    return dataclasses.replace(own, policy=space, agent=agent)


def row(cell: CellOutcome) -> str:
    """Markdown: test accuracies of both references, and what is above the better one, in points."""
    *_, before, after = cell.lines
    lines = {line.method: line for line in cell.lines}
    accuracies = [f"{100 * lines[name].accuracy.mean:.1f}" for name in REFERENCES]
    gains = [DASH if line.regret is None else above(line.regret) for line in (before, after)]
    cells = [f"{cell.cell.task}, {cell.cell.condition}", *accuracies, *gains, after.ruling]
    return f"| {' | '.join(cells)} |"


def _judge(selection: Selection, root: str, store: ResultStore) -> CellOutcome:
    (name,) = selection.cells
    (cell,) = run_alone(selection, root, store, Here(), Leave(), f"{name.task}, {name.condition}")
    return cell


if __name__ == "__main__":
    main()
