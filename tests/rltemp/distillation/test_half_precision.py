"""Students whose layers compute in half precision, where a derivative is asked of them."""

import torch

from rltemp.distillation.students import LoopStudents
from rltemp.networks import Execution, make_network
from rltemp.seeding import make_generator


def test_tangents_are_those_of_the_parameters_own_precision() -> None:
    members = [make_network("cnn", 4, (1, 8, 8), make_generator(seed), channels=[4, 6]) for seed in (0, 1)]
    half, single = LoopStudents(members, Execution(torch.bfloat16)), LoopStudents(members)
    images = torch.randn(2, 3, 1, 8, 8, generator=make_generator(2))
    direction = [torch.randn(part.shape, generator=make_generator(3)) for part in single.parameters()]
    assert not torch.equal(half(images).logits, single(images).logits)
    assert torch.equal(half.tangents(images, direction), single.tangents(images, direction))
