"""What a detector hands from part to part in a training pass, taken by hooks that are gone afterwards."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from rltemp.errors import InputError

__all__ = ["Tap"]


class Tap:
    """Records one training pass of a torchvision Faster R-CNN, made inside its `with` block.

    At the end of the block the detector is as it was, also after an error.

    Args:
        detector: a Faster R-CNN; its parts are found when the block begins.

    Attributes:
        images: the transformed batch that the backbone got, [I, Ch, H, W].
        proposals: boxes that were sampled, [N_i, 4] in pixels of `images` for each of I images.
        shapes: height and width of each image within the batch's padding.
        labels: class of every proposal, [N] int64, image by image; 0 is background.
        logits: of every proposal, [N, C + 1], with their graph.
    """

    images: Tensor
    proposals: list[Tensor]
    shapes: list[tuple[int, int]]
    labels: Tensor
    logits: Tensor

    def __init__(self, detector: nn.Module) -> None:
        self._detector: Any = detector
        self._handles: list[Any] = []

    def __enter__(self) -> Tap:
        """Set the hooks."""
        heads = self._detector.roi_heads
        self._handles = [
            self._detector.backbone.register_forward_pre_hook(self._take_images),
            heads.box_roi_pool.register_forward_pre_hook(self._take_proposals),
            heads.box_predictor.register_forward_hook(self._take_logits),
        ]
        # Labels pass through no module, so that no hook sees them.
        self._own_select = vars(heads).get("select_training_samples")
        self._select = heads.select_training_samples
        heads.select_training_samples = self._selected
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        heads = self._detector.roi_heads
        if self._own_select is None:
            del heads.select_training_samples
        else:
            heads.select_training_samples = self._own_select

    def _take_images(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        (self.images,) = inputs

    def _take_proposals(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        _, self.proposals, self.shapes = inputs

    def _selected(self, *arguments: Any, **options: Any) -> Any:
        selected = self._select(*arguments, **options)
        self.labels = torch.cat(selected[2])
        return selected

    def _take_logits(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if not (isinstance(output, tuple) and len(output) == 2 and all(isinstance(part, Tensor) for part in output)):
            raise InputError(
                f"student.roi_heads.box_predictor must give class logits and boxes, got {type(output).__name__}"
            )
        self.logits = output[0]
