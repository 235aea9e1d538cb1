"""An arena is the same however often it is killed, and however many processes work at it."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from rltemp.errors import InputError
from rltemp.experiments.arena.outcome import CellOutcome
from rltemp.experiments.arena.run import all_work, arena_team, do_work, run_arena, weight
from rltemp.experiments.arena.selection import Selection
from rltemp.experiments.arena.store import ResultStore
from rltemp.experiments.arena.work import Learn, Measure, Search, Work
from rltemp.experiments.arena.workshop import Workshop
from rltemp.experiments.engines import Failure, Here, Leave, Processes
from rltemp.progress import NoProgress


class Display:
    def __init__(self) -> None:
        self.done = 0

    def advance(self, steps: int = 1) -> None:
        self.done += steps

    def describe(self, text: str) -> None:
        assert text


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.json")}


def run(selection: Selection, root: Path, store: ResultStore) -> tuple[str, int]:
    """What it finds, in full, and how much the display counted."""
    display = Display()
    cells = run_arena(selection, str(root), store, Here(), display, Leave())
    return repr(cells), display.done


def test_work_that_is_done_is_never_done_again(
    selection: Selection, outcome: list[CellOutcome], arena_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(arena_root / "work")

    for kind in (Learn, Search, Measure):
        monkeypatch.setattr(kind, "do", None)
    store = ResultStore(arena_root / "work")
    assert run(selection, arena_root, store) == (repr(outcome), sum(map(weight, all_work(selection, store))))
    assert files(arena_root / "work") == before


def test_a_killed_arena_goes_on_where_it_was(
    selection: Selection,
    outcome: list[CellOutcome],
    arena_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed twice: within a search, and when a measurement is about to be kept."""
    expected = files(arena_root / "work")
    tried: list[str] = []
    begun: list[Work] = []
    validate, keep = Workshop.validate, ResultStore.keep

    def counted(self: Workshop, recipe: Any, policy: str, seeds: Any) -> Any:
        if len(tried) == 5:
            tried.append("killed")
            raise KeyboardInterrupt
        tried.append(policy)
        return validate(self, recipe, policy, seeds)

    def full(self: ResultStore, key: str, result: dict[str, Any]) -> None:
        if len(files(self.folder)) == 30:
            raise KeyboardInterrupt
        keep(self, key, result)

    monkeypatch.setattr(Workshop, "validate", counted)
    for kind in (Learn, Search, Measure):
        monkeypatch.setattr(kind, "do", _counting(kind.do, begun))
    store = ResultStore(tmp_path / "work")
    with pytest.raises(KeyboardInterrupt):
        run(selection, tmp_path, store)
    assert len(files(store.folder)) == 2  # the teacher and the recipe
    assert len(begun) == 3
    monkeypatch.setattr(ResultStore, "keep", full)
    with pytest.raises(KeyboardInterrupt):
        run(selection, tmp_path, store)
    monkeypatch.setattr(ResultStore, "keep", keep)
    # The third search goes on with its third trial.
    assert len(begun) == 3 + 1 + 30 - 2
    found, done = run(selection, tmp_path, store)
    assert found == repr(outcome)
    assert files(store.folder) == expected
    works = all_work(selection, store)
    assert len(begun) == len(works) + 2
    assert {work.key for work in begun} == {work.key for work in works}
    assert done == sum(map(weight, works))
    trials = sum(work.trials for work in works if isinstance(work, Search))
    assert len(tried) == trials + 1


def _counting(do: Callable[[Any, Workshop], dict[str, Any]], begun: list[Work]) -> Callable[..., dict[str, Any]]:
    def counted(self: Work, workshop: Workshop) -> dict[str, Any]:
        begun.append(self)
        return do(self, workshop)

    return counted


def test_two_processes_find_the_same(
    selection: Selection, outcome: list[CellOutcome], arena_root: Path, tmp_path: Path
) -> None:
    """A part of the work again, in two processes of their own."""
    expected, works = files(arena_root / "work"), all_work(selection, ResultStore(arena_root / "work"))
    again = [*works[1:4], *works[-9:]]
    shutil.copytree(arena_root / "teachers", tmp_path / "teachers")
    store, done = ResultStore(tmp_path / "work"), dict[Work, dict[str, Any]]()
    with arena_team(selection, str(tmp_path), store, Processes(2), Leave()) as team:
        do_work(again, done, store, team, NoProgress())
    assert set(done) == set(again)
    names = [f"{work.key}.json" for work in again]
    assert files(store.folder) == {name: expected[name] for name in names}


class Failing:
    """A team that comes to nothing with some units."""

    def __init__(self, *units: Work) -> None:
        self._units = units

    def results(self, units: Sequence[Work], /) -> Iterator[tuple[Work, Any]]:
        for unit in units:
            yield unit, Failure("two processes died of it") if unit in self._units else {"found": 1}


def test_work_that_failed_is_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    works = [Measure("data: {name: digits}", policy, policy, 2) for policy in ("dtkd", "normkd", "lskd", "ctkd")]
    store, done = ResultStore(tmp_path), dict[Work, dict[str, Any]]()
    with pytest.raises(
        InputError, match=r"2 of .* failed \(digits, 5 epochs: normkd: two .*; digits, 5 epochs: lskd: two"
    ):
        do_work(works, done, store, Failing(*works[1:3]), NoProgress())
    assert set(done) == {works[0], works[3]}
    assert set(files(tmp_path)) == {f"{works[0].key}.json", f"{works[3].key}.json"}


def test_long_work_is_begun_first(selection: Selection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Work] = []
    monkeypatch.setattr(Measure, "do", _counting(lambda self, workshop: {"accuracy": 1.0}, begun))
    recipes = [f"optimization: {{epochs: {epochs}}}" for epochs in (2, 7, 3)]
    works = [Measure(recipe, "dtkd", "dtkd", students) for students in (2, 9) for recipe in recipes]
    with arena_team(selection, str(tmp_path), store := ResultStore(tmp_path), Here(), Leave()) as team:
        do_work(works, {}, store, team, NoProgress())
    assert [work.recipe for work in begun] == [recipes[i] for i in (1, 1, 2, 2, 0, 0)]


@pytest.mark.parametrize("damage", [b"", b"[1]", b"{", b"\xff", b"[" * 100_000])
def test_a_damaged_result_is_none(tmp_path: Path, damage: bytes) -> None:
    store = ResultStore(tmp_path / "results")
    assert store.find("key") is None
    store.keep("key", {"a": [1.5, None]})
    assert store.find("key") == json.loads((tmp_path / "results" / "key.json").read_bytes()) == {"a": [1.5, None]}
    (tmp_path / "results" / "key.json").write_bytes(damage)
    assert store.find("key") is None


def test_data_that_do_not_fit_into_the_pool_are_named(selection: Selection, tmp_path: Path) -> None:
    setting = selection.tasks["tiny"]
    large = dataclasses.replace(setting.recipe, data=dataclasses.replace(setting.recipe.data, train=1200))
    tasks = {"large": dataclasses.replace(setting, recipe=large)}
    with pytest.raises(InputError, match=r"data\.pool 'arena': .* fit into 899 instances, got .*1200"):
        run(dataclasses.replace(selection, tasks=tasks), tmp_path, ResultStore(tmp_path / "work"))
