"""What a page marks as run by the tests runs: the blocks of a page one after the other, like one program."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from rltemp.networks import MLP

REPOSITORY = Path(__file__).parents[2]
RUN = re.compile(r"^<!-- tests run this -->\n```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
MARKED = {
    path.relative_to(REPOSITORY).as_posix(): blocks
    for path in sorted((REPOSITORY / "docs").rglob("*.md"))
    # docs/agents.md is run on smaller recipes, library by library: tests/examples/test_agents_page.py.
    if path.name != "agents.md" and (blocks := RUN.findall(path.read_text(encoding="utf-8")))
}


def _names() -> dict[str, Any]:
    """What a loop has at hand, for pages that begin in the middle of one."""
    generator = torch.Generator().manual_seed(0)
    student = MLP([64, 16, 10], generator)
    images = torch.rand(8, 64, generator=generator)
    return {
        "student": student,
        "images": images,
        "student_logits": student(images),
        "teacher_logits": 5.0 * torch.randn(8, 10, generator=generator),
        "targets": torch.arange(8),
        "probe_images": torch.rand(20, 64, generator=generator),
        "probe_targets": torch.arange(20) % 10,
        "progress": 0.5,
    }


def _run(page: str) -> dict[str, Any]:
    names = _names()
    torch.manual_seed(0)
    for block in MARKED[page]:
        exec(compile(block, page, "exec"), names)
    return names


def test_the_pages_that_promise_code_are_among_them() -> None:
    assert set(MARKED) >= {f"docs/{name}.md" for name in ("first-steps", "uses", "choose", "environment", "data")}


@pytest.mark.parametrize("page", sorted(set(MARKED) - {f"docs/{n}.md" for n in ("first-steps", "uses", "choose")}))
def test_it_runs(page: str) -> None:
    _run(page)


def test_the_student_of_the_ten_lines_learns_what_its_teacher_says() -> None:
    names = _run("docs/first-steps.md")
    points = torch.randn(1000, 20)
    same = names["student"](points).argmax(1) == names["teacher"](points).argmax(1)
    assert same.float().mean() > 0.9
    assert len(MARKED["docs/first-steps.md"][0].split("for step", 1)[1].splitlines()) < 10


def test_a_reused_policy_gives_the_student_its_gradient() -> None:
    names = _run("docs/uses.md")
    names["loss"].backward()
    assert all(parameter.grad is not None for parameter in names["student"].parameters())


def test_the_search_begins_with_the_default_and_does_no_worse() -> None:
    study = _run("docs/choose.md")["study"]
    first = study.trials[0]
    assert (first.params["start"], first.params["end"], first.params["strength"]) == (4, 4, 4)
    assert study.best_value >= first.value
