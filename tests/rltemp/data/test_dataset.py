import pytest
import torch
from sklearn import datasets
from torch import Tensor

from rltemp.data import Dataset, load_digits
from rltemp.errors import InputError


def test_digits_are_those_of_scikit_learn() -> None:
    digits = load_digits()
    reference = datasets.load_digits()
    assert digits.images.shape == (1797, 1, 8, 8)
    assert digits.images.dtype == torch.float32
    torch.testing.assert_close((digits.images[:, 0] * 16).double().numpy(), reference.images)
    assert (digits.targets.numpy() == reference.target).all()
    assert digits.images.min() == 0
    assert digits.images.max() == 1
    assert digits.classes == 10


def test_subset_takes_instances_in_the_given_order() -> None:
    data = Dataset(torch.arange(8.0).view(4, 2), torch.tensor([0, 1, 0, 1]), 2)
    part = data.subset(torch.tensor([3, 0]))
    assert part.images.tolist() == [[6.0, 7.0], [0.0, 1.0]]
    assert part.targets.tolist() == [1, 0]
    assert part.shape == (2,)


@pytest.mark.parametrize(
    ("images", "targets", "classes", "message"),
    [
        (torch.zeros(3, 2, dtype=torch.int32), torch.zeros(3, dtype=torch.int64), 2, "images must be uint8"),
        (torch.zeros(3), torch.zeros(3, dtype=torch.int64), 2, "images"),
        (torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), 2, "at least one image"),
        (torch.zeros(3, 2), torch.zeros(2, dtype=torch.int64), 2, r"targets must have shape \[3\]"),
        (torch.zeros(3, 2), torch.zeros(3, dtype=torch.int32), 2, "targets must be int64"),
        (torch.zeros(3, 2), torch.tensor([0, 1, 2]), 2, r"targets must lie in \[0, 2\)"),
        (torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64), 1, "classes must be >= 2"),
    ],
)
def test_what_does_not_fit_together_is_refused(images: Tensor, targets: Tensor, classes: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Dataset(images, targets, classes)
