from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def write_image(path: Path, pixels: np.ndarray) -> None:
    """Write uint8 pixels [H, W, 3]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def tree(tmp_path: Path) -> tuple[Path, dict[str, list[np.ndarray]]]:
    """A tree of three classes with 3, 4 and 5 images of 8 x 8 px, and the pixels by class in the order of the files."""
    rng = np.random.default_rng(0)
    content: dict[str, list[np.ndarray]] = {}
    for name, count in (("zebra", 5), ("ant", 3), ("mouse", 4)):
        content[name] = [rng.integers(0, 256, (8, 8, 3), dtype=np.uint8) for _ in range(count)]
        for number, pixels in enumerate(content[name]):
            write_image(tmp_path / "tree" / name / f"{number}.png", pixels)
    return tmp_path / "tree", content
