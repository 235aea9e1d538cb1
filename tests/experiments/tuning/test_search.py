"""A search is its space, its seed and its scores; how often it was interrupted is nothing to it."""

import contextlib
import math
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from rltemp.errors import InputError
from rltemp.experiments.evaluation.specs import parse_policy
from rltemp.experiments.tuning.search import Found, Trial, best_static, search
from rltemp.experiments.tuning.spaces import PROBE, RULES, SCHEDULE, STATIC, Space, find_space
from rltemp.experiments.tuning.validate import Validation
from rltemp.policies.static import StaticPolicy
from rltemp.recipes import load_recipe

TRIALS = 11
CTKD = next(space for space in RULES if space.name == "ctkd")


def scored(policy: str, changes: Mapping[str, Any]) -> Validation:
    """Highest at T = 0.3 with factor 30; where T is large, students diverge."""
    rule = parse_policy(policy).make(0)
    assert isinstance(rule, StaticPolicy)
    assert rule.scale is not None
    away = math.log(rule.temperature / 0.3) ** 2 + math.log(rule.scale / 30) ** 2
    return Validation(math.exp(-away / 8), math.inf if rule.temperature > 7 else away)


def by_text(policy: str, changes: Mapping[str, Any]) -> Validation:
    """Something for any policy, with ties."""
    value = sum(map(ord, policy + repr(sorted(changes.items()))))
    return Validation(value % 17 / 17, float(value % 5))


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "trials.journal"


def find(journal: Path, trials: int = TRIALS, seed: int = 3, **changes: Any) -> Found:
    arguments: dict[str, Any] = {"space": STATIC, "try_out": scored, **changes}
    try_out = arguments.pop("try_out")
    one_by_one = partial(map, lambda setting: try_out(*setting))
    return search(trials=trials, seed=seed, journal=journal, try_out=one_by_one, **arguments)


@pytest.mark.parametrize("space", [STATIC, SCHEDULE, PROBE, CTKD, find_space("recipe", load_recipe("digits-short"))])
def test_the_starts_come_first_and_then_what_lies_in_the_space(space: Space, journal: Path) -> None:
    found = find(journal, len(space.starts) + 3, space=space, try_out=by_text)
    count = len(space.starts)
    assert [trial.policy for trial in found.trials[:count]] == [space.policy(start) for start in space.starts]
    assert [trial.changes for trial in found.trials[:count]] == [space.changes(start) for start in space.starts]
    fresh = {(trial.policy, repr(trial.changes)) for trial in found.trials}
    assert len(fresh) == len(found.trials)
    for trial in found.trials:
        assert (trial.accuracy, trial.nll) == by_text(trial.policy, trial.changes)


def test_fewer_trials_than_starts_are_the_first_starts(journal: Path) -> None:
    found = find(journal, 3)
    assert [trial.policy for trial in found.trials] == [STATIC.policy(start) for start in STATIC.starts[:3]]


@pytest.mark.parametrize("space", [STATIC, CTKD])
def test_a_seed_decides_the_proposals_and_nothing_else_does(space: Space, tmp_path: Path) -> None:
    first, again, other = (
        find(tmp_path / name, seed=seed, space=space, try_out=by_text)
        for name, seed in (("first", 3), ("again", 3), ("other", 4))
    )
    count = len(space.starts)
    assert first == again
    assert first.trials[:count] == other.trials[:count]
    assert [trial.policy for trial in first.trials[count:]] != [trial.policy for trial in other.trials[count:]]


def test_proposals_follow_from_the_scores_before_them(tmp_path: Path) -> None:
    def but_for_one(number: int) -> Callable[..., Validation]:
        """Scores that differ in one trial, which is best of all or worst."""
        count = iter(range(TRIALS))
        return lambda *arguments: Validation(1.0, 0.0) if next(count) == number else scored(*arguments)

    one, other = (find(tmp_path / str(number), try_out=but_for_one(number)).trials for number in (0, 5))
    assert [trial.policy for trial in one[:8]] == [trial.policy for trial in other[:8]]
    assert one[8].policy != other[8].policy


def stopping(at: int, after: bool) -> tuple[Callable[..., Validation], Callable[[], None]]:
    """What is scored, and the display: one of them is interrupted at a trial, before or after it is written down."""
    tried = told = 0

    def try_out(policy: str, changes: Mapping[str, Any]) -> Validation:
        nonlocal tried
        if tried == at and not after:
            raise KeyboardInterrupt
        tried += 1
        return by_text(policy, changes)

    def advance() -> None:
        nonlocal told
        if told == at and after:
            raise KeyboardInterrupt
        told += 1

    return try_out, advance


