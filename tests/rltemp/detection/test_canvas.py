"""Digits whose pixels tell their class, so that what stands in a box can be compared with its label."""

from itertools import combinations

import pytest
import torch
from torchvision.ops import box_iou

from rltemp.data import Dataset
from rltemp.detection import BoxedImages, paste_digits
from rltemp.errors import InputError

LEVELS = (0.5, 1.0)


def paste(seed: int = 0, count: int = 20) -> BoxedImages:
    flat = torch.tensor(LEVELS).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    digits = Dataset(flat, torch.tensor([0, 1]), 2)
    return paste_digits(digits, count, torch.Generator().manual_seed(seed), side=64, most=4)


def test_boxes_hold_digits_of_their_label_and_nothing_else_holds_ink() -> None:
    pasted = paste()
    for image, boxes, labels in zip(pasted.images, pasted.boxes, pasted.labels, strict=True):
        inked = torch.zeros_like(image, dtype=torch.bool)
        for (x1, y1, x2, y2), label in zip(boxes.int().tolist(), labels.tolist(), strict=True):
            assert 12 <= x2 - x1 == y2 - y1 <= 28
            assert image[:, y1:y2, x1:x2].min() >= int(255 * LEVELS[label - 1])
            inked[:, y1:y2, x1:x2] = True
        # Six standard deviations of the noise.
        assert image[~inked].max() <= 0.9 * 255
        # The mean of |N(0, 0.15)|.
        assert image[~inked].float().mean() / 255 == pytest.approx(0.15 * (2 / torch.pi) ** 0.5, abs=0.01)


def test_digits_do_not_overlap_and_there_are_one_to_four() -> None:
    pasted = paste(count=50)
    counts = {len(boxes) for boxes in pasted.boxes}
    assert counts == {1, 2, 3, 4}
    for boxes in pasted.boxes:
        for a, b in combinations(boxes, 2):
            assert box_iou(a[None], b[None]).item() == 0.0


def test_the_generator_alone_decides() -> None:
    state = torch.get_rng_state()
    first, again, other = paste(0), paste(0), paste(1)
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)
    assert torch.equal(state, torch.get_rng_state())


def test_numbers_out_of_range_are_refused() -> None:
    digits = Dataset(torch.zeros(2, 1, 8, 8), torch.tensor([0, 1]), 2)
    with pytest.raises(InputError, match=r"^side must be >= 28, got 20$"):
        paste_digits(digits, 1, torch.Generator(), side=20)
    with pytest.raises(InputError, match=r"^count must be >= 1, got 0$"):
        paste_digits(digits, 0, torch.Generator())
