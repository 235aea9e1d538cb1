import pytest
import torch

from rltemp.detection import small_detector
from rltemp.errors import InputError


def test_the_generator_alone_decides_the_weights() -> None:
    state = torch.get_rng_state()
    first, again, other = (small_detector(3, 1, 32, 4, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    values = [torch.nn.utils.parameters_to_vector(each.parameters()) for each in (first, again, other)]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])
    assert torch.equal(state, torch.get_rng_state())


def test_images_of_its_size_keep_it_and_boxes_come_back_in_it() -> None:
    made = small_detector(3, 3, 48, 4, torch.Generator().manual_seed(0), longest=64).eval()
    image = torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(0))
    transformed, _ = made.transform([image])
    # 0.25 is the deviation and 0.5 the mean of the transform; stride 32 pads 48 px to 64.
    torch.testing.assert_close(transformed.tensors[0, :, :48], (image - 0.5) / 0.25)
    assert made.backbone(transformed.tensors).shape == (1, 16, 16, 16)
    with torch.no_grad():
        (found,) = made([image])
    assert set(found) == {"boxes", "labels", "scores"}
    assert found["labels"].numel() == 0 or 1 <= found["labels"].min() <= found["labels"].max() <= 3


def test_sizes_that_cannot_be_built_are_refused() -> None:
    with pytest.raises(InputError, match=r"^width must be a multiple of 4, got 6$"):
        small_detector(3, 1, 32, 6, torch.Generator())
    with pytest.raises(InputError, match=r"^classes must be >= 1, got 0$"):
        small_detector(0, 1, 32, 8, torch.Generator())
