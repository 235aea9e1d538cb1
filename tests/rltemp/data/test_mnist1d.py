import numpy as np
import pytest
import torch

from rltemp.data import load_mnist1d


def test_signals_are_those_of_the_authors_package() -> None:
    """Numbers that `mnist1d.data.make_dataset(get_dataset_args())` of release 0.0.2 gave."""
    train, test = load_mnist1d()
    assert (train.images.shape, test.images.shape) == ((4000, 1, 40), (1000, 1, 40))
    assert train.images[0, 0, :4].tolist() == pytest.approx([-0.332006, -0.47191, -0.778697, -1.009741], abs=1e-5)
    assert test.images[-1, 0, -4:].tolist() == pytest.approx([0.447233, 0.659876, 0.877734, 1.193152], abs=1e-5)
    assert (train.targets[:6].tolist(), test.targets[-6:].tolist()) == ([2, 6, 4, 5, 6, 6], [1, 2, 5, 9, 6, 4])


def test_the_generator_decides_and_signals_are_standardized() -> None:
    first, again, other = (load_mnist1d(np.random.RandomState(seed), train=80, test=20) for seed in (1, 1, 2))
    assert torch.equal(first[0].images, again[0].images)
    assert not torch.equal(first[0].images, other[0].images)
    whole = torch.cat([part.images for part in first]).double()
    assert float(whole.mean()) == pytest.approx(0, abs=1e-6)
    assert float(whole.std(correction=0)) == pytest.approx(1, abs=1e-6)
    assert torch.cat([part.targets for part in first]).bincount().tolist() == [10] * 10
