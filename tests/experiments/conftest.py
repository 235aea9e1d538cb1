from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rltemp.experiments.evaluation.results import Evaluation, Family, PolicyResult, TemperatureTrace


def _trace(rng: np.random.Generator, start: float, end: float, spread: float) -> TemperatureTrace:
    progress, normal = np.linspace(0, 1, 20), np.array([-1.64, -0.67, 0, 0.67, 1.64])
    center = start * (end / start) ** progress
    moments = rng.uniform(0, 1, 300)
    return TemperatureTrace(
        progress=progress,
        quantiles=center[:, None] * np.exp(spread * normal),
        difficulty=rng.exponential(1, 300),
        temperature=start * (end / start) ** moments * np.exp(spread * rng.standard_normal(300)),
        sample_progress=moments,
    )


@pytest.fixture
def make_evaluation() -> Callable[..., Evaluation]:
    """Evaluations of made-up policies: a learned one that gains `gain` over T = 4, a schedule, rules and a control."""

    def make(
        gain: float = 0.02, label: str = "learned policy", students: int = 8, traces: bool = True, **changes: Any
    ) -> Evaluation:
        rng = np.random.default_rng(0)
        luck = rng.normal(0, 0.01, students)

        def policy(label: str, family: Family, mean: float, trace: TemperatureTrace | None = None) -> PolicyResult:
            accuracy = mean + luck + rng.normal(0, 0.003, students)
            nll, ece = np.full(students, 0.8), np.full(students, 0.1)
            shown = trace if traces else None
            return PolicyResult(label, accuracy, nll, ece, accuracy, nll, accuracy, nll, shown, label, family)

        results = (
            policy(label, "trained", 0.77 + gain, _trace(rng, 16, 1, 0.5)),
            policy("T = 1", "static", 0.65),
            policy("T = 4", "static", 0.77, _trace(rng, 4, 4, 0.0)),
            policy("T = 8", "static", 0.76),
            policy("T 16 → 1", "schedule", 0.78, _trace(rng, 16, 1, 0.0)),
            policy("T 1 → 16", "schedule", 0.74, _trace(rng, 1, 16, 0.0)),
            policy("DTKD", "rule", 0.765, _trace(rng, 4, 4, 0.2)),
            policy("random T", "control", 0.755, _trace(rng, 4, 4, 1.0)),
        )
        fields: dict[str, Any] = {
            "recipe": "digits-short",
            "setting": {"data": {"name": "digits"}, "epochs": 5},
            "seeds": tuple(range(100, 100 + students)),
            "results": results,
            "machine": {"processor": "a processor", "cores": 2},
        }
        return Evaluation(**{**fields, **changes})

    return make
