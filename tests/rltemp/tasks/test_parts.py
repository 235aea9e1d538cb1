"""Which images each part holds, by index; pools that share none; blended images and classes left out."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rltemp.data import Dataset, ImageFiles
from rltemp.distillation import Task
from rltemp.errors import InputError
from rltemp.recipes import Recipe, dump_recipe, load_recipe
from rltemp.seeding import make_generator
from rltemp.tasks import Source, build_steps, build_task
from rltemp.tasks.parts import Parts, make_parts, part_rows
from rltemp.tasks.sources import load_source

TOTAL, SEEDS = 120, (0, 1, 7)


def _recipe(**values: Any) -> Recipe:
    """A recipe of 16 training and 10 validation images, without augmentation."""
    plain = {"data.train": 16, "data.validation": 10, "data.shift": 0, "data.noise": 0.0, "optimization.batch_size": 4}
    return load_recipe("digits-short", plain | {name.replace("__", "."): value for name, value in values.items()})


def _source(*, with_test: bool, kind: torch.dtype = torch.float32, classes: int = 4) -> Source:
    """`TOTAL` images of 3 positions, all different, in which an image's number is its first position."""
    rows = torch.arange(TOTAL)
    images = torch.stack([rows, rows * 37 % 101, rows * rows % 89], dim=1).to(kind)
    data = Dataset(images, rows * 7 % classes, classes)
    return Source(data, None if with_test else Dataset(images[:5] + 100, data.targets[:5], classes))


def _numbers(part: Dataset | ImageFiles) -> list[int]:
    assert isinstance(part, Dataset)
    return [int(number) for number in part.images[:, 0]]


def _sets(rows: dict[str, Tensor]) -> dict[str, set[int]]:
    for part in rows.values():
        assert part.dtype == torch.int64
        assert part.unique().numel() == len(part)
    return {name: set(part.tolist()) for name, part in rows.items()}


