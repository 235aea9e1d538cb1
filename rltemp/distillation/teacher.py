"""What is distilled: a network, frozen, that need not be asked twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from rltemp.distillation.minibatches import Minibatch
from rltemp.networks import Execution, Network

__all__ = ["Answers", "Ensemble", "RecordedTeacher", "Teacher"]


class Ensemble(nn.Module):
    """Mean logits of its members, frozen."""

    def __init__(self, members: Sequence[Network], execution: Execution | None = None) -> None:
        super().__init__()
        self.execution = execution or Execution()
        self.members = nn.ModuleList(self.execution.prepare(member) for member in members)
        self.requires_grad_(False)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, C] of images [N, ...]."""
        with torch.no_grad():
            return torch.stack([self.execution.logits(member, images) for member in self._networks()]).mean(0)

    def _networks(self) -> list[Network]:
        return [member for member in self.members if isinstance(member, Network)]


class Answers(Protocol):
    """Whoever says what the teacher thinks of the minibatches of a run."""

    def answer(self, step: int, minibatch: Minibatch) -> Tensor:
        """Logits [K, B, C] of the minibatch of update `step`."""


class Teacher(nn.Module):
    """A network and, where its training images have a bounded number of views, what it says of each.

    Args:
        network: maps images [N, ...] to logits [N, C], without graph.
        bank: its logits [V * N, C] of all views of the training images; None asks it about every minibatch.
    """

    def __init__(self, network: nn.Module, bank: Tensor | None = None) -> None:
        super().__init__()
        self.network = network
        self.bank = bank

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, C] of images [N, ...]."""
        logits: Tensor = self.network(images)
        return logits

    def answer(self, step: int, minibatch: Minibatch) -> Tensor:
        """Logits [K, B, C] of a minibatch: from the bank, or asked; the same at every `step`."""
        if self.bank is not None and minibatch.rows is not None:
            return self.bank[minibatch.rows]
        return self.ask(minibatch.images)

    def ask(self, images: Tensor) -> Tensor:
        """Logits [K, B, C] of images [K, B, ...]."""
        return self.forward(images.flatten(0, 1)).view(*images.shape[:2], -1)

    def recorded(self) -> Answers:
        """The same teacher for several runs on the same seeds, which is asked once for all of them."""
        return self if self.bank is not None else RecordedTeacher(self)


class RecordedTeacher:
    """Answers by update: the first run asks the teacher, later runs on the same seeds read.

    Runs with the same seeds see the same augmented images whatever their temperatures, so comparing many policies needs
    the teacher, often the most expensive part, only once.

    Args:
        teacher: who is asked.
        limit: bytes of answers to keep; what comes after is asked every time.
    """

    def __init__(self, teacher: Answers, limit: int = 2**30) -> None:
        self._teacher = teacher
        self._left = limit
        self._answers: dict[int, Tensor] = {}

    def answer(self, step: int, minibatch: Minibatch) -> Tensor:
        """The teacher's logits [K, B, C] at update `step`."""
        answer = self._answers.get(step)
        if answer is None:
            answer = self._teacher.answer(step, minibatch)
            if answer.nbytes <= self._left:
                self._left -= answer.nbytes
                self._answers[step] = answer
        return answer
