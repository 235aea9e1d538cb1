"""What is measured can be kept, and two such files compared, on the command line."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rltemp.errors import InputError
from rltemp.experiments.bench import bench
from rltemp.experiments.bench.record import Record, compare, read_record, write_record
from rltemp.experiments.bench.section import AtMost, Peak, Phase, Row, Section
from rltemp.experiments.bench.timing import Quartiles
from rltemp.experiments.cli import main

SECTION = Section(
    "rules: 2 instances",
    "of plain KD",
    (Row("ctkd", 1.5, Quartiles(1.2, 1.1, 1.3), AtMost(1.3)), Row("dtkd", 2.5, Quartiles(1.5, 1.4, 1.6), AtMost(1.3))),
    (Phase("data", 0.5, 1.0),),
    (Peak("all", 1024, 1.0),),
)


def test_a_record_says_everything_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    write_record(path, {"line": "a machine", "cores": 2}, {"rules": SECTION})
    content = json.loads(path.read_text())
    ctkd, dtkd = content["sections"]["rules"]["rows"]
    assert ctkd["bar"] == {"limit": "\N{LESS-THAN OR EQUAL TO} 1.3", "met": True}
    assert dtkd["bar"]["met"] is False
    assert ctkd["milliseconds"] == 1.5
    assert content["machine"]["cores"] == 2
    assert content["sections"]["rules"]["phases"] == [{"name": "data", "milliseconds": 0.5, "share": 1.0}]
    assert content["sections"]["rules"]["peaks"][0]["size"] == 1024
    record = read_record(str(path))
    assert record.machine == "a machine"
    assert record.ratios["rules", "ctkd"] == Quartiles(1.2, 1.1, 1.3)


def _lines(before: dict[str, Quartiles], after: dict[str, Quartiles]) -> list[str]:
    records = [Record("m", {("rules", name): ratio for name, ratio in side.items()}) for side in (before, after)]
    text = io.StringIO()
    Console(width=120, file=text).print(compare(*records))
    return text.getvalue().splitlines()


def test_ratios_that_lie_apart_are_told_from_noise() -> None:
    before = {"ctkd": Quartiles(1.5, 1.4, 1.6), "dtkd": Quartiles(1.5, 1.4, 1.6), "gone": Quartiles(1.0, 1.0, 1.0)}
    after = {"ctkd": Quartiles(1.2, 1.1, 1.3), "dtkd": Quartiles(1.4, 1.3, 1.5), "new": Quartiles(1.0, 1.0, 1.0)}
    lines = _lines(before, after)
    ctkd, dtkd = (next(line for line in lines if name in line) for name in ("ctkd", "dtkd"))
    assert "0.8 " in ctkd
    assert "apart" in ctkd
    assert "overlap" in dtkd
    assert not any(name in line for line in lines for name in ("gone", "new"))


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "null", "{}", '{"format": 2}', '{"format": 1, "machine": 3, "sections": {}}'),
        '{"format": 1, "machine": {"line": "m"}, "sections": {"rules": {"rows": [{"name": "x", "ratio": 1}]}}}',
    ],
)
def test_any_other_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"--compare must name files of rltemp bench --json, got .*other\.json"):
        read_record(str(path))


def test_the_command_keeps_and_compares(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "_QUICK_SECONDS", 0.0)
    path = str(tmp_path / "a.json")
    assert main(["bench", "--only", "tokens", "--tokens", "3", "4", "2", "--quick", "--json", path]) == 0
    assert read_record(path).ratios["tokens", "linear_kd_loss"].median > 0.0
    capsys.readouterr()
    assert main(["bench", "--compare", path, path]) == 0
    assert re.search(r"linear_kd_loss.* 1 .*overlap", capsys.readouterr().out)
    assert main(["bench", "--json", str(tmp_path / "none" / "x.json")]) == 2
    assert "--json must name a file in a folder that exists" in capsys.readouterr().err
    assert main(["bench", "--compare", path, str(tmp_path / "missing.json")]) == 2
    assert "missing.json" in capsys.readouterr().err
