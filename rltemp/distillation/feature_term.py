"""An objective on features beside the loss of a run, such as PKT or CRD, one for each of K students."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rltemp.distillation.image_views import ImageViews
from rltemp.distillation.teacher import Ensemble
from rltemp.distillation.training_images import index_orders
from rltemp.errors import InputError
from rltemp.objectives.features import CRD, PKT, SP, SRRL, VID, Activations, FeatureObjective
from rltemp.seeding import make_generator
from rltemp.transfer import to_device

if TYPE_CHECKING:
    from rltemp.distillation.run import ForwardPass
    from rltemp.distillation.task import Task

__all__ = ["FeatureTerm"]

_Maker = Callable[["Task", Ensemble, int, torch.Generator], FeatureObjective]
"""Makes one student's objective, given the task, its teacher, the width of the student's features, and a generator."""


class FeatureTerm(nn.Module):
    """Weighted objective between the students' and the teacher's features, the inputs of their last layers.

    Features are vectors, and maps of one pixel where the objective wants maps: so it goes with any network, those
    without maps and those that run stacked. An ensemble's features are its members' side by side. Modules that an
    objective trains are the student's own, and so are what it draws.

    Args:
        task: its optimization settings name the objective.
        seeds: one per student.

    Raises:
        InputError: for a teacher that is no `Ensemble` of networks, or CRD on images on disk.
    """

    def __init__(self, task: Task, seeds: Sequence[int]) -> None:
        super().__init__()
        settings, teacher = task.optimization, task.teacher.network
        if not isinstance(teacher, Ensemble):
            raise InputError(
                f"optimization.features must be 'none' for a teacher without features, got {settings.features!r}"
            )
        width = task.make_student(make_generator(seeds[0], "student")).classifier.in_features
        make = _MAKERS[settings.features]
        members = [make(task, teacher, width, make_generator(seed, "features")) for seed in seeds]
        self.objectives = nn.ModuleList(members).to(task.device)
        self._weight = settings.features_weight * members[0].weight
        self._task = task
        self._orders = (
            index_orders(len(task.training), seeds, settings.batch_size) if settings.features == "crd" else []
        )

    @classmethod
    def of(cls, task: Task, seeds: Sequence[int]) -> FeatureTerm | None:
        """The term that a task's optimization settings ask for; None for "none" or a weight of 0."""
        settings = task.optimization
        return None if settings.features == "none" or settings.features_weight == 0.0 else cls(task, seeds)

    def loss(self, observation: ForwardPass) -> Tensor:
        """Weighted sum over the students of their objectives, a scalar with graph; once per update."""
        views = self._task.training
        teacher = self._task.teacher.features(observation.minibatch, views if isinstance(views, ImageViews) else None)
        indices = [to_device(order.take(), self._task.device) for order in self._orders]
        student = observation.student
        losses = [
            objective(
                _activations(student.logits[k], student.features[k]),
                _activations(observation.teacher_logits[k], teacher[k]),
                indices[k] if indices else None,
            )
            for k, objective in enumerate(self.objectives)
        ]
        return self._weight * torch.stack(losses).sum()

    def get_extra_state(self) -> list[dict[str, Any]]:
        """States of the orders by which CRD knows its images, for `state_dict()`."""
        return [order.state_dict() for order in self._orders]

    def set_extra_state(self, state: list[dict[str, Any]]) -> None:
        """Restore a state that `get_extra_state()` returned."""
        for order, saved in zip(self._orders, state, strict=True):
            order.load_state_dict(saved)


def _activations(logits: Tensor, features: Tensor) -> Activations:
    return Activations(logits, features, (features[:, :, None, None],))


def _crd(task: Task, teacher: Ensemble, width: int, generator: torch.Generator) -> CRD:
    if len(task.probe) != len(task.training):
        raise InputError("optimization.features must not be 'crd' where data.in_memory is false, got 'crd'")
    labels = task.probe.targets.cpu()
    negatives = task.optimization.negatives
    return CRD(width, _width(teacher), len(labels), labels, negatives=negatives, generator=generator)


def _width(teacher: Ensemble) -> int:
    return teacher.classifier.in_features


_MAKERS: Mapping[str, _Maker] = {
    "pkt": lambda task, teacher, width, generator: PKT(),
    "sp": lambda task, teacher, width, generator: SP(),
    "vid": lambda task, teacher, width, generator: VID([width], [_width(teacher)], generator),
    "crd": _crd,
    "srrl": lambda task, teacher, width, generator: SRRL(width, teacher.classifier, generator),
}
