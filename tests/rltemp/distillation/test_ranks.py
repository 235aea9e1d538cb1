"""Two processes that share every minibatch of a run: what one process does, up to rounding."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import rltemp
from rltemp.distillation import DistillationRun, Task
from rltemp.distillation.mixup import MixUp
from rltemp.distillation.policy_run import PolicyRun
from rltemp.distillation.ranks import ALONE, Ranks, RefusedElsewhereError
from rltemp.errors import DivergenceError, InputError
from rltemp.recipes import load_recipe
from rltemp.recipes.schema import PolicySpace
from rltemp.tasks import build_task

InTwoRanks = Callable[[Callable[[int, Path], Any]], list[Any]]

SPACE = PolicySpace(probe_size=16)
CLASSIFIER = dataclasses.replace(SPACE, alignment="classifier")
RUNS: dict[str, tuple[str, PolicySpace, dict[str, Any]]] = {
    "draws": ("random", SPACE, {}),
    "learns": ("ctkd-instance", SPACE, {}),
    "has a gradient through its temperatures": ("normkd", SPACE, {}),
    "compares instances by their median": ("adakd", SPACE, {}),
    "looks at its batch": ("general", SPACE, {}),
    "is aligned through the network": ("rltemp/digits", SPACE, {}),
    "is aligned through the classifier": ("rltemp/digits", CLASSIFIER, {"optimization.probe_weight": 0.5}),
    "sees views": ("ctkd", SPACE, {"data.views": 2}),
    "one after the other": ("dtkd", SPACE, {}),
}
UPDATES = 6


def make_task(**changes: Any) -> Task:
    tiny = {
        "data": {"train": 64, "validation": 50},
        "teacher": {"network": {"options": {"hidden": [8]}}, "members": 1, "epochs": 2},
        "student": {"options": {"hidden": [8]}},
        "optimization": {"epochs": 1, "batch_size": 8},
    }
    return build_task(load_recipe("digits-short", {**tiny, **changes}))


def start(name: str, ranks: Ranks) -> PolicyRun:
    """A run of two students."""
    named, space, changes = RUNS[name]
    task = dataclasses.replace(make_task(**changes), ranks=ranks, stacked=name != "one after the other")
    policy = rltemp.load_policy(named) if "/" in named else rltemp.make_policy(named)
    return PolicyRun(task, [policy] * 2, [3, 11], space)


def half(name: str, ranks: Ranks) -> dict[str, Any]:
    """The state of a run in its middle."""
    whole = start(name, ranks)
    for _ in range(UPDATES // 2):
        whole.advance()
    return whole.state_dict()


def run(name: str, ranks: Ranks, state: dict[str, Any] | None = None) -> dict[str, Tensor]:
    """What two students of a run come to, and what temperatures they had, from its start or from a state of it."""
    whole = start(name, ranks)
    if state is not None:
        whole.load_state_dict(state)
    chosen: list[Tensor] = []
    for _ in range(whole.run.step, UPDATES):
        whole.advance(lambda seen, temperatures: chosen.append(temperatures.student.detach()))
    end = whole.state_dict()["run"]
    tensors = {**end["students"], **end["companion"], "temperatures": torch.stack(chosen)}
    return {key: value for key, value in tensors.items() if isinstance(value, Tensor)}


def run_rank(rank: int, folder: Path) -> dict[str, dict[str, Any]]:
    ranks = Ranks(rank, 2)
    state = half("learns", ranks)
    return {**{name: run(name, ranks) for name in RUNS}, "state": state, "resumed": run("learns", ranks, state)}


def test_two_processes_make_the_run_of_one(in_two_ranks: InTwoRanks) -> None:
    first, second = in_two_ranks(run_rank)
    for name in RUNS:
        alone = run(name, ALONE)
        assert alone.keys() == first[name].keys()
        for key, value in alone.items():
            torch.testing.assert_close(first[name][key], value, rtol=1e-4, atol=1e-6)
            assert torch.equal(first[name][key], second[name][key])
        assert alone["temperatures"].shape == (UPDATES, 16)
    by_one = run("learns", ALONE, first["state"])
    for key, value in first["learns"].items():
        expected = value[UPDATES // 2 :] if key == "temperatures" else value
        assert torch.equal(first["resumed"][key], expected)
        torch.testing.assert_close(by_one[key], expected, rtol=1e-4, atol=1e-6)


def refuse(index: int, ranks: Ranks, error: InputError) -> list[int]:
    """What every rank sees that asks all for their index, if one of them refuses."""

    def answer() -> int:
        if ranks.index == index:
            raise error
        return ranks.index

    return ranks.gather(answer)


def statistics(ranks: Ranks) -> dict[str, Tensor]:
    """Running statistics of a student's batch normalization after its first forward pass."""
    task = make_task(student={"name": "cnn", "options": {"channels": [2]}})
    run = DistillationRun(dataclasses.replace(task, ranks=ranks), [3])
    run.observe()
    return {name: buffer.clone() for name, buffer in run.students.named_buffers()}


