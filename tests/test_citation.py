"""CITATION.cff is in the form that reference managers read, and is of this version."""

from pathlib import Path
from typing import Any

import pytest
import yaml

tomllib = pytest.importorskip("tomllib")  # Python 3.11

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def citation() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    return content


def test_it_is_of_this_project_and_version(citation: dict[str, Any]) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["title"] == project["name"]
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert citation["abstract"] == project["description"]
    assert citation["keywords"] == project["keywords"]


def test_it_has_what_the_format_demands(citation: dict[str, Any]) -> None:
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert citation["authors"] == [{"name": "The rltemp authors"}]
    (paper,) = citation["references"]
    assert {"type", "title", "authors"} <= set(paper)
    assert paper["title"] == "Instance Temperature Knowledge Distillation"
    assert all(set(author) == {"family-names", "given-names"} for author in paper["authors"])
    assert paper["identifiers"] == [{"type": "other", "value": "arXiv:2407.00115"}]


def test_the_home_page_cites_the_same_paper(citation: dict[str, Any]) -> None:
    home = " ".join((REPOSITORY / "docs" / "index.md").read_text(encoding="utf-8").split())
    (paper,) = citation["references"]
    names = [f"{author['given-names'][0]}. {author['family-names']}" for author in paper["authors"]]
    assert f"{', '.join(names[:-1])} and {names[-1]}, *{paper['title']}*" in home
    assert "arXiv 2407.00115" in home