@pytest.mark.parametrize("with_test", [True, False])
@pytest.mark.parametrize("more", [None, 16, 20])
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("pool", ["all", "arena", "agents"])
def test_parts_are_disjoint_and_hold_what_their_rows_say(
    pool: str, seed: int, more: int | None, with_test: bool
) -> None:
    recipe = _recipe(data__pool=pool, data__split_seed=seed, teacher__train=more)
    rows = part_rows(recipe, TOTAL, with_test=with_test)
    whole = _sets(rows)
    assert set(whole) == {"train", "teacher", "validation"} | ({"test"} if with_test else set())
    assert [len(whole[name]) for name in ("train", "teacher", "validation")] == [16, more or 16, 10]
    assert rows["teacher"][:16].tolist() == rows["train"].tolist()
    assert all(a.isdisjoint(b) for a, b in itertools.combinations([v for k, v in whole.items() if k != "train"], 2))
    assert set().union(*whole.values()) <= set(range(TOTAL))
    if with_test:
        assert len(whole["test"]) == (TOTAL - 10 - (more or 16) if pool == "all" else TOTAL // 4)

    source = _source(with_test=with_test)
    parts = make_parts(recipe, source)
    for name in ("train", "teacher", "validation"):
        assert _numbers(getattr(parts, name)) == rows[name].tolist()
        assert getattr(parts, name).targets.tolist() == [row * 7 % 4 for row in rows[name].tolist()]
    assert _numbers(parts.test) == (rows["test"].tolist() if with_test else [100, 101, 102, 103, 104])
    assert parts.sample is parts.train


@pytest.mark.parametrize("with_test", [True, False])
def test_two_pools_share_no_image_whatever_their_seeds(with_test: bool) -> None:
    names = ("train", "teacher", "validation")

    def used(pool: str, seed: int) -> tuple[set[int], set[int]]:
        recipe = _recipe(data__pool=pool, data__split_seed=seed, teacher__train=25 if pool == "arena" else None)
        whole = _sets(part_rows(recipe, TOTAL, with_test=with_test))
        return set().union(*(whole[name] for name in names)), whole.get("test", set())

    everything = {pool: [used(pool, seed) for seed in range(12)] for pool in ("arena", "agents")}
    assert len({frozenset(images) for images, _ in everything["agents"]}) > 1  # the seed still splits inside the pool
    tests = {frozenset(test) for pool in everything.values() for _, test in pool}
    assert len(tests) == 1  # the same test images for all
    unions = {pool: set().union(*(images for images, _ in seeds)) for pool, seeds in everything.items()}
    left = TOTAL - (TOTAL // 4 if with_test else 0)
    assert unions["arena"].isdisjoint(unions["agents"])
    assert all(union.isdisjoint(test) for union in unions.values() for test in tests)
    assert len(unions["agents"]) <= left // 3
    assert len(unions["arena"]) <= left - left // 3


def test_the_pools_are_as_large_as_stated() -> None:
    for pool, size in (("agents", 30), ("arena", 60)):  # of 120 images, 30 are for the test
        recipe = _recipe(data__pool=pool, data__train=size - 10)
        assert len(part_rows(recipe, TOTAL, with_test=True)["train"]) == size - 10
        with pytest.raises(InputError, match=f"fit into {size} instances"):
            part_rows(_recipe(data__pool=pool, data__train=size - 9), TOTAL, with_test=True)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("more", "noise"), [(None, 0.0), (90, 0.3)])
def test_without_pools_digits_are_split_as_they_always_were(seed: int, more: int | None, noise: float) -> None:
    """By another road: one permutation of all images, cut from the front."""
    recipe = load_recipe(
        "digits-short",
        {"data": {"train": 64, "validation": 50, "split_seed": seed, "label_noise": noise}, "teacher": {"train": more}},
    )
    source = load_source(recipe.data, None, allow_code=False)
    assert isinstance(source.images, Dataset)
    order = torch.randperm(1797, generator=make_generator(seed, "split"))
    ends = [64, more or 64, (more or 64) + 50]
    expected = {"train": order[: ends[0]], "teacher": order[: ends[1]], "validation": order[ends[1] : ends[2]]}
    expected["test"] = order[ends[2] :]
    parts = make_parts(recipe, source)
    for name, rows in expected.items():
        assert torch.equal(getattr(parts, name).images, source.images.images[rows])
    targets = source.images.targets[expected["teacher"]].tolist()
    for stream, start, end in (("labels", 0, 64), ("labels of the teacher", 64, len(targets))):
        if end > start:
            generator = make_generator(seed, stream)
            draws = torch.rand(end - start, generator=generator).tolist()
            labels = torch.randint(10, (end - start,), generator=generator).tolist()
            for row, (draw, label) in enumerate(zip(draws, labels, strict=True), start):
                targets[row] = label if draw < noise else targets[row]
    assert parts.teacher.targets.tolist() == targets
    assert parts.train.targets.tolist() == targets[:64]


def _blended(clean: Dataset, share: float, seed: int) -> np.ndarray[Any, Any]:
    """What `data.junk` makes of the images, one at a time and in float64."""
    generator = make_generator(seed, "junk")
    images, total = clean.images.numpy(), len(clean)
    chosen = [row for row, draw in enumerate(torch.rand(total, generator=generator).tolist()) if draw < share]
    steps = torch.randint(1, total, (total,), generator=generator).tolist()
    coins = torch.rand((len(chosen), *clean.shape), generator=generator).numpy() < 0.5
    result = images.astype(np.float64)
    for coin, row in zip(coins, chosen, strict=True):
        a, b = images[row].astype(np.float64), images[(row + steps[row]) % total].astype(np.float64)
        if images.dtype == np.int64:
            result[row] = [x if own else y for own, x, y in zip(coin, a, b, strict=True)]
        else:
            result[row] = np.rint((a + b) / 2) if images.dtype == np.uint8 else (a + b) / 2
    return result.astype(images.dtype)


@pytest.mark.parametrize("share", [0.25, 1.0])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.uint8, torch.int64])
@pytest.mark.parametrize("seed", [0, 3])
def test_junk_blends_students_images_and_nothing_else(kind: torch.dtype, share: float, seed: int) -> None:
    source = _source(with_test=True, kind=kind)
    clean, junk = (
        make_parts(_recipe(data__junk=value, data__split_seed=seed, data__train=80, data__label_noise=0.2), source)
        for value in (0.0, share)
    )
    assert isinstance(clean.train, Dataset)
    assert isinstance(junk.train, Dataset)
    assert junk.train.images.dtype == kind
    assert np.array_equal(junk.train.images.numpy(), _blended(clean.train, share, seed))
    assert junk.sample is junk.train
    assert torch.equal(junk.train.targets, clean.train.targets)
    # No image is blended with itself: all their first positions differ.
    changed = (junk.train.images != clean.train.images).any(1).double().mean()
    assert kind == torch.int64 or changed == pytest.approx(share, abs=4 * (0.25 / 80) ** 0.5)
    for name in ("teacher", "validation", "test"):
        assert torch.equal(getattr(junk, name).images, getattr(clean, name).images)
        assert torch.equal(getattr(junk, name).targets, getattr(clean, name).targets)


