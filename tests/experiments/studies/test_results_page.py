"""docs/results.md: what it begins with is what its folded tables say, and a new page would have the same parts."""

import re
from pathlib import Path

import numpy as np

from rltemp.experiments.evaluation.comparison import Comparison, compare
from rltemp.experiments.evaluation.results import Evaluation, Family, PolicyResult
from rltemp.experiments.studies.results_page import cifar_section, results_page

PAGE = (Path(__file__).parents[3] / "docs" / "results.md").read_text(encoding="utf-8")
MINUS = "\N{MINUS SIGN}"


def _skeleton(page: str) -> list[str]:
    """Headings, folds and images of a page, in order."""
    return re.findall(r"^(?:#+ .*|</?details.*|<summary>.*|!\[.*)$", page, re.MULTILINE)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def _rows(page: str) -> list[list[str]]:
    """The first table of the page, without its head."""
    table = page[page.index("\n| | ") :].strip().split("\n\n")[0]
    return [_cells(line) for line in table.splitlines()[2:]]


def _comparison(gain: float) -> Comparison:
    def policy(label: str, family: Family, above: float) -> PolicyResult:
        accuracy, ones = np.array([0.70, 0.72, 0.74, 0.76]) + above * np.array([0.9, 1.1, 1.0, 1.0]), np.ones(4)
        return PolicyResult(label, accuracy, ones, ones, accuracy, ones, ones, ones, None, label, family)

    labels = ("varied", "softness, varied", "logits, varied")
    results = (
        *(policy(label, "trained", gain * (index + 1)) for index, label in enumerate(labels)),
        policy("T = 4", "static", 0.0),
        policy("T 8 → 2", "schedule", 0.01),
        policy("influence", "rule", -gain),
    )
    return compare(Evaluation("digits-short", {}, (1, 2, 3, 4), results, {}))


def test_three_bullets_and_five_rows_stand_before_what_is_folded() -> None:
    head = PAGE[: PAGE.index("<details")]
    assert len(re.findall(r"^- ", head, re.MULTILINE)) == 3
    assert len(_rows(PAGE)) == 5
    assert "| Policy |" not in re.sub(r"<details.*?</details>", "", PAGE, flags=re.DOTALL)


def test_the_first_rows_are_those_of_the_folded_tables() -> None:
    tables = [
        {_cells(line)[0]: _cells(line)[4] for line in table.splitlines()}
        for table in re.findall(r"(?:^\|.*\n)+", PAGE[PAGE.index("## Short") : PAGE.index("## How")], re.MULTILINE)
    ]
    assert len(tables) == 4
    for name, *cells in _rows(PAGE):
        for cell, table in zip(cells, tables, strict=True):
            gain, _, label = cell.removesuffix(")").partition(" (")
            (found,) = (
                value for key, value in table.items() if re.fullmatch(rf"(\*\*)?{label or name}( \(.*\)\*\*)?", key)
            )
            assert gain == found


def test_a_new_page_has_the_same_parts() -> None:
    made = _comparison(0.02)
    page = results_page(made, made, made, made, [({"policy.every": 1}, made)]) + cifar_section(made)
    assert _skeleton(page) == _skeleton(PAGE)


def test_gains_by_hand() -> None:
    made = [_comparison(gain) for gain in (0.02, 0.03, 0.04, -0.02)]
    page = results_page(made[0], made[1], made[2], made[3], [({"policy.every": 1}, made[0])])
    # t with 3 degrees of freedom at 97.5 % is 3.182446; gains of 1.8, 2.2, 2, 2 points have deviation 0.163299.
    half = 3.182446 * 0.163299 / 2
    varied, _, _, influence, schedule = _rows(page)
    assert varied == [
        "varied",
        f"+2.00 ± {half:.2f}",
        f"+3.00 ± {1.5 * half:.2f}",
        f"+4.00 ± {2 * half:.2f}",
        f"{MINUS}2.00 ± {half:.2f}",
    ]
    assert influence[1] == f"{MINUS}2.00 ± {half:.2f}"
    assert schedule == ["the best schedule", *4 * [f"+1.00 ± {half / 2:.2f} (T 8 → 2)"]]
