"""Watching what temperatures a policy chooses, without keeping all of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rltemp.distillation import ForwardPass
from rltemp.experiments.evaluation.results import QUANTILES, TemperatureTrace
from rltemp.temperatures import Temperatures

__all__ = ["TraceRecorder"]

_MOMENTS = 45
_SAMPLED = 40


class TraceRecorder:
    """Quantiles and a sample of the student's temperatures at evenly spread moments of a run.

    Args:
        steps: updates of the run.
        mislabelled: for every update, which labels of its minibatch were replaced, [K, B]; None if that is not known.
    """

    def __init__(self, steps: int, mislabelled: Iterator[Tensor] | None = None) -> None:
        self._mislabelled = mislabelled
        self._every = max(1, steps // _MOMENTS)
        self._step = 0
        self._progress: list[float] = []
        # Left on their device: a moment that is read makes the host wait, so all are read at the end.
        self._moments: list[tuple[Tensor, Tensor]] = []
        self._wrong: list[Tensor] = []

    def __call__(self, observation: ForwardPass, temperatures: Temperatures) -> None:
        """Take note of one update."""
        wrong = next(self._mislabelled).flatten().double() if self._mislabelled is not None else None
        if self._step % self._every == 0:
            logits = observation.student.logits.detach().flatten(0, 1)
            difficulty = F.cross_entropy(logits, observation.minibatch.targets.flatten(), reduction="none")
            self._progress.append(observation.progress)
            self._moments.append((difficulty.double(), temperatures.student.detach().double()))
            if wrong is not None:
                self._wrong.append(wrong)
        self._step += 1

    def trace(self) -> TemperatureTrace:
        """What was noted."""
        moments = [(difficulty.cpu(), chosen.cpu()) for difficulty, chosen in self._moments]
        samples = [torch.stack([_picked(difficulty), _picked(chosen)]).numpy() for difficulty, chosen in moments]
        difficulty, temperature = np.concatenate(samples, axis=1)
        return TemperatureTrace(
            progress=np.array(self._progress),
            quantiles=np.stack([np.quantile(chosen.numpy(), QUANTILES) for _, chosen in moments]),
            difficulty=np.maximum(difficulty, 0.0),
            temperature=temperature,
            sample_progress=np.repeat(self._progress, [sample.shape[1] for sample in samples]),
            mislabelled=np.concatenate([_picked(wrong).numpy() for wrong in self._wrong]) if self._wrong else None,
        )


def _picked(values: Tensor) -> Tensor:
    """Every n-th of the instances [N]: spread over the students, the same for every policy, and no randomness."""
    return values[torch.linspace(0, len(values) - 1, min(_SAMPLED, len(values))).long()]
