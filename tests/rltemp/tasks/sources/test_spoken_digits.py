import math
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np


def test_a_student_learns(learned: Callable[..., float], tmp_path: Path) -> None:
    """Digits that are tones of other heights."""
    rng = np.random.default_rng(0)
    for speaker, takes in (("ada", 20), ("bob", 1), ("carl", 1)):
        for digit in range(10):
            for take in range(takes):
                hertz = 300 * 1.25**digit * rng.uniform(0.95, 1.05)
                times = np.arange(rng.integers(3000, 5000)) / 8000
                samples = 8000 * np.sin(2 * math.pi * hertz * times) + 300 * rng.normal(size=len(times))
                with wave.open(str(tmp_path / f"{digit}_{speaker}_{take}.wav"), "wb") as file:
                    file.setnchannels(1)
                    file.setsampwidth(2)
                    file.setframerate(8000)
                    file.writeframes(samples.astype("<i2").tobytes())
    sizes = {"data": {"path": str(tmp_path), "train": 140, "validation": 60, "shift": 0}, "policy.probe_size": 64}
    teacher = {"teacher": {"network": {"options": {"channels": [16, 16]}}, "epochs": 15}}
    assert learned("spoken-digits", {**sizes, **teacher, "optimization.epochs": 15}) > 0.3
