"""A commented recipe is the recipe, and says of every field what it is."""

import re
from pathlib import Path

import pytest

from rltemp.recipes import list_recipes, load_recipe
from rltemp.recipes.commented import comment_recipe


@pytest.mark.parametrize("name", list_recipes())
def test_it_is_read_back_as_the_recipe(name: str, tmp_path: Path) -> None:
    path = tmp_path / "commented.yaml"
    path.write_text(comment_recipe(load_recipe(name)), encoding="utf-8")
    assert load_recipe(path) == load_recipe(name)


def test_every_value_stands_below_its_meaning() -> None:
    lines = comment_recipe(load_recipe("digits-short")).splitlines()
    above = ""
    for line in lines:
        assert len(line) <= 112
        if re.match(r" *\w+: .", line):
            assert above.lstrip().startswith("# "), line
        above = line
    text = "\n".join(lines)
    assert re.search(
        r"optimization:\n  # passes over the training images, >= 1\. \(integer, >= 1; default 5\)\n  epochs: 5\n", text
    )
    assert "  # standard deviation of the Gaussian noise" in text
