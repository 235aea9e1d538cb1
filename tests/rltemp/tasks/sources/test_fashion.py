import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np


def test_a_student_learns(learned: Callable[..., float], tmp_path: Path) -> None:
    """Ten classes that are bright in other rows."""
    rng = np.random.default_rng(0)
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 500), ("t10k", 20)):
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        images = rng.integers(0, 200, (count, 28, 28), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 * label : 2 * label + 4] += 55
        for name, values in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
            (raw / name).write_bytes(header + values.tobytes())
    sizes = {"data": {"path": str(tmp_path), "train": 320, "validation": 100}, "teacher": {"train": None}}
    teacher = {"teacher.network.options": {"channels": [8, 8]}, "policy.probe_size": 64}
    assert learned("fashion", {**sizes, **teacher, "optimization.epochs": 8}) > 0.3
