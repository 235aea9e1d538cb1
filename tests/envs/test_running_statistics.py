"""What the way back through a run cannot follow is refused, by name."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from rltemp import InputError
from rltemp.distillation import DistillationRun, Task
from rltemp.envs.unrolling import UnrolledRun
from rltemp.networks import Execution, ExternalNetwork
from rltemp.temperatures import Temperatures


class Counter(nn.Module):
    """Counts its training forwards from the second on."""

    first: Tensor
    forwards: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("first", torch.tensor(True))
        self.register_buffer("forwards", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.forwards += 1.0 - self.first.float()
            self.first &= False
        return x


def _run(task: Task, *layers: nn.Module) -> DistillationRun:
    def make_student(generator: torch.Generator) -> ExternalNetwork:
        return ExternalNetwork(nn.Sequential(nn.Flatten(), *layers, nn.Linear(64, 10)), 10)

    return DistillationRun(dataclasses.replace(task, make_student=make_student, stacked=False), [3])


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(64, affine=False), nn.BatchNorm1d(64, affine=True)])
def test_batch_normalization_needs_a_weight_of_its_own(tiny_task: Task, layer: nn.BatchNorm1d) -> None:
    other = nn.BatchNorm1d(64, affine=layer.affine)
    other.weight = layer.weight
    with pytest.raises(InputError, match=r"a weight and a bias of its own, 'network\.body\.\d' lacks one"):
        UnrolledRun(_run(tiny_task, layer, other))


def test_statistics_of_several_processes_are_refused(tiny_task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _run(tiny_task, nn.SyncBatchNorm(64))
    UnrolledRun(run)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    with pytest.raises(InputError, match=r"statistics of one process, 'network\.body\.1' shares"):
        UnrolledRun(run)


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (Counter(), "first"),
        (nn.utils.parametrizations.spectral_norm(nn.Linear(64, 64)), r"parametrizations\.weight\.0\._u"),
    ],
)
def test_another_buffer_that_changes_is_refused(tiny_task: Task, layer: nn.Module, name: str) -> None:
    unrolled = UnrolledRun(_run(tiny_task, layer))
    with pytest.raises(InputError, match=rf"'members\.0\.network\.body\.1\.{name}' changes"):
        unrolled.note(Temperatures.shared(torch.ones(8)))


def test_a_buffer_that_changes_later_is_refused_then(tiny_task: Task) -> None:
    run = _run(tiny_task, Counter())
    run.observe()
    unrolled = UnrolledRun(run)
    unrolled.note(Temperatures.shared(torch.ones(8)))
    run.update(Temperatures.shared(torch.ones(8)))
    with pytest.raises(InputError, match="forwards' changes"):
        unrolled.note(Temperatures.shared(torch.ones(8)))


def test_compiled_students_are_refused(tiny_task: Task) -> None:
    run = DistillationRun(dataclasses.replace(tiny_task, execution=Execution(compile=True)), [3])
    with pytest.raises(InputError, match="not compiled"):
        UnrolledRun(run)
