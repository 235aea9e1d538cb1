"""What a batch is paid for: the improvement of a probe by its update, or what stands in its place."""

from __future__ import annotations

from typing import Any, Protocol

import torch

from rltemp.agents.online.released import macro_accuracy, reward_factor
from rltemp.agents.online.settings import Online
from rltemp.distillation.run import DistillationRun
from rltemp.distillation.task import Task
from rltemp.envs.reward import ProbeReward
from rltemp.seeding import make_generator

__all__ = ["BatchReward", "BeforeAction", "Improvement", "Shuffled", "make_reward"]

_EPOCHS = 240


class BatchReward(Protocol):
    """The reward of one student's updates."""

    def begin(self, run: DistillationRun) -> None:
        """Get ready for an epoch in which the agent learns."""

    def note(self, run: DistillationRun) -> None:
        """Take note of the observed minibatch before any update, of epochs without learning as well."""

    def pay(self, run: DistillationRun) -> float:
        """The reward of the update that has just been made; once per update in which the agent learns."""

    def state_dict(self) -> dict[str, Any]:
        """What later rewards depend on, between two epochs."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict()` returned."""


class Improvement:
    """Decrease of the student's mean cross-entropy on all validation images by the update, in nats.

    Args:
        task: its validation images are held-out images of the training data.
    """

    def __init__(self, task: Task) -> None:
        self._probe = ProbeReward(task)
        self._loss = 0.0

    def begin(self, run: DistillationRun) -> None:
        """Measure the loss before the epoch's first update."""
        self._loss = float(self._probe.loss(run.students))

    def note(self, run: DistillationRun) -> None:
        """Nothing: the loss after the last update is that before the next."""

    def pay(self, run: DistillationRun) -> float:
        """The decrease by the last update."""
        before, self._loss = self._loss, float(self._probe.loss(run.students))
        return before - self._loss

    def state_dict(self) -> dict[str, Any]:
        """Empty: every epoch begins with a measurement."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""


class BeforeAction:
    """The public code's reward: macro accuracy on the batch minus that on the batch before, times `reward_factor`.

    Both are measured in training, before the update that the batch's temperatures act in, so that no action changes
    its own reward. Epochs are those of a run of 240, by the progress of this one.
    """

    def __init__(self) -> None:
        self._accuracies = (0.0, 0.0)
        self._factor = 1.0

    def begin(self, run: DistillationRun) -> None:
        """Nothing: the last batch of the epoch before was noted."""

    def note(self, run: DistillationRun) -> None:
        """Measure the accuracy on the observed minibatch."""
        seen = run.observe()
        accuracy = macro_accuracy(seen.student.logits[0].detach(), seen.minibatch.targets[0])
        self._accuracies = (self._accuracies[1], accuracy)
        self._factor = reward_factor(int(_EPOCHS * seen.progress) + 1)

    def pay(self, run: DistillationRun) -> float:
        """The difference of the two last accuracies, which were known before the update."""
        return self._factor * (self._accuracies[1] - self._accuracies[0])

    def state_dict(self) -> dict[str, Any]:
        """The last accuracy."""
        return {"accuracy": self._accuracies[1]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict()` returned."""
        self._accuracies = (0.0, float(state["accuracy"]))


class Shuffled(Improvement):
    """A control: every update is paid the improvement by any update so far, its own among them, at random.

    Rewards are as large and as noisy as those of `Improvement`, and say nothing of the actions.

    Args:
        task: as for `Improvement`.
        generator: draws whose reward is paid.
    """

    def __init__(self, task: Task, generator: torch.Generator) -> None:
        super().__init__(task)
        self._generator = generator
        self._paid: list[float] = []

    def pay(self, run: DistillationRun) -> float:
        """The improvement by one of the updates so far."""
        self._paid.append(super().pay(run))
        return self._paid[int(torch.randint(len(self._paid), (), generator=self._generator))]

    def state_dict(self) -> dict[str, Any]:
        """All improvements so far, and the generator's state."""
        return {"paid": list(self._paid), "generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict()` returned."""
        self._paid = [float(reward) for reward in state["paid"]]
        self._generator.set_state(state["generator"])


def make_reward(online: Online, task: Task, seed: int) -> BatchReward:
    """The reward that the settings name, for the student with this seed."""
    if online.reward == "before-action":
        return BeforeAction()
    return Improvement(task) if online.reward == "improvement" else Shuffled(task, make_generator(seed, "shuffle"))
