"""Trees of noise images, a folder for each class."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def write_tree(
    root: Path,
    counts: Mapping[str, int],
    classes: Sequence[str],
    size: Callable[[int], tuple[int, int]],
    suffix: str = "png",
) -> None:
    """In every part of the tree `counts` images of each class; image n has the height and width `size(n)`."""
    rng = np.random.default_rng(0)
    for part, count in counts.items():
        for name in classes:
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (*size(number), 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{number}.{suffix}")
