"""A detection task so small that runs of it are tests."""

import pytest
import torch

from rltemp.data import Dataset
from rltemp.detection import paste_digits
from rltemp.experiments.detection.tasks import DetectionData, Setting


@pytest.fixture(scope="session")
def tiny_setting() -> Setting:
    return Setting(teacher_width=4, student_width=4, teacher_updates=3, updates=3, batch=2, lr=1e-3)


@pytest.fixture(scope="session")
def tiny_data() -> DetectionData:
    flat = torch.tensor([0.5, 1.0]).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    digits, generator = Dataset(flat, torch.tensor([0, 1]), 2), torch.Generator().manual_seed(0)
    return DetectionData(*(paste_digits(digits, 4, generator, side=32, most=2) for _ in range(3)))
