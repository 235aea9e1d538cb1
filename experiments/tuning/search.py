"""One search on validation data, kept trial by trial, so that an interrupted one goes on where it stopped."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from rltemp.errors import InputError
from rltemp.experiments.evaluation.measure import Measure, judged_score
from rltemp.experiments.tuning.spaces import Space
from rltemp.experiments.tuning.validate import Validation
from rltemp.files import naming

__all__ = ["Found", "Trial", "best_static", "search"]

# Its warnings are of packages that would make suggestions a little faster.
optuna.logging.set_verbosity(optuna.logging.ERROR)

_WORST = -64.0
"""Score of students that diverged: a Gaussian process cannot be fitted to what is infinite."""
_LEAST_TRIALS = 4
"""Before a model is fitted; spaces that start with more settings need none at random."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """One setting that was tried.

    Attributes:
        policy: as `--policy` takes it.
        changes: values of the recipe that went with it, by dotted name.
        accuracy: mean validation accuracy, in [0, 1].
        nll: mean validation cross-entropy in nats; infinite where a student's is no finite number.
    """

    policy: str
    changes: Mapping[str, Any] = dataclasses.field(hash=False)
    accuracy: float
    nll: float

    def score(self, measure: Measure) -> float:
        """What is judged, the larger the better."""
        return judged_score(measure, self.accuracy, self.nll)


@dataclasses.dataclass(frozen=True)
class Found:
    """What a search came to.

    Attributes:
        trials: in the order in which they were made.
        measure: what they are compared by.
    """

    trials: tuple[Trial, ...]
    measure: Measure = "accuracy"

    @property
    def best(self) -> Trial:
        """Of the highest score; of equal ones the lowest cross-entropy, then the first."""
        return min(self.trials, key=lambda trial: (-trial.score(self.measure), trial.nll))


def best_static(static: Found, recipe: Found) -> Trial:
    """The best static temperature, which is the one that the recipe was tuned with if none of the search was better.

    Args:
        static: search of it in the tuned recipe.
        recipe: search of the recipe, scored on the same students.
    """
    return Found((*static.trials, dataclasses.replace(recipe.best, changes={})), static.measure).best


def search(
    space: Space,
    trials: int,
    seed: int,
    journal: Path,
    try_out: Callable[[str, Mapping[str, Any]], Validation],
    advance: Callable[[], None] = lambda: None,
    measure: Measure = "accuracy",
) -> Found:
    """Try `trials` settings: the space's starts, then what a Gaussian process fitted to all trials proposes.

    Each proposal follows from the finished trials and the seed alone, so that an interrupted search proposes what an
    uninterrupted one would. With a few dozen trials it comes closer than the tree-structured Parzen estimator. Source:
    Snoek et al. (2012), "Practical Bayesian Optimization of Machine Learning Algorithms", section 2.

    Args:
        space: what is searched.
        trials: how many, >= 1.
        seed: of the proposals, >= 0.
        journal: Optuna's file of the finished trials, made if missing; its folder exists.
        try_out: scores a policy in a recipe with these changes on validation data.
        advance: called once per trial, those found in the journal included.
        measure: what settings are compared by.

    Raises:
        InputError: for a journal that is damaged.
    """
    study = _open(space, journal)
    for number in range(trials):
        if number >= len(study.trials):
            values = _values(space, study, seed, number)
            result = try_out(space.policy(values), space.changes(values))
            trial = optuna.trial.create_trial(
                params={name: values[name] for name in space.distributions},
                distributions=dict(space.distributions),
                value=max(_WORST, judged_score(measure, result.accuracy, result.nll)),
                user_attrs={"accuracy": result.accuracy, "nll": result.nll},
            )
            with naming(journal):
                study.add_trial(trial)
        advance()
    return Found(tuple(_trial(space, trial) for trial in study.trials[:trials]), measure)


class _Unlocked(JournalFileOpenLock):
    """A journal belongs to one process: a lock could only keep out the one that comes after a process that died."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _open(space: Space, journal: Path) -> optuna.Study:
    with naming(journal):
        _mend(journal)
    try:
        with naming(journal):
            return optuna.create_study(
                storage=JournalStorage(JournalFileBackend(str(journal), _Unlocked(str(journal)))),
                study_name=space.name,
                direction="maximize",
                load_if_exists=True,
            )
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{journal} must be a journal of searches, got a damaged one; remove it") from error


def _mend(journal: Path) -> None:
    """Drop the last line if it was cut short, which nobody could read once another follows it."""
    if not journal.exists():
        return
    with journal.open("rb+") as file:
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)


def _values(space: Space, study: optuna.Study, seed: int, number: int) -> Mapping[str, Any]:
    if number < len(space.starts):
        return space.starts[number]
    # Asked of a copy: what is asked of the study itself is kept there even if its process dies before the answer.
    copy = optuna.create_study(direction="maximize", sampler=_sampler(seed, number))
    copy.add_trials(study.trials)
    values: Mapping[str, Any] = copy.ask(dict(space.distributions)).params
    return values


def _sampler(seed: int, number: int) -> optuna.samplers.BaseSampler:
    sequence = np.random.SeedSequence([seed, number])
    return optuna.samplers.GPSampler(n_startup_trials=_LEAST_TRIALS, seed=int(sequence.generate_state(1)[0]))


def _trial(space: Space, trial: optuna.trial.FrozenTrial) -> Trial:
    assert trial.value is not None
    # Journals of before there was another measure hold the accuracy as the value alone.
    accuracy = trial.user_attrs.get("accuracy", trial.value)
    return Trial(space.policy(trial.params), space.changes(trial.params), accuracy, trial.user_attrs["nll"])
