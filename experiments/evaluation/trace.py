"""Watching what temperatures a policy chooses, without keeping all of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rltemp.distillation import ForwardPass
from rltemp.experiments.evaluation.results import QUANTILES, FloatArray, TemperatureTrace
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
        self._quantiles: list[FloatArray] = []
        self._samples: list[FloatArray] = []
        self._wrong: list[FloatArray] = []

    def __call__(self, observation: ForwardPass, temperatures: Temperatures) -> None:
        """Take note of one update."""
        wrong = next(self._mislabelled).flatten().double() if self._mislabelled is not None else None
        if self._step % self._every == 0:
            chosen = temperatures.student.detach().double().cpu()
            logits = observation.student.logits.detach().flatten(0, 1)
            difficulty = F.cross_entropy(logits, observation.minibatch.targets.flatten(), reduction="none")
            # Every n-th instance: spread over the students, the same for every policy, and no randomness.
            picked = torch.linspace(0, len(chosen) - 1, min(_SAMPLED, len(chosen))).long()
            self._progress.append(observation.progress)
            self._quantiles.append(np.quantile(chosen.numpy(), QUANTILES))
            self._samples.append(torch.stack([difficulty.double().cpu()[picked], chosen[picked]]).numpy())
            if wrong is not None:
                self._wrong.append(wrong[picked].numpy())
        self._step += 1

    def trace(self) -> TemperatureTrace:
        """What was noted."""
        difficulty, temperature = np.concatenate(self._samples, axis=1)
        return TemperatureTrace(
            progress=np.array(self._progress),
            quantiles=np.stack(self._quantiles),
            difficulty=np.maximum(difficulty, 0.0),
            temperature=temperature,
            sample_progress=np.repeat(self._progress, [sample.shape[1] for sample in self._samples]),
            mislabelled=np.concatenate(self._wrong) if self._wrong else None,
        )
