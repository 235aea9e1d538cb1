"""The study of specialists trains in the recipe of the references, on other images, and tells what the judge found."""

from pathlib import Path

import pytest

from rltemp.agents.train import load_start
from rltemp.errors import InputError
from rltemp.experiments.arena.outcome import Cell, CellOutcome, Line
from rltemp.experiments.evaluation.statistics import Difference
from rltemp.experiments.studies import specialists
from rltemp.experiments.studies.specialists import row, specialized
from rltemp.recipes import Recipe
from rltemp.tasks.build import check_recipe


def test_a_training_goes_on_from_the_policy_in_the_weights_of_its_loss(tiny_recipe: Recipe) -> None:
    recipe = specialized(tiny_recipe, 6, "rltemp/general")
    check_recipe(recipe)
    start = load_start(recipe)
    assert start is not None
    assert recipe.optimization.ce_weight == start.weights["ce_weight"]
    assert recipe.optimization.lr == tiny_recipe.optimization.lr
    assert recipe.data.pool == "agents"
    assert (recipe.agent.learner, recipe.agent.rollouts, recipe.agent.variations) == ("evolution", 6, ())
    assert recipe.agent.reward_every == 8  # all updates of the run: it is paid for its end alone


def test_a_policy_without_weights_of_its_loss_is_refused(tiny_recipe: Recipe) -> None:
    with pytest.raises(InputError, match="--start must be a policy that holds the weights of its loss"):
        specialized(tiny_recipe, 6, "rltemp/digits-logits")


def test_a_row_has_both_policies_above_the_better_reference() -> None:
    def line(method: str, accuracy: float, regret: float, ruling: str = "") -> Line:
        gap = Difference(regret, regret - 0.01, regret + 0.02, 32, 0.5)
        mean = Difference(accuracy, accuracy, accuracy, 32, 1.0)
        return Line(method, "", "rule", mean, *[0.0] * 6, 0, gap, 0.0, ruling)  # type: ignore[arg-type, call-arg]

    lines = (
        *(line("static, tuned", 0.81, 0.0), line("schedule, tuned", 0.82, -0.01)),
        *(line("before", 0.80, 0.02), line("after", 0.84, -0.02, "better")),
    )
    told = row(CellOutcome(Cell("news", "clean", 1), 100, 32, "", lines)).replace("\N{MINUS SIGN}", "-")
    assert told == "| news, clean | 81.0 | 82.0 | -2.0 [-4.0, -1.0] | +2.0 [0.0, +3.0] | better |"


def test_a_task_without_images_for_agents_is_refused_before_anything_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def searched(*_: object) -> None:
        pytest.fail("references must not be searched")

    monkeypatch.setattr(specialists, "_judge", searched)
    task = tmp_path / "large.yaml"
    task.write_text("data: {name: digits, pool: arena, train: 600, validation: 250}\n")
    with pytest.raises(InputError, match=r"data\.pool 'agents'.* must .*fit"):
        specialists.specialist(str(task), "clean", 6, "rltemp/general", "data", str(tmp_path))
