import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rltemp.data import FolderBatch, FolderLoader, list_images, load_image_folder
from rltemp.data.loader import center_crop, random_crop
from rltemp.errors import InputError


@pytest.fixture
def root(tree: tuple[Path, dict[str, list[np.ndarray]]]) -> Path:
    return tree[0]


def _loader(root: Path, **options: Any) -> FolderLoader:
    settings: dict[str, Any] = {"side": 8, "batch_size": 5, "augment": True, "drop_last": False, **options}
    return FolderLoader(list_images(root), generator=torch.Generator().manual_seed(settings.pop("seed", 0)), **settings)


def _equal(first: list[FolderBatch], second: list[FolderBatch]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a, b) for x, y in zip(first, second, strict=True) for a, b in zip(x, y, strict=True)
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_holds_every_image_once(root: Path, workers: int) -> None:
    loader = _loader(root, workers=workers)
    whole = load_image_folder(root)
    before = torch.get_rng_state()
    for _ in range(2):
        batches = list(loader)
        assert [len(batch.images) for batch in batches] == [5, 5, 2]
        indices = torch.cat([batch.indices for batch in batches])
        assert sorted(indices.tolist()) == list(range(12))
        assert torch.equal(torch.cat([batch.targets for batch in batches]), whole.targets[indices])
        assert all(batch.images.shape[1:] == (3, 8, 8) and batch.images.dtype == torch.uint8 for batch in batches)
    assert torch.equal(torch.get_rng_state(), before)


def test_workers_do_not_change_what_is_seen(root: Path) -> None:
    assert _equal(list(_loader(root, workers=0)), list(_loader(root, workers=2)))
    assert not _equal(list(_loader(root)), list(_loader(root, seed=1)))


@pytest.mark.parametrize("taken", [0, 1, 2, 3, 4])
def test_a_resumed_loader_sees_the_same_batches(root: Path, taken: int) -> None:
    straight = _loader(root)
    expected = [*straight, *straight, *straight]

    broken = _loader(root)
    stream = (batch for _ in range(3) for batch in broken)
    for _ in range(taken):
        next(stream)
    state = broken.state_dict()
    next(stream)

    resumed = _loader(root, seed=9)
    resumed.load_state_dict(state)
    rest = [batch for _ in range(3) for batch in resumed]
    assert _equal(rest[: 9 - taken], expected[taken:])


def test_crops_change_from_epoch_to_epoch(root: Path) -> None:
    loader = _loader(root, batch_size=12)
    (first,), (second,) = list(loader), list(loader)
    assert not torch.equal(first.images[first.indices.argsort()], second.images[second.indices.argsort()])


def test_without_augmentation_the_center_is_resized(tmp_path: Path) -> None:
    pixels = np.zeros((16, 24, 3), dtype=np.uint8)
    pixels[1:15, 5:19] = 200  # the centered 14 x 14 of 16 x 24: what is kept
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(pixels).save(tmp_path / name / "0.png")
    (batch,) = _loader(tmp_path, side=7, batch_size=2, augment=False)
    assert torch.equal(batch.images, torch.full((2, 3, 7, 7), 200, dtype=torch.uint8))


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 2**31))
def test_crops_lie_within_the_image(height: int, width: int, seed: int) -> None:
    for top, left, rows, columns in (
        random_crop(height, width, torch.Generator().manual_seed(seed)),
        center_crop(height, width),
    ):
        assert rows >= 1
        assert columns >= 1
        assert 0 <= top <= height - rows
        assert 0 <= left <= width - columns


def test_crops_have_the_published_areas_and_ratios() -> None:
    generator = torch.Generator().manual_seed(0)
    crops = [random_crop(200, 200, generator) for _ in range(2000)]
    areas = np.array([rows * columns / 200**2 for _, _, rows, columns in crops])
    ratios = np.array([math.log(columns / rows) for _, _, rows, columns in crops])
    assert areas.min() == pytest.approx(0.08, abs=0.01)
    assert areas.max() > 0.95
    assert np.abs(ratios).max() == pytest.approx(math.log(4 / 3), abs=0.02)
    assert ratios.mean() == pytest.approx(0.0, abs=0.02)


def test_what_cannot_be_loaded_is_refused(root: Path) -> None:
    with pytest.raises(InputError, match="side must be >= 1"):
        _loader(root, side=0)
    with pytest.raises(InputError, match=r"batch_size must lie in \[1, 12\]"):
        _loader(root, batch_size=13)
    (root / "ant" / "0.png").write_bytes(b"")
    for workers in (0, 1):
        with pytest.raises(InputError, match=r"^folder must hold readable images, .*0\.png is not one: [^\n]*$"):
            list(_loader(root, workers=workers))
