"""Faster R-CNNs small enough for the CPU, for images below 100 px."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from rltemp.errors import InputError
from rltemp.networks.initialization import seeded_by

__all__ = ["small_detector"]

_CELLS = 5
"""Cells per side of what the head sees of a proposal."""

_GROUPS = 4
"""Groups of channels that are normalized together."""


def small_detector(
    classes: int, channels: int, side: int, width: int, generator: torch.Generator, longest: int | None = None
) -> Any:
    """A torchvision `FasterRCNN` on a convolutional backbone of stride 4.

    Args:
        classes: number of classes C, background not counted.
        channels: of the images.
        side: the images' shorter side in pixels; images of this size are not resized.
        width: channels of the first convolution, a multiple of 4; the others have twice and four times as many.
        generator: draws the initial weights.
        longest: the images' longer side in pixels; by default `side`.

    Raises:
        InputError: for another width, or no class.
    """
    if width < 1 or width % _GROUPS:
        raise InputError(f"width must be a multiple of {_GROUPS}, got {width}")
    if classes < 1:
        raise InputError(f"classes must be >= 1, got {classes}")
    # Takes a second to import, and only detectors need it.
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.faster_rcnn import FasterRCNN, FastRCNNPredictor, TwoMLPHead
    from torchvision.ops import MultiScaleRoIAlign

    with seeded_by(generator):
        backbone, hidden = _backbone(channels, width), 8 * width
        return FasterRCNN(
            backbone,
            min_size=side,
            max_size=side if longest is None else longest,
            image_mean=[0.5] * channels,
            image_std=[0.25] * channels,
            rpn_anchor_generator=AnchorGenerator(((6, 12, 20, 32),), ((0.75, 1.0, 1.33),)),
            rpn_pre_nms_top_n_train=300,
            rpn_post_nms_top_n_train=100,
            rpn_pre_nms_top_n_test=200,
            rpn_post_nms_top_n_test=60,
            box_roi_pool=MultiScaleRoIAlign(["0"], _CELLS, 2),
            box_head=TwoMLPHead(4 * width * _CELLS**2, hidden),
            box_predictor=FastRCNNPredictor(hidden, classes + 1),
            box_batch_size_per_image=64,
            box_detections_per_img=50,
        )


def _backbone(channels: int, width: int) -> nn.Sequential:
    """Three convolutions to stride 4, a fourth that sees further; normalized by group, since batches are small."""
    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((channels, width, 1), (width, 2 * width, 2), (2 * width, 4 * width, 2)):
        layers += _block(inputs, outputs, stride)
    backbone = nn.Sequential(*layers, *_block(4 * width, 4 * width, 1))
    backbone.out_channels = 4 * width  # type: ignore[assignment]  # where FasterRCNN looks for it
    return backbone


def _block(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return [convolution, nn.GroupNorm(_GROUPS, outputs), nn.ReLU()]
