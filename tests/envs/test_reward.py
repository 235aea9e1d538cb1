import pytest
import torch
import torch.nn.functional as F

from rltemp.distillation import DistillationRun, Task
from rltemp.envs.reward import ProbeReward
from rltemp.temperatures import Temperatures

SEEDS = (3, 4)


def test_the_loss_is_each_students_own_cross_entropy(tiny_task: Task) -> None:
    run = DistillationRun(tiny_task, SEEDS)
    loss = ProbeReward(tiny_task).loss(run.students)
    for index in range(len(SEEDS)):
        logits = run.students.extract(index).eval()(tiny_task.validation.images)
        expected = F.cross_entropy(logits.double(), tiny_task.validation.targets)
        assert torch.isclose(loss[index], expected, rtol=1e-6)


@pytest.mark.parametrize("scale", [None, 16.0])
def test_influence_is_the_directional_derivative_of_each_instances_loss(tiny_task: Task, scale: float | None) -> None:
    """lr * kd_weight / B * (gradient of the probe . gradient of the instance's loss at T), student by student."""
    run = DistillationRun(tiny_task, SEEDS)
    reward = ProbeReward(tiny_task)
    observation = run.observe()
    temperature = torch.tensor([0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 3.0]).expand(len(SEEDS), -1)
    reward.loss(run.students)
    influence = reward.influence(run, Temperatures.shared(temperature.flatten(), scale))
    unit = run.learning_rate * tiny_task.optimization.kd_weight / temperature.shape[1]
    for k in range(len(SEEDS)):
        network = run.students.extract(k).eval()
        parameters = list(network.parameters())
        probe = F.cross_entropy(network(tiny_task.validation.images), tiny_task.validation.targets)
        downhill = torch.autograd.grad(probe, parameters)
        for i, t in enumerate(temperature[k].tolist()):
            logits = network(observation.minibatch.images[k, i : i + 1])
            target = (observation.teacher_logits[k, i : i + 1] / t).softmax(1)
            loss = (scale or t * t) * F.kl_div((logits / t).log_softmax(1), target, reduction="sum")
            own = torch.autograd.grad(loss, parameters)
            expected = unit * sum((a * b).sum() for a, b in zip(downhill, own, strict=True))
            torch.testing.assert_close(influence[k, i], torch.as_tensor(expected), rtol=1e-3, atol=1e-7)


def test_looking_changes_nothing_and_the_probe_is_seen_as_it_is_after_the_update(tiny_task: Task) -> None:
    watched, alone = DistillationRun(tiny_task, SEEDS), DistillationRun(tiny_task, SEEDS)
    reward = ProbeReward(tiny_task)
    temperatures = Temperatures.shared(torch.full((16,), 4.0))
    for _ in range(3):
        reward.loss(watched.students)
        reward.influence(watched, temperatures)
        watched.update(temperatures)
        alone.update(temperatures)
    for mine, other in zip(watched.students.parameters(), alone.students.parameters(), strict=True):
        assert torch.equal(mine, other)
    assert torch.equal(reward.loss(watched.students), ProbeReward(tiny_task).loss(alone.students))
