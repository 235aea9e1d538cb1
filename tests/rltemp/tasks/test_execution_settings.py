"""`execution` of a recipe: what "auto" comes to, and that a run's configuration says it."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rltemp.distillation import LoopStudents, StackedStudents
from rltemp.errors import InputError
from rltemp.experiments.named_recipe import read
from rltemp.networks import Network
from rltemp.recipes import Recipe, change_recipe
from rltemp.recipes.schema import Execution
from rltemp.tasks import build, build_task
from rltemp.tasks.build import settle_precision

CNN = {"student": {"name": "cnn", "options": {"channels": [4]}}}


@pytest.fixture(params=[torch.bfloat16, torch.float32])
def native(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.dtype:
    """A device with units for half precision, and one without."""
    monkeypatch.setattr(build, "native_dtype", lambda device: request.param)
    dtype: torch.dtype = request.param
    return dtype


def test_auto_is_what_the_device_has_for_networks_that_convolve(tiny_recipe: Recipe, native: torch.dtype) -> None:
    asked = change_recipe(tiny_recipe, {**CNN, "execution.precision": "auto"})
    settled = settle_precision(asked)
    assert f"torch.{settled.execution.precision}" == str(native)
    assert change_recipe(settled, {"execution.precision": "auto"}) == asked
    assert settle_precision(settled) is settled
    assert build_task(asked).execution == build_task(settled).execution
    assert build_task(asked).execution.dtype == native


def test_auto_is_single_precision_for_networks_of_matrices(tiny_recipe: Recipe, native: torch.dtype) -> None:
    asked = change_recipe(tiny_recipe, {"execution.precision": "auto"})
    assert settle_precision(asked).execution.precision == "float32"


def test_the_configuration_of_a_run_says_what_auto_came_to(native: torch.dtype) -> None:
    setting = read("digits-short", {**CNN, "execution": {"precision": "auto"}})
    assert f"torch.{setting.recipe.execution.precision}" == str(native)


@pytest.mark.parametrize(("name", "options"), [("cnn", {"channels": [4]}), ("mlp", {"hidden": [4]})])
@pytest.mark.parametrize("side_by_side", ["auto", "stacked", "loop"])
def test_students_run_side_by_side_as_asked(
    tiny_recipe: Recipe, name: str, options: dict[str, Any], side_by_side: str
) -> None:
    changes = {"student": {"name": name, "options": options}, "execution.side_by_side": side_by_side}
    students = build_task(change_recipe(tiny_recipe, changes)).students([0, 1])
    stacked = side_by_side == "stacked" or (side_by_side == "auto" and name == "mlp")
    assert isinstance(students, StackedStudents if stacked else LoopStudents)


class _Drawing(Network):
    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Linear(2, 2)

    def features(self, x: Tensor) -> Tensor:
        dropped: Tensor = self.dropout(x)
        return dropped


def test_students_that_draw_are_not_stacked() -> None:
    with pytest.raises(InputError, match=r"execution\.side_by_side must be 'auto' or 'loop' .* 'dropout' of _Drawing"):
        build._stacks(Execution(side_by_side="stacked"), _Drawing())
    assert not build._stacks(Execution(), _Drawing())
