"""The richer networks of the study compute what their papers say, and begin as the reference does."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from rltemp import make_policy
from rltemp.agents.selection import validation_losses
from rltemp.distillation import Task
from rltemp.envs.split import SplitVectorEnv
from rltemp.experiments.studies import networks
from rltemp.experiments.studies.networks import ARMS, NETWORKS, WIDTH, NetworkEvolution, learn
from rltemp.recipes import Recipe, change_recipe, load_recipe

FEATURES, STUDENTS, INSTANCES = 5, 3, 4


def _layers(arm: str) -> list[tuple[Tensor, Tensor]]:
    """Of K students, each its own."""
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(STUDENTS, *shape, generator=generator), torch.randn(STUDENTS, shape[0], generator=generator))
        for shape in NETWORKS[arm].shapes(FEATURES, 2)
    ]


def _seen() -> Tensor:
    return torch.randn(STUDENTS, INSTANCES, FEATURES, generator=torch.Generator().manual_seed(1))


def test_a_set_encoder_is_a_mean_over_the_instances_in_any_order() -> None:
    layers, seen, nothing = _layers("set encoder"), _seen(), torch.zeros(STUDENTS, WIDTH)
    values, summary = NETWORKS["set encoder"].forward(seen, layers, nothing)
    for k in range(STUDENTS):
        (own, a), (encoder, b), (over, c) = [(weight[k], bias[k]) for weight, bias in layers]
        mean = torch.stack([torch.tanh(encoder @ instance + b) for instance in seen[k]]).sum(0) / INSTANCES
        torch.testing.assert_close(summary[k], mean)
        for i, instance in enumerate(seen[k]):
            torch.testing.assert_close(values[k, i], own @ instance + a + over @ mean + c)
    mixed, _ = NETWORKS["set encoder"].forward(seen.flip(1), layers, nothing)
    torch.testing.assert_close(mixed.flip(1), values)


def test_the_recurrent_network_is_a_gated_unit_over_means() -> None:
    layers, seen = _layers("recurrent"), _seen()
    before = torch.randn(STUDENTS, WIDTH, generator=torch.Generator().manual_seed(2))
    values, after = NETWORKS["recurrent"].forward(seen, layers, before)
    for k in range(STUDENTS):
        own, update, reset, candidate, last = [(weight[k], bias[k]) for weight, bias in layers]
        mean = seen[k].sum(0) / INSTANCES
        met = torch.cat((mean, before[k]))
        taken = torch.sigmoid(update[0] @ met + update[1])
        kept = torch.sigmoid(reset[0] @ met + reset[1]) * before[k]
        heard = torch.tanh(candidate[0] @ torch.cat((mean, kept)) + candidate[1])
        torch.testing.assert_close(after[k], (1 - taken) * before[k] + taken * heard)
        torch.testing.assert_close(values[k], seen[k] @ own[0].T + own[1] + last[0] @ after[k] + last[1])


@pytest.fixture(scope="module")
def short(tiny_recipe: Recipe) -> Recipe:
    """The tiny task with the policy of `general`, four students and two rollouts."""
    general = load_recipe("general")
    small: dict[str, Any] = {
        **{"agent.learner": "evolution", "agent.objective": "error", "agent.credit": "uniform", "agent.keep": "last"},
        **{"agent.students": 4, "agent.rollouts": 2, "agent.reward_every": 8, "agent.hidden": []},
        **{"policy.alignment": "none", "policy.features": list(general.policy.features)},
        **{"policy.scale_range": [1.0, 256.0], "policy.label_range": [0.015625, 16.0]},
    }
    return change_recipe(tiny_recipe, small)


@pytest.mark.parametrize("arm", list(NETWORKS))
def test_before_it_learns_a_network_chooses_the_middle_of_every_range(short: Recipe, tiny_task: Task, arm: str) -> None:
    options: dict[str, Any] = {"task": [tiny_task], "twins": True, "autoreset_mode": AutoresetMode.DISABLED}
    with closing(SplitVectorEnv(4 * short.instances, short, **options)) as env:
        learner = NetworkEvolution(env, short.agent, NETWORKS[arm])
        actions = learner._act(torch.rand(4, 8, env.features), learner._weights.expand(4, -1))
    assert torch.equal(actions, torch.zeros(4, 8, 3))


@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_learns_goes_on_and_distils(short: Recipe, tiny_task: Task, tmp_path: Path, arm: str) -> None:
    policy, numbers = learn(short, arm, [tiny_task], tmp_path)
    again, _ = learn(short, arm, [tiny_task], tmp_path)  # from its checkpoint, which is of the end
    assert numbers == {"linear": 90, "16 hidden units": 531, "set encoder": 357, "recurrent": 1029}[arm]
    teacher = tiny_task.teacher.recorded()
    losses = [validation_losses(one, short, tiny_task, teacher, [5, 6]) for one in (policy, again)]
    assert torch.equal(*losses)
    static = validation_losses(make_policy("static", temperature=4.0), short, tiny_task, teacher, [5, 6])
    assert not torch.equal(losses[0], static)


def test_the_tables_compare_every_arm_with_the_linear_one(
    short: Recipe,
    tiny_task: Task,
    small_cell: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(networks, "load_recipe", lambda _, changes=None: change_recipe(short, changes or {}))
    monkeypatch.setattr(networks, "build_all", lambda *_: [tiny_task, tiny_task])
    monkeypatch.setattr("sys.argv", ["networks", "--rollouts", "1", *small_cell])
    networks.main()
    lines = capsys.readouterr().out.splitlines()
    _, _, usual, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    rows, judged = rows[: len(ARMS)], rows[len(ARMS) :]
    assert [row[0] for row in rows] == list(ARMS)
    assert rows[0][4] == ""
    for row in rows[1:]:
        above_usual, above_linear = (float(cell.split(" ")[0]) for cell in row[3:])
        assert above_usual == pytest.approx(float(row[2]) - float(usual[2]), abs=0.11)
        assert above_linear == pytest.approx(float(row[2]) - float(rows[0][2]), abs=0.11)
    names, _, (cell, accuracy, *gaps) = judged
    assert names == ["", *ARMS]
    assert cell == "small, clean"
    assert 0.0 < float(accuracy) < 100.0
    assert len(gaps) == len(ARMS) - 1
