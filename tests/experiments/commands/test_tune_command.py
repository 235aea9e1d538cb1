"""The search as a command: what it leaves, that it is the same however often it is interrupted, and who uses it."""

import contextlib
import io
import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from optuna.storages.journal import JournalFileBackend

from rltemp.experiments.cli import main
from rltemp.experiments.commands import evaluate_command, tune_command
from rltemp.experiments.evaluation.results_files import load_evaluation
from rltemp.experiments.evaluation.specs import SCHEDULE_GRID, STATIC_GRID, PolicySpec, parse_policy
from rltemp.experiments.evaluation.task_cache import TaskCache
from rltemp.experiments.tuning.spaces import SCHEDULE, STATIC, find_space
from rltemp.experiments.tuning.validate import Validation, validate
from rltemp.files import is_draft
from rltemp.recipes import Recipe, change_recipe, load_recipe
from rltemp.tasks import build_task

TINY = {
    "data.train": "64",
    "data.validation": "50",
    "teacher.network.options": "{hidden: [8]}",
    "teacher.members": "1",
    "teacher.epochs": "2",
    "student.options": "{hidden: [8]}",
    "optimization.epochs": "2",
    "optimization.batch_size": "8",
    "policy.probe_size": "32",
    "agent.seed": "5",
}
TUNE = ["tune", "digits-short", *(f"--{name}={value}" for name, value in TINY.items()), "--trials=3", "--students=2"]
FOLDER = Path("runs") / "digits-short" / "tune"
TUNED = FOLDER / "digits-short-tuned.yaml"


class Result(NamedTuple):
    code: int
    out: str
    err: str


