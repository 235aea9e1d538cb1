"""Every block of Python on a page runs: the blocks of a page one after the other, like one program."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rltemp.detection import small_detector
from rltemp.networks import MLP

REPOSITORY = Path(__file__).parents[2]
PAGES = {
    path.relative_to(REPOSITORY).as_posix(): path.read_text(encoding="utf-8")
    for path in (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md")))
}
RUN = re.compile(r"^<!-- tests run this -->\n```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
MARKED = {page: blocks for page, text in PAGES.items() if (blocks := RUN.findall(text))}
# Excerpts of examples are run with the whole program: tests/examples/test_examples.py, test_docs.py.
ACCOUNTED_FOR = re.compile(
    r"<!-- tests run this -->|<!-- (tests/[\w/]+\.py) runs this -->|From \[examples/\w+\.py\]\(.*\):"
)


def _loop() -> dict[str, Any]:
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


def _loop_of_detectors() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (small_detector(3, 1, 48, width, generator) for width in (4, 8))
    target = {"boxes": torch.tensor([[4.0, 4.0, 20.0, 20.0]]), "labels": torch.tensor([2])}
    images = [torch.rand(1, 48, 48, generator=generator) for _ in range(2)]
    return {"student": student, "teacher": teacher, "images": images, "targets": [target, target], "steps": 2}


REUSING = ("README.md", "docs/general.md", "docs/reuse.md", "docs/uses.md")
AT_HAND: dict[str, Callable[[], dict[str, Any]]] = {"docs/detection.md": _loop_of_detectors}


def _run(page: str) -> dict[str, Any]:
    names = AT_HAND.get(page, _loop)()
    torch.manual_seed(0)
    for block in MARKED[page]:
        exec(compile(block, page, "exec"), names)
    return names


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("page", PAGES)
def test_no_block_of_a_page_is_left_out(page: str) -> None:
    text = PAGES[page]
    for block in re.finditer(r"^ *```(?:python|py)\b", text, re.MULTILINE):
        mark = ACCOUNTED_FOR.fullmatch(text[: block.start()].rstrip("\n").rpartition("\n")[2])
        line = text.count("\n", 0, block.start()) + 1
        assert mark, f"{page}:{line} is run by no test"
        if mark[1]:
            assert Path(page).name in (REPOSITORY / mark[1]).read_text(encoding="utf-8"), f"{page}:{line}: {mark[1]}"


@pytest.mark.parametrize("page", sorted(set(MARKED) - {"docs/first-steps.md", "docs/choose.md", *REUSING}))
def test_it_runs(page: str) -> None:
    _run(page)


def test_the_student_of_the_ten_lines_learns_what_its_teacher_says() -> None:
    names = _run("docs/first-steps.md")
    points = torch.randn(1000, 20)
    same = names["student"](points).argmax(1) == names["teacher"](points).argmax(1)
    assert same.float().mean() > 0.9
    assert len(MARKED["docs/first-steps.md"][0].split("for step", 1)[1].splitlines()) < 10


@pytest.mark.parametrize("page", REUSING)
def test_a_reused_policy_gives_the_student_its_gradient(page: str) -> None:
    names = _run(page)
    names["loss"].backward()
    assert all(parameter.grad is not None for parameter in names["student"].parameters())


def test_the_search_begins_with_the_default_and_does_no_worse() -> None:
    study = _run("docs/choose.md")["study"]
    first = study.trials[0]
    assert (first.params["start"], first.params["end"], first.params["strength"]) == (4, 4, 4)
    assert study.best_value >= first.value
