"""What every network here has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

__all__ = ["Network"]


class Network(nn.Module, ABC):
    """A classifier whose last layer is a linear map of its features.

    Attributes:
        classifier: the last layer, H features to C logits.
        stacks: whether many such networks side by side are well served by one batched product. Convolutions are not:
            they become grouped ones, which are slower than one after the other; nor can batch normalization be stacked,
            nor layers that draw in training.
    """

    classifier: nn.Linear
    stacks: ClassVar[bool] = False

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """The input of the classifier, [B, H], for images `x` [B, ...]."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, C] of images `x` [B, ...]."""
        logits: Tensor = self.classifier(self.features(x))
        return logits
