"""The frozen network that is distilled, with ways to compute its logits only once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

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
