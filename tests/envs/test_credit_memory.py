"""Credit that would not fit is refused before any work, with what would."""

import dataclasses

import pytest
import torch

from rltemp import InputError
from rltemp.distillation import Task
from rltemp.envs import DistillationEnv, DistillationVectorEnv
from rltemp.envs import credit_memory as module
from rltemp.envs.credit_memory import CreditMemory
from rltemp.envs.credit_plan import CreditPlan
from rltemp.recipes import Recipe

# resnet20 on batches of 128 images of 32 x 32 px in 100 classes.
RESNET20 = CreditMemory(
    parameters=4 * 278_324,
    buffers=4 * 1_376,
    images=4 * 128 * 3 * 32 * 32,
    logits=4 * 128 * 100,
    temperatures=128 * 20,
    streams=8 * 50_000,
)


def test_a_published_run_would_need_hundreds_of_gigabytes_and_a_root_of_it_with_checkpoints() -> None:
    whole, rooted = (RESNET20.needed(CreditPlan(390 * 240, checkpoints=checkpoints)) for checkpoints in (False, True))
    assert whole == pytest.approx(261e9, rel=0.01)
    assert rooted < 2.5e9


@pytest.mark.parametrize(("checkpoints", "growth"), [(False, 4.0), (True, 2.0)])
def test_memory_grows_in_proportion_or_as_the_root(checkpoints: bool, growth: float) -> None:
    small, large = (RESNET20.needed(CreditPlan(n, checkpoints=checkpoints)) for n in (3600, 4 * 3600))
    assert large / small == pytest.approx(growth, rel=0.03)


def test_fewer_credited_updates_need_less() -> None:
    needed = [
        RESNET20.needed(CreditPlan(3200, window, every, checkpoints))
        for checkpoints in (False, True)
        for window, every in ((1.0, 1), (1.0, 4), (0.1, 4))
    ]
    assert needed[0] > needed[1] > needed[2]
    assert needed[3] > needed[4] > needed[5]


@pytest.mark.parametrize("kind", ["vector", "single"])
def test_too_much_is_refused_in_one_line_with_settings_that_fit(
    tiny_recipe: Recipe, tiny_task: Task, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    memory = CreditMemory.of(tiny_task, 1, 64)
    recipe = dataclasses.replace(tiny_recipe, agent=dataclasses.replace(tiny_recipe.agent, credit="hindsight"))
    limit = memory.needed(CreditPlan(8)) - 1
    monkeypatch.setattr(module, "free_bytes", lambda device: limit)
    with pytest.raises(InputError) as refused:
        DistillationVectorEnv(8, recipe, task=tiny_task) if kind == "vector" else DistillationEnv(
            recipe, task=tiny_task
        )
    message = str(refused.value)
    assert "\n" not in message
    assert message.startswith("agent.credit: hindsight keeps about 0.0")
    assert "for 8 updates of mlp; this machine has 0.0" in message
    assert "agent.window: 0.5 in 0.0" in message
    fitting = dataclasses.replace(recipe, agent=dataclasses.replace(recipe.agent, window=0.5))
    assert DistillationVectorEnv(8, fitting, task=tiny_task).horizon == 8
    uniform = dataclasses.replace(recipe, agent=dataclasses.replace(recipe.agent, credit="uniform"))
    assert DistillationVectorEnv(8, uniform, task=tiny_task).horizon == 8


def test_settings_that_are_named_fit_and_none_is_named_that_does_not() -> None:
    whole = CreditPlan(93_600)
    assert RESNET20.fitting(whole, 20_000_000_000) == [
        "agent.checkpoints: auto in 1.9 GB",
        "agent.window: 0.05 in 13 GB",
    ]
    assert RESNET20.fitting(whole, 1_500_000_000) == ["agent.window: 0.005 in 1.3 GB"]
    assert RESNET20.fitting(whole, 1_000) == []


def test_where_the_system_does_not_say_nothing_is_refused(
    tiny_recipe: Recipe, tiny_task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "free_bytes", lambda device: None)
    assert DistillationVectorEnv(8, tiny_recipe, task=tiny_task).horizon == 8
    assert torch.device("cpu") == tiny_task.device
