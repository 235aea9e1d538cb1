"""Sources by name: of the package, registered, and out of a module that a recipe names."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from rltemp.data import Dataset
from rltemp.errors import InputError
from rltemp.recipes import Recipe, load_recipe
from rltemp.recipes.consistency import check_settings
from rltemp.recipes.schema import Data
from rltemp.tasks import Source, SourceLoader, build_task, list_sources, register_source
from rltemp.tasks.build import check_recipe
from rltemp.tasks.sources import check_source, load_source
from rltemp.tasks.sources import registry as module


class Stripes(SourceLoader):
    """Two classes of 8 x 8 px that differ in one pixel."""

    needs_path = False

    def load(self, settings: Data, cache: Path | None) -> Source:
        targets = torch.arange(120) % 2
        images = torch.zeros(120, 1, 8, 8)
        images[:, 0, 0, 0] = targets.float()
        return Source(Dataset(images, targets, 2))


class Careless(SourceLoader):
    needs_path = False

    def load(self, settings: Data, cache: Path | None) -> Any:
        return torch.zeros(3)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> dict[str, type[SourceLoader]]:
    """What is registered in a test is forgotten after it."""
    names: dict[str, type[SourceLoader]] = {}
    monkeypatch.setattr(module, "_REGISTERED", names)
    return names


def _recipe(name: str, **data: Any) -> Recipe:
    return load_recipe(
        "digits-short",
        {
            "data": {"name": name, "train": 64, "validation": 32, "shift": 0, **data},
            "teacher": {"members": 1, "epochs": 1, "network": {"options": {"hidden": [4]}}},
            "policy.probe_size": 32,
        },
    )


def test_every_source_says_what_it_holds() -> None:
    assert {"digits", "cifar100", "folder"} <= set(list_sources())
    assert all(line and "\n" not in line for line in list_sources().values())


def test_a_registered_source_is_split_and_trained_on_like_any_other() -> None:
    register_source("stripes", Stripes)
    assert "stripes" in list_sources()
    task = build_task(_recipe("stripes"))
    assert [len(part) for part in (task.probe, task.validation, task.test)] == [64, 32, 24]
    assert torch.equal(task.probe.images[:, 0, 0, 0].long(), task.probe.targets)
    assert load_source(_recipe("stripes", image_size=4).data).images.images.shape == (120, 1, 4, 4)  # type: ignore[union-attr]


def test_a_module_is_imported_by_leave_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_stripes.py").write_text(
        f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n"
        "from rltemp.tasks import SourceLoader\n"
        "class Mine(SourceLoader):\n"
        "    needs_path = False\n"
        "    def load(self, settings, cache):\n"
        "        from rltemp.tasks.sources import load_source\n"
        "        import dataclasses\n"
        "        return load_source(dataclasses.replace(settings, name='digits'), cache)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    recipe = _recipe("my_stripes:Mine")
    message = r"^data\.name 'my_stripes:Mine' would run code: give --allow-code to allow it$"
    for refused in (check_recipe, build_task):
        with pytest.raises(InputError, match=message):
            refused(recipe, allow_download=True)
    with pytest.raises(InputError, match=message):
        load_source(recipe.data)
    assert not (tmp_path / "ran").exists()
    task, digits = build_task(recipe, allow_code=True), build_task(_recipe("digits"))
    assert (tmp_path / "ran").exists()
    assert torch.equal(task.probe.images, digits.probe.images)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_such_module:Mine", "No module named 'no_such_module'"),
        ("pathlib:Mine", "module 'pathlib' has no attribute 'Mine'"),
        (":Mine", ""),
        ("pathlib:", ""),
        (".relative:Mine", ""),
        ("pathlib:Path", r" of a SourceLoader, got 'pathlib:Path', which is none"),
        ("rltemp.tasks:SourceLoader", "abstract"),
    ],
)
def test_a_module_without_a_source_is_one_line(name: str, reason: str) -> None:
    with pytest.raises(InputError, match=rf"^data\.name must be MODULE:CLASS.*{reason}") as refusal:
        check_source(_recipe(name).data, allow_code=True)
    assert "\n" not in str(refusal.value)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    names = ", ".join(list_sources())
    with pytest.raises(InputError, match=rf"^data\.name must be one of {names}, or MODULE:CLASS, got 'digit'; did you"):
        check_recipe(_recipe("digit"))
    with pytest.raises(InputError, match=r"got 'xyz'$"):
        check_recipe(_recipe("xyz"))


@pytest.mark.parametrize("name", ["digits", "a:b", ""])
def test_names_of_the_package_are_not_replaced(name: str) -> None:
    with pytest.raises(InputError, match=r"^name must be none of digits, .*folder.* and without a colon, got"):
        register_source(name, Stripes)


def test_what_loads_no_source_is_refused() -> None:
    with pytest.raises(InputError, match=r"^loader must be a subclass of SourceLoader, got <function"):
        register_source("careless", lambda: None)  # type: ignore[arg-type]
    register_source("careless", Careless)
    with pytest.raises(InputError, match=r"^'careless' must load a Source, got Tensor$"):
        load_source(_recipe("careless").data)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "folder"}, "data.path must name the folder of 'folder', got null"),
        ({"in_memory": False}, "data.in_memory must be true for 'digits', got false"),
        ({"name": "folder", "path": ".", "in_memory": False}, "data.image_size must be a number"),
    ],
)
def test_data_must_fit_their_source(values: dict[str, Any], message: str) -> None:
    recipe = load_recipe("digits-short")
    recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, **values))
    check_settings(recipe)  # a task of one's own may have other data
    with pytest.raises(InputError, match=f"^{message}"):
        check_recipe(recipe)


class Signals(SourceLoader):
    needs_path = False

    def load(self, settings: Data, cache: Path | None) -> Source:
        kind = torch.int64 if settings.split_seed else torch.float32
        return Source(Dataset(torch.ones(120, 6, dtype=kind), torch.arange(120) % 2, 2))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"data.shift": 1}, r"data.shift and teacher.shift must be 0 for instances of shape \[6\], got 1"),
        ({"teacher.shift": 2}, r"data.shift and teacher.shift must be 0 for instances of shape \[6\], got 2"),
        ({"data.flip": True}, "data.flip and teacher.flip must be false for instances"),
        ({"data.split_seed": 1}, "data.noise must be 0 for token ids, got 0.3"),
        ({"data.image_size": 3}, "side must divide that of square images"),
    ],
)
def test_what_is_done_to_images_is_not_done_to_anything_else(overrides: dict[str, Any], message: str) -> None:
    register_source("signals", Signals)
    base = {"data": {"name": "signals", "train": 64, "validation": 32, "shift": 0}, "policy.probe_size": 32}
    build_task(load_recipe("digits-short", {**base, "teacher": {"members": 1, "epochs": 1}}))
    with pytest.raises(InputError, match=f"^{message}"):
        build_task(load_recipe("digits-short", {**base, **overrides}))
