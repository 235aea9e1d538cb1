"""What methods are judged by: accuracy, or of texts bits per character."""

from __future__ import annotations

import math
from typing import Literal, TypeVar

import numpy as np

from rltemp.experiments.evaluation.results import FloatArray, PolicyResult
from rltemp.recipes import Recipe

__all__ = ["Measure", "judged_score", "measure_of", "scores_on_test", "to_bits"]

Measure = Literal["accuracy", "bits"]

Number = TypeVar("Number", float, FloatArray)


def measure_of(recipe: Recipe) -> Measure:
    """Bits per character for texts, whose probability is what a language model is for; accuracy for all others."""
    return "accuracy" if recipe.data.context is None else "bits"


def to_bits(nll: Number) -> Number:
    """Bits out of nats."""
    return nll / math.log(2)


def judged_score(measure: Measure, accuracy: Number, nll: Number) -> Number:
    """What is judged, the larger the better: accuracy in [0, 1], or minus the bits per character."""
    return accuracy if measure == "accuracy" else -to_bits(nll)


def scores_on_test(measure: Measure, results: tuple[PolicyResult, ...]) -> FloatArray:
    """What is judged of each result and student on test data, [results, S]."""
    return np.stack([judged_score(measure, result.accuracy, result.nll) for result in results])
