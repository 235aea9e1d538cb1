"""No relative link of the README or of a page is dead, its anchor included."""

import re
from collections import Counter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def _prose(path: Path) -> str:
    """The page without its code."""
    fenced = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "", fenced)


def _anchors(path: Path) -> set[str]:
    """Anchors of the headings, as hosting sites make them: lower case, hyphens for spaces, no punctuation."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    seen: Counter[str] = Counter()
    anchors = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        anchors.add(f"{plain}-{seen[plain]}" if seen[plain] else plain)
        seen[plain] += 1
    return anchors


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(_prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page.name}: {link}"
        assert path.is_relative_to(REPOSITORY), f"{page.name}: {link}"
        # What the site makes out of a page's marks has anchors that the page itself has not.
        if anchor and "<!-- policy zoo -->" not in path.read_text(encoding="utf-8"):
            assert anchor in _anchors(path), f"{page.name}: {link}"


def test_there_are_links_to_check() -> None:
    assert sum(len(LINK.findall(_prose(page))) for page in PAGES) > 50
    assert {"limits-before-you-begin", "how-to-cite"} <= _anchors(REPOSITORY / "docs" / "index.md")