def test_the_teacher_of_blended_students_is_the_same(tiny_recipe: Recipe, tiny_task: Task) -> None:
    task = build_task(_with(tiny_recipe, "data", junk=0.5))
    images = tiny_task.validation.images
    assert torch.equal(task.teacher(images), tiny_task.teacher(images))
    assert not torch.equal(task.probe.images, tiny_task.probe.images)


@pytest.mark.parametrize(("share", "seen"), [(0.25, 3), (0.5, 2), (0.3, 3)])
@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize("files", [False, True])
def test_a_teacher_sees_no_image_of_the_classes_it_does_without(
    share: float, seen: int, noise: float, files: bool
) -> None:
    source = _source(with_test=not files)
    recipe = _recipe(teacher__train=60, teacher__without=share, data__label_noise=noise)
    whole = _parts(dataclasses.replace(recipe, teacher=dataclasses.replace(recipe.teacher, without=0.0)), source, files)
    parts = _parts(recipe, source, files)
    rows = part_rows(recipe, TOTAL, with_test=not files)["teacher"].tolist()
    labels = whole.teacher.targets.tolist()
    kept = [i for i, row in enumerate(rows) if row * 7 % 4 < seen and labels[i] < seen]
    assert parts.teacher.targets.tolist() == [labels[i] for i in kept]
    numbers = [int(path) for path in parts.teacher.paths] if files else _numbers(parts.teacher)  # type: ignore[union-attr]
    assert numbers == [rows[i] for i in kept]
    assert parts.teacher.classes == 4
    assert parts.train.targets.tolist() == whole.train.targets.tolist()


def _parts(recipe: Recipe, source: Source, files: bool) -> Parts:
    """The parts of a source, or of the same source as files that are called by their numbers and never decoded."""
    if not files:
        return make_parts(recipe, source)
    on_disk = ImageFiles(tuple(str(row) for row in range(TOTAL)), source.images.targets, source.images.classes)
    recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, in_memory=False, image_size=3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rltemp.tasks.parts.decode_centers", lambda part, side, cache: part)
        return make_parts(recipe, source._replace(images=on_disk))


def test_a_teacher_without_any_image_is_refused() -> None:
    source = _source(with_test=True)
    assert isinstance(source.images, Dataset)
    last = dataclasses.replace(source.images, targets=torch.full((TOTAL,), 3))
    with pytest.raises(InputError, match=r"teacher\.without must leave the teacher an image to train on, got none of"):
        make_parts(_recipe(teacher__without=0.25), source._replace(images=last))


def test_a_teacher_without_classes_still_answers_for_all_of_them(tiny_recipe: Recipe, tmp_path: Path) -> None:
    steps: list[int] = []
    recipe = _with(tiny_recipe, "teacher", without=0.3, epochs=40)
    task = build_task(recipe, advance=lambda: steps.append(1), cache=tmp_path)
    logits = task.teacher(task.probe.images)
    assert logits.shape == (64, 10)
    assert int(logits.argmax(1).max()) < 7
    assert int(task.probe.targets.max()) == 9
    # The classes are about equally frequent, so that an epoch has about as many updates as announced.
    assert len(steps) == build_steps(recipe) == 40 * (round(0.7 * 64) // 32)
    build_task(_with(recipe, "teacher", without=0.0), cache=tmp_path)
    assert len([path for path in (tmp_path / "teachers").iterdir() if "logits" not in path.name]) == 2


def test_the_conditions_are_written_and_read(tmp_path: Path) -> None:
    recipe = _recipe(data__pool="arena", data__junk=0.125, teacher__without=0.25)
    text = dump_recipe(recipe)
    assert {"  pool: arena", "  junk: 0.125", "  without: 0.25"} <= set(text.splitlines())
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    assert load_recipe(path) == recipe


def _with(recipe: Recipe, part: str, **values: Any) -> Recipe:
    return dataclasses.replace(recipe, **{part: dataclasses.replace(getattr(recipe, part), **values)})
