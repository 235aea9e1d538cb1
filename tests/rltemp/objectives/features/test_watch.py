import copy

import pytest
import torch
from torch import Tensor, nn

from rltemp.errors import InputError
from rltemp.objectives import DistillationLoss
from rltemp.objectives.features import CRD, PKT, SP, SRRL, VID, FeatureDistillationLoss, FeatureObjective, Watch
from rltemp.policies import make_policy


class CNN(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.ReLU())
        self.layer2 = nn.Sequential(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.ReLU())
        self.classifier = nn.Linear(2 * width, 5)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.layer2(self.layer1(images)).mean((2, 3)))
        return logits


def build() -> tuple[CNN, CNN]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CNN(4), CNN(8).requires_grad_(False)


IMAGES = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(1))
TARGETS = torch.arange(16) % 5


def test_activations_are_those_of_the_last_forward_pass() -> None:
    student, _ = build()
    with Watch(student, "classifier", ["layer1", "layer2"]) as watch:
        with pytest.raises(InputError, match="must have made a forward pass first"):
            watch.activations  # noqa: B018
        student(IMAGES[:3])
        logits = student(IMAGES)
        seen = watch.activations
    assert seen.logits is logits
    first = student.layer1(IMAGES)
    second = student.layer2(first)
    for given, expected in zip((*seen.maps, seen.vector), (first, second, second.mean((2, 3))), strict=True):
        torch.testing.assert_close(given, expected)
        assert given.requires_grad
    student(IMAGES[:2])
    with pytest.raises(InputError, match="forward pass"):
        watch.activations  # noqa: B018


def test_an_unknown_layer_is_refused() -> None:
    with pytest.raises(InputError, match="names of the network's modules, got 'head'"):
        Watch(build()[0], "classifier", ["layer1", "head"])


@pytest.mark.parametrize("name", ["pkt", "sp", "vid", "crd", "srrl"])
def test_a_student_is_distilled_saved_and_resumed_with_its_criterion(name: str) -> None:
    student, teacher = build()

    def make() -> FeatureDistillationLoss:
        objectives: dict[str, FeatureObjective] = {
            "pkt": PKT(),
            "sp": SP(),
            "vid": VID([4, 8], [8, 16]),
            "crd": CRD(8, 16, 16, TARGETS, embedding=8, negatives=8),
            "srrl": SRRL(8, teacher.classifier),
        }
        return FeatureDistillationLoss(DistillationLoss(make_policy("ctkd", ramp=0.1)), objectives[name])

    def train(student: CNN, criterion: FeatureDistillationLoss, state: dict[str, object], steps: int) -> list[float]:
        watches = [Watch(network, "classifier", ["layer1", "layer2"]) for network in (student, teacher)]
        optimizer = torch.optim.Adam([*student.parameters(), *criterion.parameters()], lr=0.01)
        if state:
            optimizer.load_state_dict(state)
        losses = []
        for _ in range(steps):
            student(IMAGES)
            teacher(IMAGES)
            loss = criterion(*(watch.activations for watch in watches), TARGETS, 0.5, indices=torch.arange(16))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        state.update(optimizer.state_dict())
        for watch in watches:
            watch.close()
        return losses

    criterion, state = make(), dict[str, object]()
    losses = train(student, criterion, state, 20)
    assert losses[-1] < losses[1]
    saved = copy.deepcopy((student.state_dict(), criterion.state_dict(), state))
    expected = train(student, criterion, state, 3)

    resumed, resumed_criterion = build()[0], make()
    resumed.load_state_dict(saved[0])
    resumed_criterion.load_state_dict(saved[1])
    assert train(resumed, resumed_criterion, saved[2], 3) == expected
