"""Average precision of detectors whose answer is known."""

from typing import Any

import pytest
import torch
from torch import Tensor

from rltemp.detection import BoxedImages
from rltemp.errors import InputError
from rltemp.experiments.detection.precision import average_precision, require_torchmetrics

pytest.importorskip("torchmetrics")
pytest.importorskip("pycocotools")

BOX = torch.tensor([[2.0, 2.0, 22.0, 22.0]])
DATA = BoxedImages(
    torch.stack([torch.full((1, 32, 32), value, dtype=torch.uint8) for value in (0, 255)]),
    (BOX, BOX),
    (torch.tensor([1]), torch.tensor([2])),
    ("dark", "bright"),
)


def detector(box: Tensor) -> Any:
    """Finds `box` in every image, with the right class."""

    def find(images: list[Tensor]) -> list[dict[str, Tensor]]:
        labels = [torch.tensor([1 + int(image.mean() > 0.5)]) for image in images]
        return [{"boxes": box, "labels": label, "scores": torch.ones(1)} for label in labels]

    return find


def test_boxes_that_are_right_score_one() -> None:
    assert average_precision(detector(BOX), DATA) == pytest.approx((1.0, 1.0))


def test_an_overlap_counts_up_to_its_size() -> None:
    # 20 x 20 px and 20 x 14 px within it overlap by 0.7: right at the thresholds 0.50 to 0.65, or to 0.70.
    narrow = BOX.clone()
    narrow[0, 2] = 16.5
    found = average_precision(detector(narrow), DATA)
    assert found.ap50 == pytest.approx(1.0)
    assert found.ap == pytest.approx(0.5)  # 0.725: 0.50, 0.55, 0.60, 0.65, 0.70 of ten


def test_without_the_libraries_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pycocotools", None)
    with pytest.raises(InputError, match=r'^AP needs the packages of the extra: pip install "rltemp\[detection\]"$'):
        require_torchmetrics()
