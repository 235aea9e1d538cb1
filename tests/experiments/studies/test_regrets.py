"""The study of regrets takes its means from the arena's tables, and the page has what it prints."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from rltemp.errors import InputError
from rltemp.experiments.studies.regrets import main, read_regrets

ROOT = Path(__file__).parents[3]
HEAD = "task,condition,budget,method,kind,regret,measure"
ROWS = (
    ("a,clean,1", (0.01, 0.05)),
    ("a,small,1", (-0.02, 0.03)),
    ("b,clean,1", (0.03, 0.08)),
    ("b,small,1", (0.00, 0.09)),
)


def _table(path: Path, rows: tuple[tuple[str, tuple[float, float]], ...]) -> str:
    lines = [HEAD]
    for place, (ours, theirs) in rows:
        lines += [f"{place},the teacher,bound,,accuracy", f"{place},tuned,reference,,accuracy"]
        lines += [f"{place},ours,trained,{ours},accuracy", f"{place},theirs,single,{theirs},accuracy"]
    path.write_text("\n".join(lines))
    return str(path)


def _interval(values: list[float]) -> str:
    sample = np.array(values)
    half = stats.t.ppf(0.975, len(sample) - 1) * sample.std(ddof=1) / np.sqrt(len(sample))
    return f"{sample.mean():+.1f} [{sample.mean() - half:+.1f}, {sample.mean() + half:+.1f}]"


def test_cells_of_several_tables_are_paired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = [_table(tmp_path / "1.csv", ROWS[:3]), _table(tmp_path / "2.csv", ROWS[3:])]
    monkeypatch.setattr("sys.argv", ["regrets", *tables, "--policy", "ours"])
    main()
    title, _, head, _, *rows = capsys.readouterr().out.strip().splitlines()
    assert title == "1 times the updates"
    assert head == "| method | clean | small | a | b | mean | worst | ours ahead by |"
    ours, theirs = ([100 * pair[i] for _, pair in ROWS] for i in (0, 1))
    gaps = _interval([b - a for a, b in zip(ours, theirs, strict=True)])
    assert rows == [
        f"| tuned |{' +0.0 |' * 4} +0.0 [+0.0, +0.0] | +0.0 (a, clean) | {_interval([-lost for lost in ours])} |",
        f"| ours | +2.0 | -1.0 | -0.5 | +1.5 | {_interval(ours)} | +3.0 (b, clean) |  |",
        f"| theirs | +6.5 | +6.0 | +4.0 | +8.5 | {_interval(theirs)} | +9.0 (b, small) | {gaps} |",
    ]


def test_lengths_are_compared_alone_and_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    longer = tuple((place.replace(",1", ",3"), (ours / 2, theirs)) for place, (ours, theirs) in ROWS)
    monkeypatch.setattr("sys.argv", ["regrets", _table(tmp_path / "1.csv", (*longer, *ROWS)), "--policy", "ours"])
    main()
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in printed if line and "|" not in line] == [
        "1 times the updates",
        "3 times the updates",
        "all lengths",
    ]
    rows = [line for line in printed if line.startswith("| ours |")]
    short, long = ([100 * pair[0] for _, pair in part] for part in (ROWS, longer))
    assert [row.split("|")[6].strip() for row in rows] == [_interval(values) for values in (short, long, short + long)]


@pytest.mark.parametrize(
    ("text", "message"),
    [("a,b\n1,2", "CSV must be a table that rltemp arena wrote, got .*: 'measure'"), (None, "must be of tuned, ours")],
)
def test_what_cannot_be_compared_is_refused(
    text: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _table(tmp_path / "1.csv", ROWS)
    if text is not None:
        Path(path).write_text(text)
    monkeypatch.setattr("sys.argv", ["regrets", path])
    with pytest.raises(InputError, match=message):
        main()


def test_the_tables_of_the_page_are_those_of_the_arena() -> None:
    found = read_regrets([str(ROOT / "docs" / "arena" / "general.csv")])
    page = (ROOT / "docs" / "general.md").read_text(encoding="utf-8").replace("\u2212", "-")
    tables = re.findall(r"\n\n(\|.*\| mean \| worst \|\n(?:\|.*\n)+)", page.partition("**Other trainings.**")[0])
    conditions = (("clean", "noise30", "weak-teacher", "missing-classes"), ("noise60", "junk", "few", "small"))
    rows = [(names, line) for table, names in zip(tables, conditions, strict=True) for line in table.splitlines()[2:]]
    assert len(rows) == 24
    budget = 1
    for names, line in rows:
        length, method, cells = re.fullmatch(r"\| (?:\*\*\u00d7(\d+)\*\* )?(.*?) \| (.*) \|", line).groups()  # type: ignore[union-attr]
        budget = int(length or (budget if names is conditions[0] else 1))
        method = re.sub("`(.*)`", r"\1 (batch)", method).replace("static temperature", "static")
        lost = {
            cell: points
            for cell, points in found[method].items()
            if (cell.condition, cell.budget) in {(name, budget) for name in names}
        }
        means = [np.mean([points for cell, points in lost.items() if cell.condition == name]) for name in names]
        printed = [float(number) for number in re.findall(r"(?:^|\| )\**(-?[\d.]+)", cells)]
        assert printed == pytest.approx([*means, np.mean(list(lost.values())), max(lost.values())], abs=0.0501), line