def say(rank: int, folder: Path) -> dict[str, Any]:
    """How each rank sees what the others say, keep, and normalize by."""
    ranks = Ranks(rank, 2)
    heard: dict[int | str, tuple[str, str]] = {}
    for index in range(2):
        try:
            refuse(index, ranks, DivergenceError(f"student {index} diverged"))
        except InputError as error:
            heard[index] = (type(error).__name__, str(error))
    kept = folder / "kept"
    order = ranks.in_turn(lambda: kept.exists() or kept.write_text("there"))
    try:
        ranks.first(lambda: refuse(0, ALONE, InputError("no room")))
    except InputError as error:
        heard["first"] = (type(error).__name__, str(error))
    weights = torch.full((3,), float(rank))
    ranks.equalize([weights])
    mean = [torch.full((2, 2), 4.0 * rank), torch.tensor(rank)]
    ranks.average(mean)
    return {
        "heard": heard,
        "order": order,
        "indices": refuse(2, ranks, InputError("nobody")),
        "first": ranks.first(lambda: rank),
        "weights": weights,
        "mean": mean,
        "statistics": statistics(ranks),
    }


def test_a_refusal_is_said_once_and_all_go_by_the_same(in_two_ranks: InTwoRanks) -> None:
    first, second = in_two_ranks(say)
    for index in range(2):
        assert first["heard"][index] == (DivergenceError.__name__, f"student {index} diverged")
        assert second["heard"][index] == (RefusedElsewhereError.__name__, f"student {index} diverged")
    assert [rank["heard"]["first"] for rank in (first, second)] == [
        ("InputError", "no room"),
        ("RefusedElsewhereError", "no room"),
    ]
    assert [first["order"], second["order"]] == [5, True]  # the second finds what the first has written
    for rank, answer in enumerate((first, second)):
        assert answer["indices"] == [0, 1]
        assert answer["first"] == 0
        assert answer["weights"].tolist() == [0.0] * 3
        assert answer["mean"][0].tolist() == [[2.0, 2.0]] * 2
        assert answer["mean"][1].item() == rank
    alone = statistics(ALONE)
    assert any(name.endswith("running_mean") for name in alone)
    for name, value in alone.items():
        assert torch.equal(first["statistics"][name], second["statistics"][name])
        if name.endswith("running_mean"):  # a mean of means of equal shares is the mean of all, a variance is not
            torch.testing.assert_close(first["statistics"][name], value)


def test_a_minibatch_that_cannot_be_shared_is_refused() -> None:
    task = dataclasses.replace(make_task(), ranks=Ranks(1, 3))
    message = r"^optimization\.batch_size must be a multiple of the 3 processes of this run, got 8$"
    with pytest.raises(InputError, match=message):
        DistillationRun(task, [3])


def test_mixtures_of_a_shared_minibatch_are_refused() -> None:
    task = dataclasses.replace(make_task(), ranks=Ranks(0, 2))
    with pytest.raises(InputError, match=r"^mixup must be None where 2 processes share a minibatch$"):
        DistillationRun(task, [3], mixup=MixUp(range(3)))


@pytest.mark.parametrize("views", [None, 2])
def test_shares_of_a_minibatch_are_the_minibatch(views: int | None) -> None:
    task = make_task(**{"data.views": views})
    whole = task.minibatches([3, 4])
    shares = [dataclasses.replace(task, ranks=Ranks(rank, 4)).minibatches([3, 4]) for rank in range(4)]
    for _ in range(10):  # more than an epoch
        expected, parts = whole.draw(), [share.draw() for share in shares]
        assert torch.equal(torch.cat([part.images for part in parts], 1), expected.images)
        assert torch.equal(torch.cat([part.targets for part in parts], 1), expected.targets)
    assert str(shares[3].state_dict()) == str(whole.state_dict())
