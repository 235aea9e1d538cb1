"""Asking the teacher once for what several runs see."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

__all__ = ["TeacherRecord"]


class TeacherRecord:
    """Teacher logits by update: the first run asks the teacher, later runs on the same seeds read.

    Runs with the same seeds see the same augmented images whatever their temperatures, so comparing many policies needs
    the teacher, often the dearest part, only once.

    Args:
        ask: the teacher's answer [K, B, C] to (step, images [K, B, ...]).
        limit: bytes of answers to keep; what comes after is asked every time.
    """

    def __init__(self, ask: Callable[[int, Tensor], Tensor], limit: int = 2**30) -> None:
        self._ask = ask
        self._left = limit
        self._answers: dict[int, Tensor] = {}

    def __call__(self, step: int, images: Tensor) -> Tensor:
        """The teacher's logits [K, B, C] at update `step`."""
        answer = self._answers.get(step)
        if answer is None:
            answer = self._ask(step, images)
            if answer.nbytes <= self._left:
                self._left -= answer.nbytes
                self._answers[step] = answer
        return answer
