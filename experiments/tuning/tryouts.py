"""Settings tried out by any engine: a unit of work is one setting on students that run side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from rltemp.experiments.engines import Failure, Team, Workplace, refuse
from rltemp.experiments.evaluation.specs import parse_policy
from rltemp.experiments.evaluation.task_cache import TaskCache
from rltemp.experiments.evaluation.units import side_by_side
from rltemp.experiments.tuning.search import Setting
from rltemp.experiments.tuning.validate import Validation, combine, validate
from rltemp.recipes import Recipe, change_recipe

__all__ = ["prepare_tryouts", "try_out", "try_with"]


@dataclass(frozen=True)
class _Tryout:
    number: int
    seeds: tuple[int, ...]
    recipe: Recipe = field(compare=False)
    policy: str = field(compare=False)


def prepare_tryouts(place: Workplace) -> Callable[[_Tryout], Validation]:
    """A worker that builds each task once."""
    return try_with(TaskCache(place.build))


def try_with(tasks: TaskCache) -> Callable[[_Tryout], Validation]:
    """A worker with these tasks."""
    return lambda unit: validate(tasks, unit.recipe, parse_policy(unit.policy), unit.seeds)


def try_out(
    team: Team, recipe: Recipe, settings: Sequence[Setting], seeds: Sequence[int], stacked: bool
) -> Iterator[Validation]:
    """What settings are worth, in their order.

    Args:
        team: of workers that `prepare_tryouts` or `try_with` made.
        recipe: what the settings change.
        settings: to be tried.
        seeds: of the students.
        stacked: whether students run side by side.

    Raises:
        InputError: for a setting that failed; those before it are given out first.
    """
    groups = side_by_side(seeds, stacked)
    units = [
        [_Tryout(number, group, change_recipe(recipe, setting.changes), setting.policy) for group in groups]
        for number, setting in enumerate(settings)
    ]
    done: dict[_Tryout, Validation] = {}
    waiting = iter(units)
    awaited = next(waiting, None)
    for unit, result in team.results([unit for of_setting in units for unit in of_setting]):
        if isinstance(result, Failure):
            refuse({f"{unit.policy} (students from seed {unit.seeds[0]})": result})
        done[unit] = result
        while awaited and all(part in done for part in awaited):
            yield combine([done[part] for part in awaited])
            awaited = next(waiting, None)
