"""An old name in a recipe is refused with today's; what an earlier version saved is read."""

from pathlib import Path

import pytest

from rltemp.errors import InputError
from rltemp.recipes import change_recipe, load_recipe
from rltemp.recipes.renamed import rename_recipe

OLD = [("calibration", "credit", "uniform"), ("epochs", "n_epochs", 3), ("log_std", "log_std_init", -1.0)]


@pytest.mark.parametrize(("old", "new", "value"), OLD)
def test_an_old_name_is_refused_with_the_new_one(old: str, new: str, value: object, tmp_path: Path) -> None:
    message = rf"agent\.{new} must be given by this name, got its old one, agent\.{old}$"
    file = tmp_path / "mine.yaml"
    file.write_text(f"extends: digits\nagent: {{{old}: {value}, {new}: {value}}}\n", encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load_recipe(file)
    for changes in ({f"agent.{old}": value}, {"agent": {old: value}}):
        with pytest.raises(InputError, match=message):
            load_recipe("digits", changes)
        with pytest.raises(InputError, match=message):
            change_recipe(load_recipe("digits"), changes)
    assert getattr(load_recipe("digits", {f"agent.{new}": value}).agent, new) == value


def test_saved_values_get_the_new_names_and_no_other_changes() -> None:
    old = {"agent": {"calibration": 1, "epochs": 2, "log_std": 3, "seed": 4}, "optimization": {"epochs": 5}}
    new = {"agent": {"credit": 1, "n_epochs": 2, "log_std_init": 3, "seed": 4}, "optimization": {"epochs": 5}}
    assert rename_recipe(old) == rename_recipe(new) == new
    assert rename_recipe({"data": {}}) == {"data": {}}
    assert rename_recipe({"agent": 3}) == {"agent": 3}
