"""The mean of trainings is one policy between them, which says what all of them took."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rltemp import LearnedPolicy, load_policy, save_policy
from rltemp.distillation import Task
from rltemp.errors import InputError
from rltemp.experiments.studies import average as study
from rltemp.experiments.studies.average import average


@pytest.fixture
def training() -> Callable[[int], LearnedPolicy]:
    """As the one that is shipped, with weights drawn by a seed."""
    shipped = load_policy("rltemp/general")

    def make(seed: int) -> LearnedPolicy:
        policy = copy.deepcopy(shipped)
        policy.card["training"] = {**policy.card["training"], "agent.seed": seed, "rollouts": 10 + seed}
        generator = torch.Generator().manual_seed(seed)
        for parameter in policy.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 8.0)
        return policy

    return make


def test_actions_before_they_are_squashed_are_the_mean_of_those_of_the_trainings(
    training: Callable[[int], LearnedPolicy],
) -> None:
    policies = [training(seed) for seed in range(3)]
    mean = average(policies)
    seen = torch.rand(16, len(mean.features), generator=torch.Generator().manual_seed(9))
    actions = torch.stack([torch.atanh(policy.net(seen)) for policy in policies]).mean(0)
    torch.testing.assert_close(mean.net(seen), torch.tanh(actions), rtol=1e-4, atol=1e-5)
    assert mean.weights == policies[0].weights


def test_its_card_counts_all_rollouts_and_names_no_single_seed(training: Callable[[int], LearnedPolicy]) -> None:
    card = average([training(0), training(1)]).card
    assert card["training"]["rollouts"] == 21
    assert card["training"]["algorithm"].endswith("mean of 2 trainings")
    assert "agent.seed" not in card["training"]
    assert card["trained_on"] == training(0).card["trained_on"]


def test_policies_of_two_kinds_are_refused(training: Callable[[int], LearnedPolicy]) -> None:
    with pytest.raises(InputError, match="policies must be of one kind"):
        average([training(0), load_policy("rltemp/general-kd")])


def test_it_is_kept_and_measured_beside_each_training(
    training: Callable[[int], LearnedPolicy],
    tiny_task: Task,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(study, "build_all", lambda *_: [tiny_task, tiny_task])
    monkeypatch.setattr("sys.argv", ["average", "--runs", str(tmp_path)])
    with pytest.raises(InputError, match=r"--trainings must name two or more in .*, got none"):
        study.main()
    for seed in range(2):
        save_policy(training(seed), tmp_path / "general" / f"train-seed{seed}" / "policy")
    study.main()
    _, _, mean, *each, where = capsys.readouterr().out.splitlines()
    least = float(mean.split("|")[2])
    for seed, row in enumerate(each):
        name, wrong, above = (cell.strip() for cell in row.split("|")[1:-1])
        assert name == f"train-seed{seed}"
        assert float(above.split(" ")[0]) == pytest.approx(float(wrong) - least, abs=0.06)
    kept = load_policy(where.removeprefix("policy: "))
    for own, other in zip(kept.parameters(), average([training(0), training(1)]).parameters(), strict=True):
        assert torch.equal(own, other)
