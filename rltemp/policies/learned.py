"""A trained policy: a small network from an instance's features to its temperature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rltemp.actions import ActionMap
from rltemp.checks import check_number
from rltemp.errors import InputError
from rltemp.features import LogitFeatures, center
from rltemp.policies.policy import TemperaturePolicy
from rltemp.precision import without_autocast
from rltemp.temperatures import Temperatures

__all__ = ["ACTIVATIONS", "MOST_LAYERS", "WEIGHTS", "WIDEST", "Activation", "LearnedPolicy"]

MOST_LAYERS, WIDEST = 8, 4096
"""Most hidden layers, and largest width of one, that a policy's file may have."""

WEIGHTS = frozenset({"kd_weight", "ce_weight"})
"""What a policy may say of the loss that it is made for."""

Activation = Literal["tanh", "relu"]

ACTIVATIONS: dict[Activation, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}
"""What may stand between the linear layers of a policy."""


class LearnedPolicy(TemperaturePolicy):
    """The mean action of a trained agent, as a function of the features of one instance.

    The features, centered, go through linear layers with an activation between them to an action, which is clipped to
    [-1, 1], or squashed to it by tanh, and mapped to a temperature on a log scale; teacher and student share it. With
    a `scale_range` it is the scale as well, and with a `label_range` the weight of the label. No gradient flows into
    policy or features. Until weights are loaded, all that is chosen is the geometric middle of its range.

    Args:
        features: the F features that the network gets.
        hidden: widths of the hidden layers, each >= 1.
        low: temperature of action -1, in [1e-3, 1e6].
        high: temperature of action 1, in [1e-3, 1e6].
        scale: factor on the loss of every instance, in [1e-3, 1e6]; None for T * T.
        scale_range: smallest and largest scale, each in [1e-3, 1e6], of a policy that chooses it; None for others.
        label_range: likewise of a policy that chooses the weight of the label.
        activation: what stands between the linear layers, "tanh" or "relu".
        squash: whether the action is the tanh of the last layer, as SAC's and TD3's is, instead of being clipped.
        weights: "kd_weight" and "ce_weight" of the loss that it was trained in, each >= 0, for a policy that chooses
            the scale, which means something beside them alone, or the weight of the label; empty for others.
        card: how the policy was trained and what it scored, as plain JSON values that are saved with it.

    Raises:
        InputError: for widths, temperatures, a scale or weights out of range, or an unknown activation.
    """

    def __init__(
        self,
        features: LogitFeatures,
        hidden: Sequence[int] = (64, 64),
        *,
        low: float = 0.5,
        high: float = 32.0,
        scale: float | None = None,
        scale_range: tuple[float, ...] | None = None,
        label_range: tuple[float, ...] | None = None,
        activation: Activation = "tanh",
        squash: bool = False,
        weights: Mapping[str, float] | None = None,
        card: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if any(width < 1 for width in hidden):
            raise InputError(f"hidden must be widths >= 1, got {list(hidden)}")
        self.features = features
        self.hidden = tuple(hidden)
        if activation not in ACTIVATIONS:
            raise InputError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
        self.actions = ActionMap(low, high, scale, scale_range, label_range)
        self.low, self.high, self.scale, self.scale_range, self.label_range = low, high, scale, scale_range, label_range
        self.activation, self.squash = activation, squash
        self.weights = {name: check_number(name, value, low=0.0) for name, value in (weights or {}).items()}
        if self.weights and self.weights.keys() != WEIGHTS:
            raise InputError(f"weights must be {' and '.join(sorted(WEIGHTS))}, got {', '.join(self.weights)}")
        self.card = dict(card or {})
        self.needs = features.needs
        self.over_batch, self.weighs_labels = features.over_batch, label_range is not None
        layers: list[nn.Module] = []
        for wide, narrow in pairwise((len(features), *hidden, self.actions.count)):
            layers += [_zero_linear(wide, narrow), ACTIVATIONS[activation]()]
        self.net = nn.Sequential(*layers[:-1], *([nn.Tanh()] if squash else []))
        self.requires_grad_(False)

    @property
    def is_schedule(self) -> bool:
        """Whether the progress of the run is the policy's only feature."""
        return self.features.names == ("progress",)

    def choose(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor | None,
        progress: float | Tensor,
        alignment: Tensor | None,
        students: int = 1,
        position: Tensor | None = None,
    ) -> Temperatures:
        """Temperatures of B instances from checked logits [B, C], without gradient.

        `students` batches of equal size may stand one after the other.
        """
        inputs = (student_logits, teacher_logits, targets, progress, alignment)
        return self._act(self.features(*inputs, students, position=position))

    def _decide(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor | None,
        progress: float | Tensor,
        alignment: Tensor | None,
        mask: Tensor | None,
        position: Tensor | None,
    ) -> Temperatures:
        """Temperatures of B instances, of which those of `mask`, [B] bool, count in features of the batch."""
        inputs = (student_logits, teacher_logits, targets, progress, alignment)
        return self._act(self.features(*inputs, mask=mask, position=position))

    def temperature(self, features: Tensor) -> Tensor:
        """Temperatures [B] of features [B, F] in [0, 1], without gradient."""
        return self._act(features).teacher

    def _act(self, features: Tensor) -> Temperatures:
        with torch.no_grad(), without_autocast(features):
            return self.actions.temperatures(self.net(center(features)))


def _zero_linear(inputs: int, outputs: int) -> nn.Linear:
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