def run(folder: Path, *arguments: str) -> Result:
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.chdir(folder)
        code = main(list(arguments))
    return Result(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a recipe was tuned."""
    folder = tmp_path_factory.mktemp("tuned")
    result = run(folder, *TUNE)
    assert result.code == 0, result.err
    assert result.out.endswith(f"\nrecipe: {TUNED}\n")
    return folder


def by_hand() -> tuple[Recipe, list[str]]:
    """What the starts alone come to: three of each search, in a loop, and the best by accuracy, then cross-entropy."""
    plain = load_recipe("digits-short", {name: yaml_value(value) for name, value in TINY.items()})
    tasks = TaskCache(build_task)

    def best(recipe: Recipe, name: str) -> Any:
        space = find_space(name, recipe)
        scores = []
        for number, start in enumerate(space.starts[:3]):
            changed = change_recipe(recipe, space.changes(start))
            accuracy, nll = validate(tasks, changed, parse_policy(space.policy(start)), [0, 1])
            scores.append((-accuracy, nll, number, changed, space.policy(start)))
        return sorted(scores, key=lambda score: score[:3])[0]

    tuned = best(plain, "recipe")
    static, schedule = (best(tuned[3], space.name) for space in (STATIC, SCHEDULE))
    # The recipe was tuned with a static temperature, which counts as one.
    return tuned[3], [min(static, tuned, key=lambda score: score[:2])[4], schedule[4]]


def yaml_value(text: str) -> object:
    return {"hidden": [8]} if text.startswith("{") else int(text)


def test_the_tuned_recipe_is_the_best_of_what_was_tried(tuned: Path) -> None:
    recipe, references = by_hand()
    found = load_recipe(tuned / TUNED)
    assert found.references.policies == tuple(references)
    assert found.references.runs == 2 * 3 * 2
    assert change_recipe(found, {"references.policies": [], "references.runs": 0}) == recipe
    assert found.agent.seed == 5


def test_the_page_shows_how_to_read_what_was_tried(
    tuned: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[3] / "docs" / "tuning.md").read_text(encoding="utf-8")
    mark = "<!-- tests/experiments/commands/test_tune_command.py runs this -->"
    (code,) = re.findall(rf"{mark}\n```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tuned)
    exec(code, {})
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["0", "1", "2"]


def test_it_says_what_it_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores are made up, so that the best is known."""
    wanted = {"static": STATIC.policy(STATIC.starts[2]), "anneal": SCHEDULE.policy(SCHEDULE.starts[1])}

    def made_up(tasks: Any, recipe: Recipe, spec: Any, seeds: Any) -> Any:
        assert list(seeds) == [0, 1]
        faster = recipe.optimization.lr > 0.1 and not recipe.data.shift
        return Validation(0.5 + 0.25 * (spec.name in wanted.values()) + 0.125 * faster, 1.0)

    monkeypatch.setattr(tune_command, "validate", made_up)
    result = run(tmp_path, *TUNE, "--trials=8")
    assert result.code == 0, result.err
    # Of the first eight starts two have three times the learning rate, and of them one no augmentation.
    assert f"static: {wanted['static']}, 87.50 % of the validation images\n" in result.out
    assert f"schedule: {wanted['anneal']}, 87.50 % of the validation images\n" in result.out
    recipe = load_recipe(tmp_path / TUNED)
    assert recipe.references.policies == tuple(wanted.values())
    assert (recipe.data.shift, recipe.teacher.shift) == (0, 1)
    assert recipe.optimization.lr == pytest.approx(3 * load_recipe("digits-short").optimization.lr)


def test_the_folder_holds_what_was_tried_and_no_drafts(tuned: Path) -> None:
    folder = tuned / FOLDER
    assert {path.name for path in folder.iterdir()} >= {"config.yaml", "trials.journal", "finished", TUNED.name}
    lines = [json.loads(line) for line in (folder / "trials.journal").read_text().splitlines()]
    assert sum("params" in line for line in lines) == 3 * 3
    assert not [path for path in tuned.rglob("*") if is_draft(path)]


def test_what_the_documentation_reads_is_there(tuned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[3] / "docs" / "tuning.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tuned)
    names: dict[str, Any] = {"print": lambda *shown: told.append(shown)}
    told: list[Any] = []
    exec(compile(code, "tuning.md", "exec"), names)
    assert [number for number, *_ in told] == [0, 1, 2]
    assert told[0][3] == SCHEDULE.starts[0]
    for _, accuracy, nll, _ in told:
        assert 0 <= accuracy <= 1 < nll
    (references,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tuned / "page.yaml").write_text(references)
    assert load_recipe(tuned / "page.yaml").references.runs == 2 * 24 * 8


def test_evaluate_takes_the_references_and_says_that_they_were_tuned(tuned: Path) -> None:
    policy = "--policy=rltemp/digits-logits"
    result = run(tuned, "evaluate", str(TUNED), "--students=2", policy)
    assert result.code == 0, result.err
    evaluation = load_evaluation(tuned / "runs" / TUNED.stem / "evaluation")
    recipe = load_recipe(tuned / TUNED)
    names = [policy.name for policy in evaluation.results]
    assert names[:3] == [*(parse_policy(text).name for text in recipe.references.policies), "no-kd"]
    assert len(names) == 4
    said = f"Each reference was tuned on validation data with {2 * 3 * 2} student runs."
    table = (tuned / "runs" / TUNED.stem / "evaluation" / "table.md").read_text()
    assert said in table
    assert said in " ".join(result.out.split())
    other = run(
        tuned,
        "evaluate",
        str(TUNED),
        "--students=2",
        policy,
        "--no-references",
        "--policy=static(temperature=3)",
        "--name=b",
    )
    assert "were not tuned on this task" in other.out


def test_a_recipe_without_references_is_compared_with_the_usual_grids(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def listen(setting: Any, task: Any, specs: list[PolicySpec], *_: Any, **__: Any) -> None:
        seen.append([spec.family for spec in specs])

    monkeypatch.setattr(evaluate_command, "run_comparison", listen)
    usual = ["static"] * len(STATIC_GRID) + ["schedule"] * len(SCHEDULE_GRID) + ["control"]
    given = ["--policy=rltemp/digits", "--policy=static(temperature=5),dtkd", "--policy=dtkd"]
    assert main(["evaluate", "digits-short"]) == 0
    assert main(["evaluate", "digits-short", *given]) == 0
    assert main(["evaluate", "digits-short", *given, "--no-references"]) == 0
    assert seen == [usual, [*usual, "trained", "static", "rule"], ["trained", "static", "rule"]]


def test_an_interrupted_search_ends_with_the_same_file(
    tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = (tuned / TUNED).read_bytes()
    tried: list[str] = []

    def interrupted(*arguments: Any) -> Any:
        if len(tried) in stops:
            stops.remove(len(tried))
            raise KeyboardInterrupt
        tried.append(arguments[2].name)
        return validate(*arguments)

    monkeypatch.setattr(tune_command, "validate", interrupted)
    stops = {0, 2, 3, 7}
    for _ in range(4):
        broken = run(tmp_path, *TUNE)
        assert broken.code == 130
        assert "the same command goes on where it stopped" in broken.err
        assert not (tmp_path / TUNED).exists()
    result = run(tmp_path, *TUNE)
    assert result.code == 0, result.err
    assert (tmp_path / TUNED).read_bytes() == expected
    assert len(tried) == 3 * 3  # nothing twice


def test_a_search_whose_settings_are_others_is_refused_while_it_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(tune_command, "find_space", stopping_after_the_first())
        assert run(tmp_path, *TUNE).code == 130
    for other in ("--trials=4", "--students=3", "--optimization.lr=0.07"):
        refused = run(tmp_path, *TUNE, other)
        assert refused.code == 2
        assert "was started with another" in refused.err


def stopping_after_the_first() -> Any:
    """Finds the space of the first search alone."""

    def find(name: str, recipe: Recipe) -> Any:
        if name != "recipe":
            raise KeyboardInterrupt
        return find_space(name, recipe)

    return find


def test_a_search_that_has_finished_is_refused(tuned: Path) -> None:
    before = {path: path.read_bytes() for path in (tuned / FOLDER).rglob("*") if path.is_file()}
    refused = run(tuned, *TUNE)
    assert refused.code == 2
    assert "has finished" in refused.err
    assert {path: path.read_bytes() for path in (tuned / FOLDER).rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trials=1"], "--trials must be >= 2, got 1"),
        (["--trials=100000"], "--trials must be <= 10000"),
        (["--trials=few"], "invalid int value: 'few'"),
        (["--students=0"], "--students must be >= 1, got 0"),
        (["--students=100000"], "--students must be <= 65536"),
        (["--name=../x"], "name must be"),
        (["--optimization.lr=0"], "lr must be > 0"),
        (["--references.runs=-1"], "references.runs must be >= 0"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = run(tmp_path, *TUNE, *arguments)
    assert result.code == 2
    assert message in result.err
    assert result.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_print_config_shows_the_recipe_and_does_nothing(tmp_path: Path) -> None:
    result = run(tmp_path, *TUNE, "--print-config")
    assert result.code == 0
    file = tmp_path / "printed.yaml"
    file.write_text(result.out)
    assert load_recipe(file).data.train == 64
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_cannot_be_written_leaves_no_half_of_it(
    tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full at the end of the search, and then there is room again."""
    replace = os.replace

    def full(source: Any, target: Any) -> None:
        if Path(target).name == TUNED.name:
            raise OSError(28, "No space left on device", str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    refused = run(tmp_path, *TUNE)
    assert refused.code == 2
    assert "No space left on device" in refused.err.splitlines()[-1]
    assert not (tmp_path / TUNED).exists()
    assert not [path for path in tmp_path.rglob("*") if is_draft(path)]
    monkeypatch.undo()
    monkeypatch.setattr(tune_command, "validate", None)  # nothing is tried again
    assert run(tmp_path, *TUNE).code == 0
    assert (tmp_path / TUNED).read_bytes() == (tuned / TUNED).read_bytes()


def test_a_journal_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(JournalFileBackend, "append_logs", full)
    refused = run(tmp_path, *TUNE)
    assert refused.code == 2
    assert refused.err.splitlines()[-1].endswith("trials.journal: No space left on device")
