import pytest
import torch

from rltemp.data import Dataset, average_pool
from rltemp.errors import InputError


def _data(images: torch.Tensor) -> Dataset:
    return Dataset(images, torch.zeros(len(images), dtype=torch.int64), 2)


@pytest.mark.parametrize("side", [1, 2, 4])
def test_pixels_are_rounded_means(side: int) -> None:
    images = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pooled = average_pool(_data(images), side)
    window = 8 // side
    assert pooled.images.dtype == torch.uint8
    assert pooled.images.shape == (5, 3, side, side)
    for y in range(side):
        for x in range(side):
            block = images[:, :, y * window : (y + 1) * window, x * window : (x + 1) * window].flatten(2).double()
            assert torch.equal(pooled.images[:, :, y, x].double(), block.mean(2).round())


def test_more_images_than_one_chunk() -> None:
    images = torch.arange(5000, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    assert average_pool(_data(images), 1).images.flatten().tolist() == list(range(5000))


@pytest.mark.parametrize(("shape", "side"), [((3, 8, 8), 3), ((3, 8, 8), 0), ((3, 8, 6), 2), ((64,), 2)])
def test_sides_that_do_not_divide_are_refused(shape: tuple[int, ...], side: int) -> None:
    with pytest.raises(InputError, match="side must divide"):
        average_pool(_data(torch.zeros(2, *shape)), side)
