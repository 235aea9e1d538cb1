"""One temperature policy for each of K students."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from rltemp.policies.learned import LearnedPolicy
from rltemp.policies.policy import TemperaturePolicy
from rltemp.temperatures import Temperatures

__all__ = ["PolicyPopulation"]


class PolicyPopulation(nn.Module):
    """K policies of one kind, each choosing the temperatures of its own student.

    The parameters of a policy are trained by its student's optimizer, so that each student has its own: they are
    stacked like those of students. A random policy draws from its own generator, and one that looks at its whole batch
    must see its own student's alone: they are called in turn. All others are called once, on all K * B instances, and
    so are trained policies, which know where a student's batch ends.

    Args:
        policies: one per student, differing in parameters and generators alone; copied.

    Attributes:
        needs: which of "targets" and "alignment" the policies require.
    """

    def __init__(self, policies: Sequence[TemperaturePolicy]) -> None:
        super().__init__()
        self.needs = policies[0].needs
        # In a tuple, outside the module tree: only the stacked tensors are parameters of this module.
        self._members = tuple(copy.deepcopy(policy) for policy in policies)
        trainable = any(parameter.requires_grad for parameter in policies[0].parameters())
        parameters, buffers = stack_module_state(list(self._members)) if trainable else ({}, {})
        self._buffers_by_name = buffers
        self._names = tuple(parameters)
        self.stacked = nn.ParameterList(parameters[name].detach().clone() for name in self._names)

    def forward(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor,
        progress: float,
        alignment: Tensor | None,
        position: Tensor | None = None,
    ) -> Temperatures:
        """Choose the temperatures of K * B instances, student after student.

        Args:
            student_logits: [K, B, C].
            teacher_logits: [K, B, C].
            targets: [K, B] class indices.
            progress: share of the run that is done, in [0, 1].
            alignment: [K, B, A]; None only if the policies do not need it.
            position: [B] in [0, 1], of the tokens of every student; None only if the policies do not need it.

        Returns:
            Temperatures of K * B instances: rows k * B to k * B + B - 1 are student k's.
        """
        tensors = (student_logits, teacher_logits, targets, alignment)
        if self._names:
            chosen = self._choose_stacked(*tensors, progress)
        elif isinstance(first := self._members[0], LearnedPolicy):
            merged = None if alignment is None else alignment.flatten(0, 1)
            logits = student_logits.flatten(0, 1), teacher_logits.flatten(0, 1)
            place = None if position is None else position.repeat(len(targets))
            return first.choose(*logits, targets.flatten(), progress, merged, len(targets), place)
        elif self._members[0].generator is not None or self._members[0].over_batch:
            chosen = self._choose_in_turn(*tensors, progress)
        else:
            merged = None if alignment is None else alignment.flatten(0, 1)
            return _call(
                first, student_logits.flatten(0, 1), teacher_logits.flatten(0, 1), targets.flatten(), merged, progress
            )
        return Temperatures(*(values.flatten() for values in chosen))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PolicyPopulation:
        # What `to` and its like do: the members and buffers are outside the module tree, and go along.
        for member in self._members:
            member._apply(fn)  # type: ignore[no-untyped-call]
        self._buffers_by_name = {name: fn(buffer) for name, buffer in self._buffers_by_name.items()}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def get_extra_state(self) -> list[Tensor]:
        """States of the policies' generators, for `state_dict()`; empty if the policies draw nothing."""
        return [member.generator.get_state() for member in self._members if member.generator is not None]

    def set_extra_state(self, state: list[Tensor]) -> None:
        """Restore the policies' generators from states that `get_extra_state()` returned."""
        owners = [member.generator for member in self._members if member.generator is not None]
        for generator, saved in zip(owners, state, strict=True):
            generator.set_state(saved)

    def _choose_stacked(
        self, student: Tensor, teacher: Tensor, targets: Tensor, alignment: Tensor | None, progress: float
    ) -> tuple[Tensor, ...]:
        state = dict(zip(self._names, self.stacked, strict=True)) | self._buffers_by_name

        def choose(state: dict[str, Tensor], *tensors: Tensor | None) -> tuple[Tensor, ...]:
            student, teacher, targets, alignment = tensors
            arguments = (student, teacher, targets, progress, alignment)
            temperatures: Temperatures = functional_call(self._members[0], state, arguments)
            return temperatures.tensors

        chosen: tuple[Tensor, ...] = vmap(choose, in_dims=(0, 0, 0, 0, None if alignment is None else 0))(
            state, student, teacher, targets, alignment
        )
        return chosen

    def _choose_in_turn(
        self, student: Tensor, teacher: Tensor, targets: Tensor, alignment: Tensor | None, progress: float
    ) -> tuple[Tensor, ...]:
        chosen = [
            _call(
                member, student[k], teacher[k], targets[k], None if alignment is None else alignment[k], progress
            ).tensors
            for k, member in enumerate(self._members)
        ]
        return tuple(torch.stack(values) for values in zip(*chosen, strict=True))


def _call(
    policy: TemperaturePolicy,
    student: Tensor,
    teacher: Tensor,
    targets: Tensor,
    alignment: Tensor | None,
    progress: float,
) -> Temperatures:
    temperatures: Temperatures = policy(student, teacher, targets, progress, alignment)
    return temperatures
