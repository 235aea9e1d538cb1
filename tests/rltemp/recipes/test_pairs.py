"""The pairs of the CIFAR-100 tables: each recipe says what the papers do, and runs."""

from pathlib import Path

import pytest
import torch

from rltemp.distillation.policy_run import PolicyRun
from rltemp.envs.credit_memory import CreditMemory
from rltemp.envs.credit_plan import CreditPlan
from rltemp.errors import InputError
from rltemp.networks import make_network
from rltemp.policies import make_policy
from rltemp.recipes import list_recipes, load_recipe
from rltemp.recipes.loading import count_updates
from rltemp.seeding import make_generator
from rltemp.tasks import build_task
from tests.pictures import write_tree

# Teacher, student, learning rate: 0.01 for the students whose depthwise convolutions need it.
PAIRS = [
    ("resnet56", "resnet20", 0.05),
    ("resnet110", "resnet32", 0.05),
    ("resnet110", "resnet20", 0.05),
    ("resnet32x4", "resnet8x4", 0.05),
    ("wrn_40_2", "wrn_16_2", 0.05),
    ("wrn_40_2", "wrn_40_1", 0.05),
    ("vgg13", "vgg8", 0.05),
    ("vgg13", "mobilenetv2", 0.01),
    ("resnet50", "mobilenetv2", 0.01),
    ("resnet32x4", "shufflenetv1", 0.01),
    ("resnet32x4", "shufflenetv2", 0.01),
    ("wrn_40_2", "shufflenetv1", 0.01),
]


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of noise, 16 x 16 px: 6 training and 2 test images each."""
    root = tmp_path_factory.mktemp("images")
    write_tree(root, {"train": 6, "test": 2}, ("ant", "zebra"), lambda number: (16, 16))
    return root


def test_there_is_a_recipe_for_every_pair() -> None:
    names = {f"cifar100-{teacher}-{student}" for teacher, student, _ in PAIRS}
    small = {"cifar100-cpu", "cifar100-cpu-short"}
    assert {name for name in list_recipes() if name.startswith("cifar100-")} == names | small


def test_the_small_setting_has_an_agent_that_learns_a_schedule() -> None:
    short, whole = load_recipe("cifar100-cpu-short"), load_recipe("cifar100-cpu")
    assert (short.policy.features, short.policy.scale, short.agent.credit) == (("progress",), 32.0, "uniform")
    assert (short.student, short.teacher, short.data.train) == (whole.student, whole.teacher, whole.data.train)
    updates = short.data.train // short.optimization.batch_size
    assert updates % short.agent.reward_every == 0


@pytest.mark.parametrize(("teacher", "student", "lr"), PAIRS)
def test_the_schedule_is_the_published_one(teacher: str, student: str, lr: float) -> None:
    recipe = load_recipe(f"cifar100-{teacher}-{student}")
    assert (recipe.teacher.network.name, recipe.student.name) == (teacher, student)
    assert recipe.teacher.checkpoint is not None
    assert Path(recipe.teacher.checkpoint).parent.name.lower() == f"{teacher}_vanilla"
    settings = recipe.optimization
    assert (settings.lr, settings.batch_size, settings.epochs, settings.weight_decay) == (lr, 64, 240, 5e-4)
    assert (settings.momentum, settings.nesterov, settings.schedule) == (0.9, False, "multistep")
    assert [share * 240 for share in settings.milestones] == [150, 180, 210]
    assert (recipe.data.name, recipe.data.shift, recipe.data.flip, recipe.data.noise) == ("cifar100", 4, True, 0.0)


@pytest.mark.parametrize(("teacher", "student"), [pair[:2] for pair in PAIRS])
def test_every_pair_names_an_agent_that_fits_a_laptop(teacher: str, student: str) -> None:
    recipe = load_recipe(f"cifar100-{teacher}-{student}")
    plan = CreditPlan.of(recipe.agent, count_updates(recipe))
    assert (recipe.agent.credit, plan.checkpoints, plan.updates) == ("hindsight", True, 183_600)
    assert plan.updates % recipe.agent.reward_every == 0
    assert plan.first >= max(recipe.optimization.milestones) * plan.updates
    network = make_network(student, 100, (3, 32, 32), make_generator(0))
    parameters = 4 * sum(parameter.numel() for parameter in network.parameters())
    buffers = 4 * sum(buffer.numel() for buffer in network.buffers())
    memory = CreditMemory(parameters, buffers, 4 * 64 * 3 * 32 * 32, 4 * 64 * 100, 20 * 64, 8 * 49_000)
    assert memory.needed(plan) < 3e9
    whole = CreditPlan(plan.updates)
    assert memory.needed(whole) > 300e9


@pytest.mark.parametrize(("teacher", "student"), [pair[:2] for pair in PAIRS])
def test_every_pair_runs(tree: Path, teacher: str, student: str) -> None:
    overrides = {
        "data": {"path": str(tree), "train": 8, "validation": 4, "shift": 1},
        "teacher": {"checkpoint": None, "epochs": 1, "batch_size": 8},
        "optimization": {"epochs": 1, "batch_size": 4},
        "execution.device": "cpu",
    }
    recipe = load_recipe(f"cifar100-{teacher}-{student}", overrides)
    # The data are not CIFAR-100, but a tree of them is read alike.
    task = build_task(recipe)
    whole = PolicyRun(task, [make_policy("static")], [0], recipe.policy)
    before = [parameter.detach().clone() for parameter in whole.run.students.parameters()]
    for _ in range(2):
        whole.advance()
    assert whole.run.finished
    for old, new in zip(before, whole.run.students.parameters(), strict=True):
        assert new.dtype == torch.float32
        assert bool(torch.isfinite(new).all())
        assert not torch.equal(new, old)


def test_missing_weights_of_a_teacher_are_named(tree: Path) -> None:
    overrides = {"data.path": str(tree), "data.train": 8, "data.validation": 4, "optimization.batch_size": 4}
    with pytest.raises(InputError, match=r"resnet56_vanilla/ckpt_epoch_240\.pth, which does not exist"):
        build_task(load_recipe("cifar100-resnet56-resnet20", overrides))
