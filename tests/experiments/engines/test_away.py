"""A worker that does not see the folder of all runs has the same task, and what it leaves is found there."""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torchvision.utils import save_image

from rltemp.data import Dataset
from rltemp.errors import InputError
from rltemp.experiments.engines import Leave, Workplace
from rltemp.experiments.engines.away import Away
from rltemp.experiments.engines.home import Home
from rltemp.experiments.run_folder import RunFolder
from rltemp.recipes import Recipe, change_recipe, dump_recipe
from rltemp.tasks import teachers


class Wire:
    """A line to a `Home` in this process, which counts what is shared."""

    def __init__(self, root: Path) -> None:
        self.shared = 0
        self._home = Home(str(root), Leave(), self._share)

    def ask(self, question: str, /, *arguments: Any) -> Any:
        return getattr(self._home, question)(*arguments)

    def _share(self, value: Any) -> Any:
        self.shared += 1
        return value


@pytest.fixture
def wire(tmp_path: Path) -> Wire:
    return Wire(tmp_path / "runs")


@pytest.fixture
def away(wire: Wire) -> Away:
    return Away(wire, Leave())


def test_data_and_teacher_come_from_home_once(
    tiny_recipe: Recipe, wire: Wire, away: Away, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tmp_path / "images"
    for part, count in (("train", 60), ("test", 4)):
        for name in range(2):
            (images / part / str(name)).mkdir(parents=True)
            for number in range(count):
                pixels = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(count + number)) * (1 + name) / 2
                save_image(pixels, images / part / str(name) / f"{number}.png")
    recipe = change_recipe(
        tiny_recipe, {"data.name": "folder", "data.path": str(images), "data.views": 2, "data.validation": 20}
    )
    here = Workplace(tmp_path / "runs", Leave()).build(recipe)
    monkeypatch.setattr(teachers, "_train", None)  # it is kept
    wire.ask("source", away_data(recipe))
    shutil.rmtree(images)
    there = away.build(recipe)
    junk = away.build(change_recipe(recipe, {"data.junk": 0.5}))
    for part in ("probe", "validation", "test"):
        one, other = getattr(here, part), getattr(there, part)
        assert isinstance(one, Dataset)
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.targets, other.targets)
    assert here.teacher.bank is not None
    assert there.teacher.bank is not None
    assert torch.equal(here.teacher.bank, there.teacher.bank)
    assert not torch.equal(junk.probe.images, there.probe.images)
    assert wire.shared == 3  # images, teacher, and its logits of the first task
    assert not list(away.root.iterdir())


def away_data(recipe: Recipe) -> Any:
    """What a worker asks for of a recipe's data."""
    asked: list[Any] = []

    class Asked:
        def ask(self, question: str, /, *arguments: Any) -> Any:
            asked.extend(arguments)

    Away(Asked(), Leave()).source(recipe.data)
    return asked[0]


def test_what_a_worker_trains_is_kept_at_home(tiny_recipe: Recipe, away: Away, tmp_path: Path) -> None:
    recipe = change_recipe(tiny_recipe, {"teacher.seed": 5})
    teacher = away.build(recipe).teacher.network.state_dict()
    (kept,) = (tmp_path / "runs" / "teachers").iterdir()
    weights = safetensors.torch.load_file(kept)
    assert {tensor.numpy().tobytes() for tensor in weights.values()} <= {
        tensor.numpy().tobytes() for tensor in teacher.values()
    }


def test_a_checkpoint_comes_with_the_teacher(tiny_recipe: Recipe, away: Away, tmp_path: Path) -> None:
    network: Any = Workplace(tmp_path / "other", Leave()).build(tiny_recipe).teacher.network
    path = tmp_path / "teacher.safetensors"
    safetensors.torch.save_file(network.members[0].state_dict(), path)
    recipe = change_recipe(tiny_recipe, {"teacher.checkpoint": str(path)})
    got = away.build(recipe).teacher.network.state_dict()
    want = network.state_dict()
    assert all(torch.equal(value, want[name]) for name, value in got.items())


def test_a_run_goes_on_where_another_worker_left_it(wire: Wire, tiny_recipe: Recipe, tmp_path: Path) -> None:
    config, home = dump_recipe(tiny_recipe), tmp_path / "runs" / "tiny" / "train"
    first, second = Away(wire, Leave()), Away(wire, Leave())
    with suppress(KeyboardInterrupt), first.holding(first.root / "tiny" / "train") as keep:
        run = RunFolder.start(first.root, "tiny", "train", config)
        run.append_metrics({"step": 1.0})
        keep()
        run.append_metrics({"step": 2.0})
        raise KeyboardInterrupt
    assert not (first.root / "tiny" / "train").exists()
    assert RunFolder(home).read_metrics()["step"].tolist() == [1.0]
    with second.holding(second.root / "tiny" / "train"):
        RunFolder.start(second.root, "tiny", "train", config).append_metrics({"step": 5.0})
    assert RunFolder(home).read_metrics()["step"].tolist() == [1.0, 5.0]
    assert not list(home.parent.glob(".draft*"))


def test_a_journal_that_is_not_there_yet_is_kept_when_it_is(away: Away, tmp_path: Path) -> None:
    path = away.root / "work" / "search.journal"
    path.parent.mkdir()
    with away.holding(path) as keep:
        keep()
        path.write_text("one\n")
        keep()
        assert (tmp_path / "runs" / "work" / "search.journal").read_text() == "one\n"
    assert not path.exists()


def test_a_mistake_is_that_of_one_machine(tiny_recipe: Recipe, away: Away) -> None:
    with pytest.raises(InputError, match="fit into 1797 instances"):
        away.build(change_recipe(tiny_recipe, {"data.train": 5000}))
