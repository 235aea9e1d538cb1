from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rltemp.data import CIFAR100_MEAN, CIFAR100_STD, cifar100_augmentation, load_cifar100
from rltemp.errors import InputError


def test_a_tree_is_read_by_part(tree: tuple[Path, dict[str, list[np.ndarray]]], tmp_path: Path) -> None:
    root, content = tree
    root.rename(tmp_path / "test")
    data = load_cifar100(tmp_path, "test")
    assert np.array_equal(data.images[0].permute(1, 2, 0).numpy(), content["ant"][0])
    with pytest.raises(InputError, match="root must hold train/<class>"):
        load_cifar100(tmp_path, "train")


def test_torchvision_data_are_turned_into_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    asked = []

    def fake(root: str, train: bool, download: bool) -> SimpleNamespace:
        asked.append((root, train, download))
        return SimpleNamespace(data=pixels, targets=[3, 99, 0, 1, 2, 50])

    monkeypatch.setattr("torchvision.datasets.CIFAR100", fake)
    data = load_cifar100(tmp_path, "train", download=True)
    assert asked == [(str(tmp_path), True, True)]
    assert data.classes == 100
    assert data.targets.tolist() == [3, 99, 0, 1, 2, 50]
    for image, expected in zip(data.images, pixels, strict=True):
        assert np.array_equal(image.numpy(), np.stack([expected[:, :, channel] for channel in range(3)]))


def test_other_parts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="part must be 'train' or 'test', got 'val'"):
        load_cifar100(tmp_path, "val")  # type: ignore[arg-type]


@pytest.mark.parametrize(("side", "padding"), [(32, 4), (16, 2)])
def test_the_augmentation_pads_by_an_eighth(side: int, padding: int) -> None:
    augmentation = cifar100_augmentation(side)
    offsets, flips, _ = augmentation.draw(2000, torch.Generator().manual_seed(0))
    assert offsets.unique().tolist() == list(range(-padding, padding + 1))
    # Half of 2000 fair coins: three standard deviations are 67.
    assert abs(int(flips.sum()) - 1000) < 67
    grey = torch.full((1, 3, side, side), 51, dtype=torch.uint8)
    expected = [(0.2 - mean) / std for mean, std in zip(CIFAR100_MEAN, CIFAR100_STD, strict=True)]
    assert augmentation.clean(grey)[0, :, 0, 0].tolist() == pytest.approx(expected, rel=1e-5)
