"""What credit in hindsight keeps of a run, in bytes, before the run is made; and which setting fits."""

from __future__ import annotations

import dataclasses

from rltemp.distillation.run import DistillationRun
from rltemp.distillation.task import Task
from rltemp.envs.credit_plan import CreditPlan
from rltemp.errors import InputError
from rltemp.memory import free_bytes, readable_bytes
from rltemp.recipes.schema import Recipe

__all__ = ["CreditMemory", "check_credit_memory"]

_FLOAT, _INDEX, _GENERATOR = 4, 8, 5056
"""Bytes of a number, of an index, and of the state of a generator of PyTorch on the CPU."""

_SHARES = tuple(digit / scale for scale in (10, 100, 1000, 10_000) for digit in (5, 2, 1))


@dataclasses.dataclass(frozen=True)
class CreditMemory:
    """Bytes of the parts of what is kept of a run of K students, with B instances each.

    Attributes:
        parameters: of all students.
        buffers: of all students.
        images: of one minibatch, as networks see it.
        logits: of one network on it, K * B * C numbers.
        temperatures: of one minibatch, with its labels.
        streams: the orders of the training images, and the generators of all students.
    """

    parameters: int
    buffers: int
    images: int
    logits: int
    temperatures: int
    streams: int

    @classmethod
    def of(cls, task: Task, students: int, images: int) -> CreditMemory:
        """Measured on one update of one student.

        Args:
            task: the task, or its rehearsal.
            students: K.
            images: training images of the task itself.
        """
        run = DistillationRun(task, [0])
        seen = run.observe()
        sizes = {
            "parameters": sum(part.nbytes for part in run.students.parameters()),
            "buffers": sum(part.nbytes for part in run.students.buffers()),
            "images": seen.minibatch.images.nbytes,
            "logits": seen.student.logits.nbytes,
            "temperatures": seen.minibatch.targets.numel() * (3 * _FLOAT + _INDEX),
            # Of the order, the augmentation, and random layers.
            "streams": images * _INDEX + (2 + bool(run.students.random_layers)) * _GENERATOR,
        }
        return cls(**{name: students * size for name, size in sizes.items()})

    def needed(self, plan: CreditPlan) -> int:
        """Bytes that are kept at most at once, for one episode.

        Without checkpoints, updates are kept whole until the way back has used them; then the tangents take the place
        of parameters and images. With checkpoints, states are kept throughout, and the updates of one segment.
        """
        update = 2 * self.logits + self.temperatures
        used = self.parameters + self.images
        if not plan.checkpoints:
            return plan.credited * (update + max(used, self.logits))
        replayed = -(-plan.segment // plan.every)
        state = 2 * self.parameters + self.buffers + self.streams
        return (len(plan.starts) + 1) * state + replayed * (update + used) + plan.length * self.temperatures

    def fitting(self, plan: CreditPlan, limit: int) -> list[str]:
        """Settings, each alone, with which no more than `limit` bytes are kept, and how many that are."""
        fits = []
        if not plan.checkpoints:
            fits.append(("agent.checkpoints: auto", dataclasses.replace(plan, checkpoints=True)))
        shares = [share for share in _SHARES if share < plan.window]
        windows = [(f"agent.window: {share:g}", dataclasses.replace(plan, window=share)) for share in shares]
        fits += [next(((name, less) for name, less in windows if self.needed(less) <= limit), ("", plan))]
        return [f"{name} in {readable_bytes(self.needed(less))}" for name, less in fits if self.needed(less) <= limit]


def check_credit_memory(recipe: Recipe, task: Task, students: int, *, updates: int, images: int) -> None:
    """Refuse credit in hindsight that would run out of memory, before an agent's first episode.

    Args:
        recipe: the settings; other kinds of credit keep nothing.
        task: its task, or the rehearsal of it.
        students: K.
        updates: of a run of the task itself.
        images: training images of the task itself.

    Raises:
        InputError: with the settings that would fit.
    """
    if recipe.agent.credit != "hindsight":
        return
    plan, limit = CreditPlan.of(recipe.agent, updates), free_bytes(task.device)
    memory = CreditMemory.of(task, students, images)
    if limit is None or (needed := memory.needed(plan)) <= limit:
        return
    fits = ", or ".join(memory.fitting(plan, limit)) or "fewer agent.students alone"
    raise InputError(
        f"agent.credit: hindsight keeps about {readable_bytes(needed)} for {updates:,} updates of "
        f"{recipe.student.name}; this machine has {readable_bytes(limit)}: what fits is {fits}"
    )
