"""The site builds without a warning, holds what is generated for it, and asks no other host for anything."""

import html
import importlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rltemp.experiments.evaluation.passes import count_passes
from rltemp.pretrained import list_pretrained
from rltemp.recipes import Recipe, load_recipe
from rltemp.recipes.reference import fields_of

for tool in ("mkdocs", "material", "mkdocstrings"):
    pytest.importorskip(tool)

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def _page(site: Path, name: str) -> str:
    return (site / name / "index.html").read_text(encoding="utf-8")


def _text(page: str) -> str:
    """What the page shows, in single spaces."""
    article = page[page.index("<article") : page.index("</article>")]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", article)).split())


def test_every_page_is_in_the_site(site: Path) -> None:
    pages = {path.relative_to(REPOSITORY / "docs").with_suffix("") for path in (REPOSITORY / "docs").rglob("*.md")}
    built = {path.parent.relative_to(site) for path in site.rglob("index.html")}
    assert pages - {Path("index")} == built - {Path()}


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        tags = re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", path.read_text(encoding="utf-8"))
        assert [tag for tag in tags if re.search(r"(?:src|href)=\"?(?:https?:)?//", tag)] == [], path
    for path in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//", path.read_text(encoding="utf-8")), path


def test_no_mark_is_left_over(site: Path) -> None:
    for path in site.rglob("index.html"):
        assert not re.search(r"<!-- (?:include|readme:|recipe fields|policy zoo)|--8<--", path.read_text("utf-8")), path


def test_links_to_pages_show_no_file_names(site: Path) -> None:
    for path in site.rglob("index.html"):
        assert re.findall(r">[\w/-]+\.md</a>", path.read_text(encoding="utf-8")) == [], path


def test_the_recipe_page_has_every_field(site: Path) -> None:
    text = _text(_page(site, "recipes"))
    for field in fields_of(Recipe):
        row = text[text.index(f" {field.name} {field.type}") :]
        assert " ".join(field.meaning.replace("`", " ").split())[:40] in " ".join(row[:400].split()), field.name
    assert "(a tree of images: train/<class>/*, test/<class>/*)" in text


def test_the_zoo_shows_every_policy_with_its_cost_and_licence(site: Path) -> None:
    text = _text(_page(site, "zoo"))
    sections = re.split(r" (?=rltemp/[\w-]+ ¶)", text)[1:]
    assert [section.split()[0] for section in sections] == list_pretrained()
    for section in sections:
        assert "licence Apache-2.0" in section
        assert " in the arena, " in section
    # Per update of 32 instances: 32 each forward, backward and through the teacher; the probe's 600 forward and
    # backward, and a derivative that counts twice.
    times = (96 + 2 * 600 + 2 * 32) / 96
    aligned = [section for section in sections if section.split()[0] in ("rltemp/digits", "rltemp/digits-softness")]
    assert [f"costs {times:.1f} times the passes" in section for section in aligned] == [True, True]
    assert count_passes(load_recipe("digits-varied"), True).total == 96 + 2 * 600 + 2 * 32


@pytest.mark.parametrize("name", ["rltemp", "rltemp.detection", "rltemp.envs", "rltemp.agents"])
def test_the_api_pages_hold_what_is_public(site: Path, name: str) -> None:
    identifiers = set(re.findall(r'id="([\w.]+)"', _page(site, f"api/{name.removeprefix('rltemp.')}")))
    public = set(importlib.import_module(name).__all__) - {"__version__"}
    assert {f"{name}.{entry}" for entry in public} <= identifiers


def test_programs_and_the_changelog_are_there_as_they_are(site: Path) -> None:
    reuse = _page(site, "reuse")
    for example in (REPOSITORY / "examples").glob("*.py"):
        assert (site / "repository" / "examples" / example.name).read_bytes() == example.read_bytes()
        first = example.read_text(encoding="utf-8").splitlines()[0].strip('"')
        assert html.escape(first, quote=False) in reuse.replace("&quot;", '"').replace("&#39;", "'"), example
    assert "[Unreleased]" in _text(_page(site, "changelog"))


def test_the_home_page_says_what_the_readme_says_stands(site: Path) -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    section = readme[readme.index("## What stands") :].split("\n## ")[0]
    rows = re.findall(r"^\| [^\n]*$", section, re.MULTILINE)
    assert len(rows) > 3
    shown = _words(_text((site / "index.html").read_text(encoding="utf-8")))
    assert [row for row in rows if _words(re.sub(r"\]\([^)]*\)", "", row)) not in shown] == []


class _Quiet(SimpleHTTPRequestHandler):
    """Serves a folder, and tells nobody."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """The site as a server gives it: opened as a file, its search cannot start."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_pages_fit_a_desk_and_a_phone(address: str, look: Callable[..., list[dict[str, Any]]]) -> None:
    seen = look(*(f"{address}/{page}" for page in ("", "environment/", "arena/short/", "recipes/")))
    for view in seen:
        assert view["console"] == [], view["page"]
        assert view["width"] <= view["room"], view["page"]
        assert len(view["tables"]) >= 3, view["page"]
        assert all(table["scrolls"] for table in view["tables"] if table["wide"]), view["page"]
    # On a phone all of these have tables that are wider than the screen, and on a desk those of the arena are.
    wide = [any(table["wide"] for table in view["tables"]) for view in seen]
    assert all(wide[1::2])
    assert wide[4]


def _words(text: str) -> str:
    return " ".join(re.findall(r"[\w.]+", text))
