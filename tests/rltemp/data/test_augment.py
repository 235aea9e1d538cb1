from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rltemp.data import Augmentation, GaussianNoise, HorizontalFlip, Normalize, Shift, concatenate
from rltemp.errors import InputError

MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
DIGITS = Augmentation((Shift(1), GaussianNoise(0.3)))
CIFAR = Augmentation((Shift(4), HorizontalFlip(), Normalize(MEAN, STD)))


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _shifted(image: Tensor, rows: int, columns: int) -> Tensor:
    """One image, pixel by pixel: what falls outside is zero."""
    out = torch.zeros_like(image)
    _, height, width = image.shape
    for y in range(height):
        for x in range(width):
            if 0 <= y - rows < height and 0 <= x - columns < width:
                out[:, y, x] = image[:, y - rows, x - columns]
    return out


def test_digits_against_a_loop_over_images_and_pixels() -> None:
    images = torch.rand(20, 1, 8, 8, generator=_generator(0))
    offsets, noise = draws = DIGITS.draw(20, _generator(1))
    expected = [
        _shifted(image, *offset.tolist()) + 0.3 * pixels
        for image, offset, pixels in zip(images, offsets, noise, strict=True)
    ]
    torch.testing.assert_close(DIGITS.apply(images, draws), torch.stack(expected))


def test_cifar_against_a_loop_over_images_and_pixels() -> None:
    images = torch.randint(0, 256, (10, 3, 32, 32), dtype=torch.uint8, generator=_generator(0))
    offsets, flips, _ = draws = CIFAR.draw(10, _generator(1))
    for image, offset, flip, got in zip(images, offsets, flips, CIFAR.apply(images, draws), strict=True):
        moved = _shifted(image, *offset.tolist())
        if flip:
            moved = torch.stack([moved[:, :, 31 - x] for x in range(32)], dim=2)
        for channel in range(3):
            expected = (moved[channel].double() / 255 - MEAN[channel]) / STD[channel]
            torch.testing.assert_close(got[channel].double(), expected, atol=1e-6, rtol=1e-6)
    assert bool(flips.any())
    assert not bool(flips.all())


def test_a_shift_by_four_reaches_every_crop_of_the_padded_image() -> None:
    offsets = Shift(4).draw(20_000, _generator(2))
    counts = torch.bincount((offsets[:, 0] + 4) * 9 + offsets[:, 1] + 4, minlength=81)
    assert len(counts) == 81
    # 81 cells of expectation 247: seven standard deviations are 110.
    assert bool(((counts - 247).abs() < 110).all())


def test_students_drawing_apart_are_augmented_together() -> None:
    images = torch.rand(3 * 8, 1, 8, 8, generator=_generator(0))
    apart = [DIGITS.draw(8, _generator(seed)) for seed in (1, 2, 3)]
    together = DIGITS.apply(images, concatenate(apart))
    for student, draws in enumerate(apart):
        rows = slice(8 * student, 8 * student + 8)
        assert torch.equal(together[rows], DIGITS.apply(images[rows], draws))


def test_draws_come_from_the_generator_alone() -> None:
    before = torch.get_rng_state()
    for first, again in zip(CIFAR.draw(16, _generator(5)), CIFAR.draw(16, _generator(5)), strict=True):
        assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), before)


def test_clean_images_are_only_normalized() -> None:
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=_generator(0))
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(CIFAR.clean(images), (images.double() / 255 - mean).div(std).float())
    digits = torch.rand(4, 1, 8, 8)
    assert torch.equal(DIGITS.clean(digits), digits)


def test_input_is_not_written_to() -> None:
    images = torch.rand(8, 1, 8, 8, generator=_generator(0))
    copy = images.clone()
    DIGITS.apply(images, DIGITS.draw(8, _generator(0)))
    assert torch.equal(images, copy)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Shift(0), "max_pixels"),
        (lambda: GaussianNoise(0.0), "std"),
        (lambda: HorizontalFlip(1.5), "probability"),
        (lambda: Normalize((0.5,), (0.0,)), "mean and std"),
        (lambda: Normalize((0.5,), (0.5, 0.5)), "mean and std"),
    ],
)
def test_impossible_options_are_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build()