@pytest.mark.parametrize("after", [False, True])
def test_an_interrupted_search_ends_as_an_unbroken_one(after: bool, tmp_path: Path) -> None:
    whole = find(tmp_path / "whole", try_out=by_text)
    for at in (0, 1, 7, 8, TRIALS - 1):
        journal = tmp_path / str(at)
        try_out, advance = stopping(at, after)
        with pytest.raises(KeyboardInterrupt):
            find(journal, try_out=try_out, advance=advance)
        assert find(journal, try_out=by_text) == whole
    often = tmp_path / "often"
    with contextlib.suppress(KeyboardInterrupt):
        for _ in range(3 * TRIALS):
            try_out, advance = stopping(3, False)
            with contextlib.suppress(KeyboardInterrupt):
                assert find(often, try_out=try_out, advance=advance) == whole
                break
        else:
            pytest.fail("the search never ended")


def test_a_search_that_ended_is_not_done_again_and_goes_on_if_asked(journal: Path) -> None:
    whole = find(journal)
    told: list[int] = []
    assert find(journal, try_out=None, advance=lambda: told.append(1)) == whole
    assert len(told) == TRIALS
    assert find(journal, 5, try_out=None).trials == whole.trials[:5]
    longer = find(journal, TRIALS + 2)
    assert longer.trials[:TRIALS] == whole.trials
    assert longer == find(journal.with_name("at once"), TRIALS + 2)


def test_a_journal_that_was_cut_anywhere_is_gone_on_with(journal: Path) -> None:
    """A process that is killed, or a disk that is full, may leave half of a line."""
    whole = find(journal, 4)
    content = journal.read_bytes()
    ends = [at for at in range(len(content)) if content[at : at + 1] == b"\n"]
    assert len(ends) == 5  # the study and its trials
    for cut in sorted({0, 1, *(end + step for end in ends for step in (-40, -1, 0, 1))}):
        journal.write_bytes(content[:cut])
        assert find(journal, 4) == whole, cut
        assert find(journal, 4, try_out=None) == whole, cut


def test_a_process_that_died_locks_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Optuna's own lock is a link, beside the journal, to the journal's name; it stays if its process is killed."""
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    journal = Path("runs") / "trials.journal"
    os.symlink(journal, f"{journal}.lock")
    assert len(find(journal, 2).trials) == 2


@pytest.mark.parametrize("content", [b"nonsense\n", b"[]\n", b"{}\n", b"\xff\xfe\n", b'{"op_code": 4}\n{\n'])
def test_a_damaged_journal_is_one_clear_error(journal: Path, content: bytes) -> None:
    journal.write_bytes(content)
    with pytest.raises(InputError, match=r"trials\.journal must be a journal of searches"):
        find(journal, 2)


def test_searches_share_a_journal_that_optuna_reads(journal: Path) -> None:
    statics, schedules = find(journal, 4), find(journal, 3, space=SCHEDULE, try_out=by_text)
    assert find(journal, 4, try_out=None) == statics
    storage = JournalStorage(JournalFileBackend(str(journal)))
    assert {study.study_name for study in optuna.get_all_study_summaries(storage)} == {"static", "schedule"}
    study = optuna.load_study(study_name="schedule", storage=storage)
    assert [trial.value for trial in study.trials] == [trial.accuracy for trial in schedules.trials]
    assert study.best_value == schedules.best.accuracy


def test_the_best_is_the_most_accurate_then_the_surest_then_the_first(journal: Path) -> None:
    scores = iter([(0.5, 0.1), (0.7, math.inf), (0.7, 0.4), (0.7, 0.3), (0.7, 0.3), (0.6, 0.0)])
    found = find(journal, 6, try_out=lambda *_: Validation(*next(scores)))
    assert found.best is found.trials[3]


@pytest.mark.parametrize(("accuracy", "nll", "wanted"), [(0.6, 9.0, "usual"), (0.5, 0.9, "usual"), (0.5, 1.0, "found")])
def test_the_temperature_of_the_recipes_search_is_one_of_the_static_ones(
    accuracy: float, nll: float, wanted: str
) -> None:
    """It is the reference where no other is better: a default must not beat what was tuned by being left out."""
    static = Found((Trial("worse", {}, 0.4, 0.1), Trial("found", {}, 0.5, 1.0)))
    recipe = Found(
        (Trial("lost", {"optimization.lr": 9.0}, 0.1, 0.1), Trial("usual", {"optimization.lr": 0.1}, accuracy, nll))
    )
    assert (best := best_static(static, recipe)).policy == wanted
    assert best.changes == {}


def test_an_infinite_cross_entropy_is_kept(journal: Path) -> None:
    find(journal, try_out=lambda *_: Validation(0.1, math.inf))
    assert [trial.nll for trial in find(journal, try_out=None).trials] == [math.inf] * TRIALS


@pytest.mark.parametrize("seed", [0, 1])
def test_it_finds_what_no_start_comes_near(journal: Path, seed: int) -> None:
    starts = max(scored(STATIC.policy(start), {}).accuracy for start in STATIC.starts)
    found = find(journal, 20, seed)
    assert starts < 0.6
    assert found.best.accuracy > 0.85
    assert found.best.accuracy == max(trial.accuracy for trial in found.trials)
