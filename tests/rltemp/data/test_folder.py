import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from rltemp.data import folder as folder_module
from rltemp.data import load_image_folder
from rltemp.errors import InputError

Tree = tuple[Path, dict[str, list[np.ndarray]]]


class Counter:
    def __init__(self) -> None:
        self.steps = 0

    def advance(self, steps: int = 1) -> None:
        self.steps += steps

    def describe(self, text: str) -> None:
        pass


def test_images_and_targets_are_those_of_the_files(tree: Tree) -> None:
    root, content = tree
    data = load_image_folder(root)
    assert data.classes == 3
    assert data.images.shape == (12, 3, 8, 8)
    assert data.images.dtype == torch.uint8
    assert data.targets.tolist() == [0] * 3 + [1] * 4 + [2] * 5
    written = [pixels for name in ("ant", "mouse", "zebra") for pixels in content[name]]
    assert np.array_equal(data.images.permute(0, 2, 3, 1).numpy(), np.stack(written))
    for image, (reference, target), got in zip(data.images, ImageFolder(str(root)), data.targets, strict=True):
        assert np.array_equal(image.permute(1, 2, 0).numpy(), np.asarray(reference))
        assert got == target


def test_every_image_is_reported(tree: Tree) -> None:
    counter = Counter()
    load_image_folder(tree[0], progress=counter)
    assert counter.steps == 12


def test_the_cache_stands_in_for_unchanged_images(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "some" / "cache"
    first = load_image_folder(tree[0], cache=cache)
    assert len(list(cache.iterdir())) == 1

    def refuse(path: str) -> None:
        raise AssertionError(path)

    monkeypatch.setattr(folder_module, "decode", refuse)
    again = load_image_folder(tree[0], cache=cache)
    assert torch.equal(again.images, first.images)
    assert torch.equal(again.targets, first.targets)
    assert again.classes == 3


@pytest.mark.parametrize("change", ["content", "removed", "class"])
def test_a_changed_tree_is_decoded_anew(change: str, tree: Tree, tmp_path: Path) -> None:
    root, _ = tree
    load_image_folder(root, cache=tmp_path / "cache")
    image = root / "zebra" / "4.png"
    if change == "content":
        Image.fromarray(np.full((8, 8, 3), 7, dtype=np.uint8)).save(image)
        os.utime(image, ns=(1, 1))
    elif change == "removed":
        image.unlink()
    else:
        image.rename(root / "ant" / "4.png")
    fresh = load_image_folder(root)
    cached = load_image_folder(root, cache=tmp_path / "cache")
    assert torch.equal(cached.images, fresh.images)
    assert torch.equal(cached.targets, fresh.targets)


def test_a_damaged_cache_is_replaced(tree: Tree, tmp_path: Path) -> None:
    first = load_image_folder(tree[0], cache=tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:100])
    assert torch.equal(load_image_folder(tree[0], cache=tmp_path / "cache").images, first.images)
    assert file.stat().st_size == size


def test_trees_that_are_none_are_refused(tree: Tree, tmp_path: Path) -> None:
    root, _ = tree
    with pytest.raises(InputError, match=r"one sub-folder of images per class, got .*nowhere"):
        load_image_folder(root / "nowhere")
    with pytest.raises(InputError, match="one sub-folder of images per class"):
        load_image_folder(root / "ant")
    (tmp_path / "single" / "one").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "single" / "one" / "0.png")
    with pytest.raises(InputError, match="at least two classes"):
        load_image_folder(tmp_path / "single")
    (root / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        load_image_folder(root)


def test_images_that_do_not_fit_are_refused_by_name(tree: Tree, tmp_path: Path) -> None:
    root, _ = tree
    Image.new("RGB", (9, 8)).save(root / "zebra" / "5.png")
    with pytest.raises(InputError, match=r"one size, .*5\.png has \[3, 8, 9\]"):
        load_image_folder(root, cache=tmp_path / "cache")
    (root / "zebra" / "5.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"readable images, .*5\.png"):
        load_image_folder(root, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cache_that_is_a_file_is_refused(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cache must be a folder"):
        load_image_folder(tree[0], cache=tmp_path / "file")
