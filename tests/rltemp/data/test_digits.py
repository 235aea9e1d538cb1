import numpy as np
import torch

from rltemp.data import load_digit_pairs, load_digits


def test_a_pairs_halves_are_digits_of_the_labels_two_figures() -> None:
    digits = load_digits()
    named: dict[bytes, set[int]] = {}
    for image, label in zip(digits.images, digits.targets.tolist(), strict=True):
        named.setdefault(image.numpy().tobytes(), set()).add(label)
    train, _ = load_digit_pairs(train=300, test=10)
    assert (train.images.shape, train.classes) == ((300, 1, 8, 16), 100)
    for image, label in zip(train.images, train.targets.tolist(), strict=True):
        tens, units = (half.contiguous().numpy().tobytes() for half in image.split(8, dim=-1))
        assert label // 10 in named[tens]
        assert label % 10 in named[units]


def test_no_digit_is_in_a_training_and_in_a_test_pair() -> None:
    halves = [{half.numpy().tobytes() for half in _halves(part.images)} for part in load_digit_pairs()]
    digits = load_digits().images
    alike = {image.numpy().tobytes() for image in digits[:1300]} & {image.numpy().tobytes() for image in digits[1300:]}
    assert halves[0] & halves[1] <= alike
    assert len(halves[0]) > 1000


def test_the_generator_decides() -> None:
    first, again, other = (load_digit_pairs(np.random.RandomState(seed), train=40, test=10) for seed in (1, 1, 2))
    assert torch.equal(first[0].images, again[0].images)
    assert torch.equal(first[1].targets, again[1].targets)
    assert not torch.equal(first[0].images, other[0].images)


def _halves(images: torch.Tensor) -> list[torch.Tensor]:
    return [half.contiguous() for image in images for half in image.split(8, dim=-1)]
