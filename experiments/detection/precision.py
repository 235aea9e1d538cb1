"""Average precision of a detector, by torchmetrics."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import torch

from rltemp.detection import BoxedImages
from rltemp.errors import InputError

__all__ = ["Precision", "average_precision", "require_torchmetrics"]

_BATCH = 32


class Precision(NamedTuple):
    """Mean over the classes, in [0, 1], as COCO defines it.

    Attributes:
        ap: mean over overlaps of 0.50 to 0.95.
        ap50: at an overlap of 0.50.
    """

    ap: float
    ap50: float


@torch.no_grad()
def average_precision(detector: Any, data: BoxedImages) -> Precision:
    """What a detector in eval mode reaches on labeled images.

    Raises:
        InputError: where torchmetrics or pycocotools is missing.
    """
    metric = require_torchmetrics()(box_format="xyxy", iou_type="bbox")
    for rows in torch.arange(len(data)).split(_BATCH):
        images, targets = data.batch(rows)
        metric.update(detector(images), targets)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of more detections in an image than AP counts
        scores = metric.compute()
    return Precision(float(scores["map"]), float(scores["map_50"]))


def require_torchmetrics() -> Any:
    """Torchmetrics' `MeanAveragePrecision`.

    Raises:
        InputError: where it or pycocotools is missing.
    """
    try:
        import pycocotools  # noqa: F401
        from torchmetrics.detection import MeanAveragePrecision
    except ImportError as error:
        raise InputError('AP needs the packages of the extra: pip install "rltemp[detection]"') from error
    return MeanAveragePrecision
