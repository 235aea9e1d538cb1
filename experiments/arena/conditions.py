"""What a task is put under, as values of its recipe: what can be wrong with it, and what stands beside its loss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from rltemp.errors import InputError
from rltemp.recipes import Recipe, change_recipe
from rltemp.recipes.loading import count_updates

__all__ = ["CONDITIONS", "lengthen", "under_condition"]

Changes = dict[str, Any]

FEATURES = ("pkt", "sp", "vid", "crd", "srrl")
"""Objectives on features that can stand beside the loss."""

_FEW, _NARROW = 8, 3 / 8


class _Condition(NamedTuple):
    line: str
    changes: Callable[[Recipe], Changes]


def _set(**changes: Any) -> Callable[[Recipe], Changes]:
    return lambda recipe: {name.replace("__", "."): value for name, value in changes.items()}


def _few(recipe: Recipe) -> Changes:
    """An eighth of the students' images in as many updates; the teacher keeps all of its own."""
    data, optimization = recipe.data, recipe.optimization
    train = max(optimization.batch_size, data.train // _FEW)
    steps = count_updates(recipe)
    return {
        "data.train": train,
        "teacher.train": recipe.teacher.train or data.train,
        "optimization.epochs": round(steps / (train // optimization.batch_size)),
    }


def _other_corpus(recipe: Recipe) -> Changes:
    """Of news for Shakespeare, of Shakespeare for all others."""
    if recipe.data.context is None:
        raise InputError(f"data.name must be a text for 'other-corpus', got {recipe.data.name!r}")
    if recipe.data.name != "shakespeare":
        return {"teacher.source": "shakespeare"}
    return {"teacher.source": "news-text", "teacher.path": str(Path("data", "news"))}


def _small(recipe: Recipe) -> Changes:
    """Every width of the student by three eighths."""
    options = recipe.student.options
    if not any(_is_width(value) for value in options.values()):
        raise InputError(f"student.options must have widths to narrow for 'small', got {options}")
    return {"student.options": {name: _narrow(value) for name, value in options.items()}}


def _is_width(value: object) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(_is_width(part) for part in value)
    return isinstance(value, int) and not isinstance(value, bool)


def _narrow(value: Any) -> Any:
    if not _is_width(value):
        return value
    return [_narrow(part) for part in value] if isinstance(value, list | tuple) else max(2, round(_NARROW * value))


CONDITIONS = {
    "clean": _Condition("as it is", _set()),
    "noise15": _Condition("15 % wrong labels, for teacher and student", _set(data__label_noise=0.15)),
    "noise30": _Condition("30 % wrong labels", _set(data__label_noise=0.3)),
    "noise60": _Condition("60 % wrong labels", _set(data__label_noise=0.6)),
    "weak-teacher": _Condition(
        "a teacher that saw the students' images once", _set(teacher__train=None, teacher__epochs=1)
    ),
    "missing-classes": _Condition("a teacher that never saw 30 % of the classes", _set(teacher__without=0.3)),
    "other-corpus": _Condition("a teacher of another text", _other_corpus),
    "junk": _Condition("half of the students' images are blends of two", _set(data__junk=0.5)),
    "few": _Condition("an eighth of the images, as many updates", _few),
    "small": _Condition("a student of three eighths of the widths", _small),
    "dkd": _Condition("in decoupled distillation", _set(optimization__objective="dkd")),
    **{name: _Condition(f"beside {name.upper()}", _set(optimization__features=name)) for name in FEATURES},
}


def under_condition(recipe: Recipe, condition: str) -> Recipe:
    """The recipe under one of `CONDITIONS`.

    Raises:
        InputError: for an unknown condition, or one that the recipe cannot have.
    """
    if condition not in CONDITIONS:
        raise InputError(f"--conditions must be of {', '.join(CONDITIONS)}, got {condition!r}")
    return change_recipe(recipe, CONDITIONS[condition].changes(recipe))


def lengthen(recipe: Recipe, budget: float) -> Recipe:
    """The recipe with `budget` times the updates, to whole epochs."""
    return change_recipe(recipe, {"optimization.epochs": max(1, round(budget * recipe.optimization.epochs))})
