import pytest
import torch

from rltemp.detection import BoxedImages
from rltemp.errors import InputError

BOXES = (torch.tensor([[0.0, 1.0, 4.0, 6.0]]), torch.zeros(0, 4))
LABELS = (torch.tensor([2]), torch.zeros(0, dtype=torch.int64))
IMAGES = torch.arange(2 * 8 * 8, dtype=torch.uint8).view(2, 1, 8, 8)


def test_a_batch_is_what_torchvisions_detectors_take() -> None:
    images, targets = BoxedImages(IMAGES, BOXES, LABELS, ("a", "b")).batch(torch.tensor([1, 0]))
    assert [image.shape for image in images] == [(1, 8, 8), (1, 8, 8)]
    assert images[1][0, 0, 5].item() == pytest.approx(5 / 255)
    assert targets[0]["boxes"].shape == (0, 4)
    assert targets[1]["labels"].tolist() == [2]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"^images must be uint8 \[N, Ch, H, W\] with N >= 1, got torch.float32"):
        BoxedImages(IMAGES.float(), BOXES, LABELS, ("a", "b"))
    with pytest.raises(InputError, match=r"^boxes and labels must be of 2 images, got 1 and 2$"):
        BoxedImages(IMAGES, BOXES[:1], LABELS, ("a", "b"))
    with pytest.raises(InputError, match=r"^labels must lie in \[1, 1\], got \[2\]$"):
        BoxedImages(IMAGES, BOXES, LABELS, ("a",))
    with pytest.raises(InputError, match=r"^boxes must be x1, y1, x2, y2"):
        BoxedImages(IMAGES, (BOXES[0].flip(1), BOXES[1]), LABELS, ("a", "b"))
