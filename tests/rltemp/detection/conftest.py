"""Two untrained detectors of three classes, and a batch of two small images."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from rltemp.detection import small_detector


@pytest.fixture
def batch() -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    images = list(torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0)))
    boxes = [[[2.0, 3.0, 14.0, 13.0], [16.0, 16.0, 28.0, 30.0]], [[5.0, 8.0, 20.0, 21.0]]]
    labels = [[1, 3], [2]]
    targets = [
        {"boxes": torch.tensor(each), "labels": torch.tensor(those)} for each, those in zip(boxes, labels, strict=True)
    ]
    return images, targets


@pytest.fixture
def detector() -> Callable[..., Any]:
    """Makes a detector, larger or smaller by `width`, whose logits differ from zero."""

    def make(width: int = 4, classes: int = 3, side: int = 32, seed: int = 0) -> Any:
        generator = torch.Generator().manual_seed(seed)
        made = small_detector(classes, 1, side, width, generator)
        with torch.no_grad():
            made.roi_heads.box_predictor.cls_score.weight.mul_(20.0)
        return made

    return make
