"""What a student sees is its seed's doing alone, and goes on where it was left."""

import pytest
import torch

from rltemp.data import Augmentation, Dataset
from rltemp.data.augment import GaussianNoise, Shift
from rltemp.distillation.minibatches import Minibatch
from rltemp.distillation.training_images import ImagesInMemory
from rltemp.errors import InputError

DATA = Dataset(torch.arange(20.0).view(20, 1, 1, 1).expand(-1, 1, 4, 4) + 1, torch.arange(20) % 5, classes=5)
AUGMENTATION = Augmentation((Shift(1), GaussianNoise(0.01, (1, 4, 4))))


def _draw(seeds: list[int], count: int, augmentation: Augmentation = AUGMENTATION) -> list[Minibatch]:
    stream = ImagesInMemory(DATA, augmentation).minibatches(seeds, 6)
    return [stream.draw() for _ in range(count)]


def test_a_student_sees_what_its_seed_says_whoever_is_beside_it() -> None:
    together, alone = _draw([4, 9, 4], 8), _draw([9], 8)
    for both, one in zip(together, alone, strict=True):
        assert torch.equal(both.images[1], one.images[0])
        assert torch.equal(both.targets[1], one.targets[0])
        assert torch.equal(both.images[0], both.images[2])
        assert not torch.equal(both.images[0], both.images[1])


def test_targets_belong_to_their_images_and_an_epoch_repeats_none() -> None:
    stream = ImagesInMemory(DATA, Augmentation()).minibatches([1, 2], 6)
    assert stream.per_epoch == 3
    for _ in range(4):
        epoch = [stream.draw() for _ in range(3)]
        for k in range(2):
            indices = torch.cat([batch.images[k, :, 0, 0, 0] for batch in epoch]).long() - 1
            assert len(set(indices.tolist())) == 18
            assert torch.equal(DATA.targets[indices], torch.cat([batch.targets[k] for batch in epoch]))


def test_every_image_is_augmented_anew() -> None:
    images = torch.cat([batch.images[0] for batch in _draw([3], 9)])
    noise = (images - images.round()).flatten(1)
    assert len(noise.unique(dim=0)) == len(noise)


@pytest.mark.parametrize("taken", [0, 2, 3, 7])
def test_a_resumed_stream_goes_on(taken: int) -> None:
    expected = _draw([4, 9], 12)[taken:]
    broken = ImagesInMemory(DATA, AUGMENTATION).minibatches([4, 9], 6)
    for _ in range(taken):
        broken.draw()
    state = broken.state_dict()
    broken.draw()  # what happens after saving must not reach the state
    resumed = ImagesInMemory(DATA, AUGMENTATION).minibatches([0, 1], 6)
    resumed.load_state_dict(state)
    for want in expected:
        got = resumed.draw()
        assert torch.equal(got.images, want.images)
        assert torch.equal(got.targets, want.targets)


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(InputError, match=r"batch_size must lie in \[1, 20\]"):
        ImagesInMemory(DATA, AUGMENTATION).minibatches([0], 21)
