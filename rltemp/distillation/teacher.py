"""The frozen network that is distilled, with ways to compute its logits only once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from rltemp.distillation.image_views import ImageViews
from rltemp.distillation.minibatches import Minibatch
from rltemp.networks import Execution, Network

__all__ = ["Answers", "Ensemble", "RecordedTeacher", "Teacher"]


class Ensemble(nn.Module):
    """A frozen network whose logits are the mean of its members' logits.

    Args:
        members: networks with the same classes.
        execution: precision, memory layout, and compilation; by default that of `Execution()`.
    """

    def __init__(self, members: Sequence[Network], execution: Execution | None = None) -> None:
        super().__init__()
        self.execution = execution or Execution()
        self.members = nn.ModuleList(self.execution.prepare(member) for member in members)
        self.requires_grad_(False)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Mean logits [N, C] of images [N, ...], or [N * L, C] of windows, without gradient."""
        with torch.no_grad():
            return torch.stack([self.execution.logits(member, images) for member in self._networks()]).mean(0)

    @property
    def classifier(self) -> nn.Linear:
        """One layer from the members' features side by side to their mean logits."""
        layers = [member.classifier for member in self._networks()]
        weight = torch.cat([layer.weight for layer in layers], dim=1) / len(layers)
        zeros = weight.new_zeros(len(weight))
        biases: list[Tensor] = [zeros if layer.bias is None else layer.bias for layer in layers]
        merged: nn.Linear = skip_init(nn.Linear, weight.shape[1], weight.shape[0], device=weight.device)
        merged.requires_grad_(False)
        merged.weight.copy_(weight)
        merged.bias.copy_(torch.stack(biases).mean(0))
        return merged

    def features(self, images: Tensor) -> Tensor:
        """The inputs of the members' last layers side by side, [N, H], of images [N, ...], without gradient."""
        with torch.no_grad():
            return torch.cat([self.execution.features(member, images) for member in self._networks()], dim=1)

    def _networks(self) -> list[Network]:
        return [member for member in self.members if isinstance(member, Network)]


class Answers(Protocol):
    """A source of the teacher's logits for the minibatches of a run."""

    def answer(self, step: int, minibatch: Minibatch) -> Tensor:
        """Teacher's logits [K, B, C] for the minibatch of update `step`."""


class Teacher(nn.Module):
    """The teacher of a task, with its logits for all views of the training images if their number is bounded.

    Args:
        network: maps images [N, ...] to logits [N, C], without gradient.
        bank: the network's logits [V * N, C], or [V * N, L, C], of all views of the training images; None computes them
            per minibatch.
    """

    def __init__(self, network: nn.Module, bank: Tensor | None = None) -> None:
        super().__init__()
        self.network = network
        self.bank = bank
        self._features: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, C] of images [N, ...], computed by the network."""
        logits: Tensor = self.network(images)
        return logits

    def answer(self, step: int, minibatch: Minibatch) -> Tensor:
        """Logits [K, B, C] of a minibatch, from the bank or computed by the network; `step` is not used."""
        if self.bank is not None and minibatch.rows is not None:
            return self.bank[minibatch.rows].view(*minibatch.targets.shape, -1)
        return self.ask(minibatch.images)

    def ask(self, images: Tensor) -> Tensor:
        """Logits [K, B, C] of images [K, B, ...], or of windows with B tokens, computed by the network."""
        logits = self.forward(images.flatten(0, 1))
        return logits.view(len(images), -1, logits.shape[-1])

    def tensors(self) -> list[Tensor]:
        """All that its answers depend on: weights, buffers, and the bank."""
        return [*self.state_dict().values(), *([] if self.bank is None else [self.bank])]

    def features(self, minibatch: Minibatch, views: ImageViews | None) -> Tensor:
        """Features [K, B, H] of a minibatch; the network must be an `Ensemble`.

        Args:
            minibatch: of images [K, B, ...].
            views: the training images, where they are views, for which the features are computed once and kept.
        """
        assert isinstance(self.network, Ensemble)
        if views is None or minibatch.rows is None:
            features = self.network.features(minibatch.images.flatten(0, 1))
            return features.view(*minibatch.targets.shape, -1)
        if self._features is None:
            self._features = views.ask(self.network.features)
        return self._features[minibatch.rows]

    def recorded(self) -> Answers:
        """A source of the same logits that computes them once for several runs on the same seeds."""
        return self if self.bank is not None else RecordedTeacher(self)


class RecordedTeacher:
    """Teacher's logits by update: the first run computes them, and later runs on the same seeds read them.

    Runs on the same seeds see the same augmented images whatever their temperatures, so that comparing many policies
    needs the teacher, often the most expensive part, only once.

    Args:
        teacher: computes the logits.
        limit: most bytes of logits to keep; those of later updates are computed in every run.
    """

    def __init__(self, teacher: Answers, limit: int = 2**30) -> None:
        self._teacher = teacher
        self._left = limit
        self._answers: dict[int, Tensor] = {}

    def answer(self, step: int, minibatch: Minibatch) -> Tensor:
        """Teacher's logits [K, B, C] for the minibatch of update `step`, recorded if there is room."""
        answer = self._answers.get(step)
        if answer is None:
            answer = self._teacher.answer(step, minibatch)
            if answer.nbytes <= self._left:
                self._left -= answer.nbytes
                self._answers[step] = answer
        return answer
