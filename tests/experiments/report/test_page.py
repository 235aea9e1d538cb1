import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rltemp.errors import InputError
from rltemp.experiments.evaluation.comparison import compare
from rltemp.experiments.evaluation.results import Evaluation
from rltemp.experiments.report.page import write_report
from rltemp.experiments.report.sentences import headline

Make = Callable[..., Evaluation]
VOID = {"meta", "link", "br", "img", "hr"}


class Page(HTMLParser):
    """Reads a page as a browser would: text, tags, ids and everything a browser would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self._note(tag, attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)

    def _note(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href", "data", "action"):
                self.links.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "text"):
            self.words += data


def write(path: Path, evaluation: Evaluation, **options: object) -> str:
    write_report(path, evaluation, **options)  # type: ignore[arg-type]
    return path.read_text(encoding="utf-8")


def test_the_page_is_whole_and_asks_for_nothing(make_evaluation: Make, tmp_path: Path) -> None:
    text = write(
        tmp_path / "report.html", make_evaluation(), training_metrics={"return": [1.0, 2.0]}, command="rltemp x"
    )
    page = Page(text)
    assert page.open == []
    assert page.tags.count("svg") == 6
    assert "script" not in page.tags
    assert len(set(page.ids)) == len(page.ids)
    for link in page.links:
        assert link.startswith("data:image/png;base64,") or link.removeprefix("#") in page.ids
    for target in re.findall(r"url\(([^)]*)\)", text):
        assert target.removeprefix("#") in page.ids
    assert "@import" not in text
    assert list(tmp_path.iterdir()) == [tmp_path / "report.html"]


def test_it_says_what_was_found_and_how(make_evaluation: Make, tmp_path: Path) -> None:
    evaluation = make_evaluation(traces=False)
    page = Page(write(tmp_path / "report.html", evaluation, command="rltemp evaluate digits-short --students 8"))
    assert headline(compare(evaluation)).replace("`", "") in page.words
    assert page.tags.count("code") == 1
    for text in (
        "digits-short",
        "epochs: 5",
        "100 101 102",
        "a processor",
        "rltemp evaluate digits-short --students 8",
    ):
        assert text in page.words


@pytest.mark.parametrize(("gain", "verdict"), [(0.02, "better"), (-0.02, "worse"), (0.0, "unclear")])
def test_the_headline_has_the_color_of_its_verdict(
    make_evaluation: Make, tmp_path: Path, gain: float, verdict: str
) -> None:
    assert f'class="headline verdict-{verdict}"' in write(
        tmp_path / "report.html", make_evaluation(gain=gain, traces=False)
    )


def test_whatever_is_not_ours_is_escaped(make_evaluation: Make, tmp_path: Path) -> None:
    evil = "<script>alert('x')</script>"
    evaluation = make_evaluation(label=evil, recipe=evil, setting={"path": evil}, machine={evil: evil}, traces=False)
    text = write(tmp_path / "report.html", evaluation, command=evil)
    assert "<script" not in text
    assert Page(text).words.count(evil) >= 5


def test_figures_follow_the_page_into_the_dark(make_evaluation: Make, tmp_path: Path) -> None:
    text = write(tmp_path / "report.html", make_evaluation())
    figures = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL))
    assert "fill: var(--ink)" in figures
    for fixed in ("#24292f", "#626a73", "#dfe3e8", "#fefefe"):
        assert fixed not in figures
    assert "prefers-color-scheme: dark" in text
    for variable in set(re.findall(r"var\(--([a-z]+)\)", text)):
        assert text.count(f"--{variable}: #") >= 1


def test_the_same_evaluation_gives_the_same_file(make_evaluation: Make, tmp_path: Path) -> None:
    assert write(tmp_path / "a.html", make_evaluation()) == write(tmp_path / "b.html", make_evaluation())


def test_without_traces_there_are_fewer_figures(make_evaluation: Make, tmp_path: Path) -> None:
    bare = make_evaluation(traces=False)
    assert Page(write(tmp_path / "a.html", bare)).tags.count("svg") == 2
    static = replace(bare, results=(bare.results[1],))
    assert Page(write(tmp_path / "b.html", static)).tags.count("svg") == 1


def test_a_missing_folder_is_refused(make_evaluation: Make, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="existing, writable folder"):
        write_report(tmp_path / "missing" / "report.html", make_evaluation())
