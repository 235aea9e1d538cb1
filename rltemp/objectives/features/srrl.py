"""Softmax regression representation learning (Yang et al., ICLR 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rltemp.errors import InputError
from rltemp.objectives.features.feature_objective import Activations, FeatureObjective, check_maps
from rltemp.objectives.features.side_modules import convolution

__all__ = ["SRRL"]


class SRRL(FeatureObjective):
    """The student's last map, translated to the teacher's channels, must give the teacher's logits in its classifier.

    The loss is L_FM + L_SR, both with weight 1: L_FM = mean (h_t - h_s)^2, with h the spatial means of the teacher's
    last map and of the translated one; L_SR = mean (z_t - W_t h_s)^2, with z_t the teacher's logits and W_t its frozen
    classifier. The connector, a 1 x 1 convolution, batch normalization, and ReLU, is trained. Source: Yang et al.
    (2021), "Knowledge Distillation via Softmax Regression Representation Learning", with the squared error of logits as
    in the authors' code.

    Args:
        channels: of the student's last map.
        classifier: the teacher's last linear layer; copied, frozen, and not part of `state_dict()`.
        generator: draws the initial weights; a new one, seeded with 0, if None.

    Raises:
        InputError: for a classifier that is no linear layer.
    """

    weight = 1.0

    def __init__(self, channels: int, classifier: nn.Linear, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if not isinstance(classifier, nn.Linear):
            raise InputError(f"classifier must be the teacher's last linear layer, got {type(classifier).__name__}")
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        features = classifier.in_features
        convert = convolution(channels, features, generator)
        nn.init.normal_(convert.weight, 0.0, (2.0 / features) ** 0.5, generator)
        self.connector = nn.Sequential(convert, nn.BatchNorm2d(features), nn.ReLU())
        # Buffers, since they move between devices with the module, and no optimizer gets them.
        self.register_buffer("teacher_weight", classifier.weight.detach().clone(), persistent=False)
        bias = classifier.bias.detach().clone() if classifier.bias is not None else None
        self.register_buffer("teacher_bias", bias, persistent=False)

    def compare(self, student: Activations, teacher: Activations, indices: Tensor | None) -> Tensor:
        """L_FM + L_SR, a scalar, from the last feature maps and the teacher's logits."""
        check_maps(student, teacher, 1)
        translated = self.connector(student.maps[-1]).mean((2, 3))
        matching = F.mse_loss(translated, teacher.maps[-1].mean((2, 3)))
        weight, bias = self.get_buffer("teacher_weight"), self._buffers["teacher_bias"]
        return matching + F.mse_loss(F.linear(translated, weight, bias), teacher.logits)
