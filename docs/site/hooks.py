"""What the site has beyond the pages of `docs/`: called by MkDocs, see `hooks` in mkdocs.yml.

<!-- include PATH -->     becomes the file: a program folded, text as it is, from a line on with PATH:LINE:
<!-- readme: TITLE -->    becomes the README's section
<!-- recipe fields -->    becomes the tables of all fields of a recipe
<!-- policy zoo -->       becomes the policies that come with the package
[...](../PATH)            of a page in docs/ itself carries that file of the repository along
[PAGE.md](PAGE.md)        shows the page's title
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from package_tree import link_package
from policy_zoo import policy_zoo
from recipe_tables import recipe_tables

REPOSITORY = Path(__file__).parents[2]
_CARRIED = "repository/"
_INCLUDE = re.compile(r"^<!-- include (\S+) -->$", re.MULTILINE)
_README = re.compile(r"^<!-- readme: (.+) -->$", re.MULTILINE)
_OUTSIDE = re.compile(r"(?<=\]\()\.\./([\w./-]+)")
_NAMED = re.compile(r"\[[\w/-]+\.md\](?=\(([\w/-]+\.md))")
_GENERATED = {"<!-- recipe fields -->": recipe_tables, "<!-- policy zoo -->": policy_zoo}

_tree: tempfile.TemporaryDirectory[str] | None = None


@event_priority(100)
def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Show mkdocstrings the package in one folder, before it looks for it."""
    global _tree
    _tree = tempfile.TemporaryDirectory()
    link_package(REPOSITORY, Path(_tree.name))
    config.plugins["mkdocstrings"].config["handlers"]["python"]["paths"] = [_tree.name]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files of the repository that pages link to."""
    pages = [file.content_string for file in files.documentation_pages() if _is_in_docs(file)]
    for path in sorted({path for page in pages for path in _OUTSIDE.findall(page)}):
        if (REPOSITORY / path).is_file():
            files.append(File.generated(config, _CARRIED + path, abs_src_path=str(REPOSITORY / path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Replace the marks of a page."""
    for mark, generate in _GENERATED.items():
        if mark in markdown:
            markdown = markdown.replace(mark, generate())
    markdown = _README.sub(_section, _INCLUDE.sub(_snippet, markdown))
    markdown = _NAMED.sub(lambda link: f"[{_title(Path(page.file.abs_src_path or '').parent / link[1])}]", markdown)
    return _OUTSIDE.sub(_CARRIED + r"\1", markdown) if _is_in_docs(page.file) else markdown


def on_post_build(**_: Any) -> None:
    """Remove the links of `on_config`."""
    if _tree is not None:
        _tree.cleanup()


def _is_in_docs(file: File) -> bool:
    return "/" not in file.src_uri


def _title(page: Path) -> str:
    first, *_ = page.read_text(encoding="utf-8").splitlines()
    return first.removeprefix("# ")


def _snippet(mark: re.Match[str]) -> str:
    path = mark[1]
    if not path.endswith(".py"):
        return f'--8<-- "{path}"'
    return f'??? example "The whole file: {path}"\n\n    ```python\n    --8<-- "{path}"\n    ```'


def _section(mark: re.Match[str]) -> str:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    start = readme.index(f"## {mark[1]}\n")
    return readme[start : readme.index("\n## ", start)].replace("](docs/", "](")
