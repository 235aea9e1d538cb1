"""A text as a task: its windows stay in order, its tokens are the instances of every run."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import rltemp
from rltemp import InputError
from rltemp.data import decode
from rltemp.distillation import DistillationRun, Task, clean_logits, score
from rltemp.distillation.policy_run import PolicyRun
from rltemp.policies import make_policy
from rltemp.recipes import Recipe, change_recipe, load_recipe
from rltemp.tasks import build_task
from rltemp.tasks.parts import part_rows
from rltemp.temperatures import Temperatures

TINY: dict[str, Any] = {
    "data": {"context": 6, "train": 32, "validation": 8, "pool": "all"},
    "teacher": {"network": {"options": {"width": 8, "layers": 1, "heads": 2}}, "train": None, "epochs": 1},
    "student": {"options": {"width": 4, "layers": 1, "heads": 2}},
    "optimization": {"batch_size": 4},
}


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe("arena-shakespeare", TINY)


@pytest.fixture(scope="module")
def task(recipe: Recipe) -> Task:
    return build_task(recipe)


def test_every_token_of_a_minibatch_is_an_instance(recipe: Recipe, task: Task) -> None:
    assert (task.positions, task.instances, recipe.instances, task.steps) == (6, 24, 24, 8)
    seen = DistillationRun(task, (0, 1)).observe()
    assert seen.minibatch.images.shape == (2, 4, 6)
    assert seen.minibatch.targets.shape == (2, 24)
    # Teacher forcing: what a position has to say is what the next one reads.
    windows = seen.minibatch.targets.view(2, 4, 6)
    assert torch.equal(windows[..., :-1], seen.minibatch.images[..., 1:])
    asked = torch.stack([task.teacher(one) for one in seen.minibatch.images])
    torch.testing.assert_close(seen.teacher_logits, asked)
    assert seen.student.logits.shape == asked.shape == (2, 24, 96)


def test_an_update_is_that_of_the_mean_over_tokens(task: Task) -> None:
    run = DistillationRun(task, (5,))
    seen, network = run.observe(), run.students.extract(0)
    t = torch.linspace(0.5, 3.0, 24)
    run.update(Temperatures.shared(t))
    logits = network(seen.minibatch.images[0]).flatten(0, 1)
    p, q = (F.log_softmax(part / t[:, None], -1) for part in (seen.teacher_logits[0], logits))
    kd = t.square() * (p.exp() * (p - q)).sum(-1)
    loss = (0.9 * kd + 0.1 * F.cross_entropy(logits, seen.minibatch.targets[0], reduction="none")).mean()
    gradient = torch.autograd.grad(loss, network.classifier.weight)[0]
    moved = run.students.extract(0).classifier.weight - network.classifier.weight
    # The first step of Nesterov's momentum is 1 + 0.9 gradients.
    torch.testing.assert_close(moved, -task.optimization.lr * 1.9 * gradient, rtol=1e-3, atol=1e-7)


def test_scores_are_over_all_characters(task: Task) -> None:
    students = task.students((0, 1))
    logits = torch.stack([students.extract(k)(task.test.images).flatten(0, 1) for k in range(2)])
    nll = torch.stack([F.cross_entropy(one.double(), task.test.labels) for one in logits.detach()])
    torch.testing.assert_close(score(students, task.test).nll, nll, rtol=1e-5, atol=0.0)
    assert clean_logits(task.teacher, task.test).shape == (task.test.targets.numel(), 96)


@pytest.mark.parametrize("name", ["adakd", "ctkd-instance", "normkd", "random"])
def test_rules_take_tokens_for_instances(name: str, task: Task) -> None:
    chosen: list[Temperatures] = []
    whole = PolicyRun(task, [make_policy(name)] * 2, (0, 1), load_recipe("arena-shakespeare").policy)
    whole.advance(lambda seen, told: chosen.append(told))
    assert len(chosen[0]) == 48


def test_a_policy_is_told_where_a_token_stands(task: Task) -> None:
    features = rltemp.LogitFeatures(("position",))
    policy = rltemp.LearnedPolicy(features, ())
    next(policy.parameters()).fill_(0.5)
    chosen: list[Temperatures] = []
    space = load_recipe("arena-shakespeare").policy
    PolicyRun(task, [policy] * 2, (0, 1), space).advance(lambda seen, told: chosen.append(told))
    by_window = chosen[0].teacher.view(2, 4, 6)
    assert bool((by_window[..., 1:] > by_window[..., :-1]).all())
    assert torch.equal(by_window, by_window[:1, :1].expand(2, 4, 6))
    # The criterion of a user's own loop tells the same of logits [windows, positions, C].
    logits = torch.zeros(4, 6, 96)
    parts = rltemp.DistillationLoss(policy, ce_weight=0.0).parts(logits, logits)
    torch.testing.assert_close(parts.temperatures.teacher, by_window[0].flatten())


def test_parts_are_runs_of_neighbours_and_pools_are_halves(recipe: Recipe) -> None:
    halves = []
    for pool in ("agents", "arena"):
        rows = part_rows(change_recipe(recipe, {"data.pool": pool, "teacher.train": 40}), 200, with_test=False)
        whole = torch.cat([rows["teacher"], rows["validation"]])
        assert torch.equal(rows["teacher"][:32], rows["train"])
        start = 0 if pool == "agents" else 100
        assert torch.equal(whole, start + (whole[0] - start + torch.arange(48)) % 100)
        halves.append(set(whole.tolist()))
    assert not halves[0] & halves[1]
    other = part_rows(change_recipe(recipe, {"data.split_seed": 1}), 200, with_test=False)
    assert other["train"][0] != part_rows(recipe, 200, with_test=False)["train"][0]


def test_a_wrong_character_stands_in_the_text_that_follows(recipe: Recipe, task: Task) -> None:
    noisy = build_task(change_recipe(recipe, {"data.label_noise": 0.3}))
    images, targets = noisy.probe.images, noisy.probe.targets
    assert torch.equal(images[:, 1:], targets[:, :-1])
    assert torch.equal(images[:, 0], task.probe.images[:, 0])
    assert noisy.replaced is not None
    assert torch.equal(noisy.replaced, targets != task.probe.targets)
    assert 0.2 < float(noisy.replaced.float().mean()) < 0.4
    assert torch.equal(noisy.validation.targets, task.validation.targets)


def test_a_teacher_of_another_text(recipe: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("abcdefg " * 60)
    changes = {"teacher.source": "text", "teacher.path": str(path), "teacher.epochs": 3, "teacher.lr": 0.5}
    other = build_task(change_recipe(recipe, changes))
    said = other.teacher(other.validation.images).argmax(-1)
    assert set(decode(said)) <= set("abcdefg ")
    assert set(decode(other.validation.labels)) - set("abcdefg ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.context": None}, "data.context must be a number of characters for 'shakespeare', got null"),
        ({"data.name": "digits"}, "data.context must be null for 'digits', got 6"),
        ({"data.name": "text"}, "data.path must name the file of 'text', got null"),
        ({"data.name": "text", "data.path": "nowhere"}, "data.path must be the file of 'text', got nowhere, no file"),
        ({"teacher.source": "digits"}, "teacher.source 'digits': data.context must be null"),
        ({"teacher.path": "x"}, "teacher.path must be null without teacher.source"),
        ({"teacher.without": 0.3}, "teacher.without must be 0 for texts"),
        ({"data.shift": 1}, "data.shift and teacher.shift must be 0 for instances of shape"),
        ({"data.train": 50_000}, "sizes must be >= 1 each and fit into"),
    ],
)
def test_what_does_not_fit_a_text_is_refused(recipe: Recipe, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_task(change_recipe(recipe, changes))
