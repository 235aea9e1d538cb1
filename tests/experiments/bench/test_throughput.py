"""The comparison with the usual loop measures what it says."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rltemp.experiments.bench import throughput
from rltemp.objectives import kd_loss
from rltemp.temperatures import Temperatures


def test_both_loops_minimize_the_same_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(8, 10, generator=generator, dtype=torch.float64) for _ in range(2))
    targets = torch.arange(8)
    temperatures = Temperatures.shared(torch.full((8,), 4.0, dtype=torch.float64))
    ours = 0.9 * kd_loss(student, teacher, temperatures).mean() + 0.1 * F.cross_entropy(student, targets)
    torch.testing.assert_close(throughput.plain_loss(student, teacher, targets), ours)


def test_a_tree_of_noise_is_enough_to_measure_on() -> None:
    with throughput._tree(None) as root:
        task = throughput._task(root, precision="float32", views=1)
        assert task.probe.shape == (3, 32, 32)
        assert task.teacher.bank is not None
        usual = throughput.usual_loop(root)
        for _ in range(2):
            next(usual)
        usual.close()
        phases = throughput.step_phases(throughput._advance(task), steps=1)
    assert not root.exists()
    assert abs(sum(phase.share for phase in phases) - 1.0) < 1e-9
    assert {"data", "student", "policy"} <= {phase.name for phase in phases}


@pytest.mark.parametrize(("taken", "ratio"), [("bfloat16", 2.0), ("float32", 0.5)])
def test_auto_is_held_against_the_precision_that_it_leaves(taken: str, ratio: float) -> None:
    row = throughput._auto_row({"float32": np.array([2.0, 2.0]), "bfloat16": np.array([1.0, 1.0])}, taken)
    assert row.ratio.median == ratio
    assert row.bar is not None
    assert row.bar.met(row.ratio.median) is (ratio >= 1.0)
