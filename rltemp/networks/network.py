"""The base class of all networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

__all__ = ["Network"]


class Network(nn.Module, ABC):
    """A classifier whose last layer is a linear map of its features.

    Attributes:
        classifier: the last layer, H features to C logits.
        stacks: whether K networks run faster stacked on a CPU, as one batched product. Convolutions of images do not:
            they become grouped convolutions, which are slower than K single ones. Random layers cannot be stacked.
    """

    classifier: nn.Linear
    stacks: ClassVar[bool] = False

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """The input of the classifier, [B, H], for images `x` [B, ...]; or [B, L, H] for windows of tokens [B, L]."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, C] of images `x` [B, ...]; or [B, L, C], of the token after each of windows [B, L]."""
        logits: Tensor = self.classifier(self.features(x))
        return logits
