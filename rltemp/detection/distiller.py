"""Distillation of a Faster R-CNN's classification branch, at temperatures per proposal."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rltemp.checks import check_number
from rltemp.detection.compatibility import check_batch, check_pair, classes_of
from rltemp.detection.tap import Tap
from rltemp.errors import InputError
from rltemp.objectives.kd import KD
from rltemp.objectives.objective import Objective
from rltemp.policies.policy import TemperaturePolicy
from rltemp.precision import without_autocast, working_precision
from rltemp.temperatures import Temperatures

__all__ = ["DetectionDistiller", "ProposalLogits"]


@dataclasses.dataclass(frozen=True)
class ProposalLogits:
    """The instances of a batch of images: N proposals that the student sampled, as both networks classify them.

    Attributes:
        student_logits: [N, C + 1], raw, with their graph; the first class is background.
        teacher_logits: [N, C + 1], raw, without gradient.
        labels: [N] int64, 0 for background.
        proposals: the boxes, [N_i, 4] in pixels of the transformed images, for each image.
    """

    student_logits: Tensor
    teacher_logits: Tensor
    labels: Tensor
    proposals: tuple[Tensor, ...]


class DetectionDistiller(nn.Module):
    """Adds a distillation term to the losses of a torchvision Faster R-CNN, without a change of its code.

        distiller = DetectionDistiller(student, teacher, rltemp.make_policy("static"))
        losses = distiller(images, targets, progress)
        sum(losses.values()).backward()

    Instances are the proposals that the student samples for its own losses. The teacher classifies the same boxes of
    the same transformed images, and policy and objective get both logits with the proposals' labels, background being
    class 0. Boxes are learned from the labels alone, as without distillation.

    `parameters()` and `state_dict()` are those of student and policy; the teacher is no part of this module. It is put
    into eval mode, and must be moved to the student's device by its owner.

    Args:
        student: the detector that is trained.
        teacher: a detector with the student's transform (size, mean, deviation) and classes.
        policy: chooses the temperatures; any that needs no probe alignment.
        objective: `KD()`, `DKD(...)`, or any `Objective`; by default `KD()`.
        foreground: weight of proposals with an object, >= 0.
        background: weight of proposals without, >= 0; they are most of them.

    Raises:
        InputError: for detectors that do not fit together, a policy that needs a probe or weighs labels, or a weight
            out of range.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        policy: TemperaturePolicy,
        objective: Objective | None = None,
        *,
        foreground: float = 1.0,
        background: float = 1.0,
    ) -> None:
        super().__init__()
        check_pair(student, teacher)
        if "alignment" in policy.needs:
            raise InputError(
                f"policy must need no probe alignment, which detectors do not have, got {type(policy).__name__}"
            )
        if policy.weighs_labels:
            raise InputError("policy must leave the labels as they are for detectors, got one that weighs them")
        self.student, self.policy = student, policy
        # In a tuple it is no submodule: not trained, not saved, and never switched to training mode.
        self._teacher = (teacher.eval(),)
        self.objective: Objective = KD() if objective is None else objective
        self.foreground = check_number("foreground", foreground, low=0.0)
        self.background = check_number("background", background, low=0.0)

    @property
    def teacher(self) -> nn.Module:
        """The teacher, which is no part of `parameters()` or `state_dict()`."""
        return self._teacher[0]

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Mapping[str, Tensor]], progress: float = 0.0
    ) -> dict[str, Tensor]:
        """The student's losses, and "distillation", each a scalar; their sum is what is minimized.

        Args:
            images: [Ch, H, W] each, as torchvision's detectors take them.
            targets: per image "boxes", [M, 4] in pixels, and "labels", [M] in [1, C]; M may be 0.
            progress: share of the run that is done, in [0, 1].

        Raises:
            InputError: for a student in eval mode, or images, targets or networks that do not fit together.
        """
        losses, seen = self.observe(images, targets)
        return {**losses, "distillation": self.distillation(seen, progress)}

    def observe(
        self, images: Sequence[Tensor], targets: Sequence[Mapping[str, Tensor]]
    ) -> tuple[dict[str, Tensor], ProposalLogits]:
        """The student's own losses, and the instances that a policy is asked about; arguments as those of a call.

        Raises:
            InputError: as a call.
        """
        if not self.student.training:
            raise InputError("student must be in training mode, as student.train() makes it, got eval mode")
        check_batch(images, targets, classes_of(self.student))
        with Tap(self.student) as tap:
            losses = self.student(images, targets)
        teacher_logits = _classify(self.teacher, tap)
        if teacher_logits.shape != tap.logits.shape:
            raise InputError(
                f"teacher must have the student's {tap.logits.shape[1]} classes, background among them, "
                f"got {teacher_logits.shape[1]}"
            )
        return losses, ProposalLogits(tap.logits, teacher_logits, tap.labels, tuple(tap.proposals))

    def distillation(self, seen: ProposalLogits, progress: float = 0.0) -> Tensor:
        """The distillation term, a scalar in nats: the mean over N proposals of weight times loss; 0 without any.

        The mean is over all proposals, as that of torchvision's classification loss, whatever their weights.

        Args:
            seen: what `observe` gave.
            progress: share of the run that is done, in [0, 1].

        Raises:
            InputError: for logits that policy or objective refuse.
        """
        if not len(seen.labels):
            return seen.student_logits.sum()
        with without_autocast(seen.student_logits):
            student, teacher = working_precision(seen.student_logits, seen.teacher_logits)
            temperatures: Temperatures = self.policy(student, teacher, seen.labels, progress)
            losses = self.objective(student, teacher, seen.labels, temperatures)
            weights = torch.where(seen.labels > 0, self.foreground, self.background)
            return (weights * losses).mean()


@torch.no_grad()
def _classify(teacher: Any, tap: Tap) -> Tensor:
    """The teacher's logits [N, C + 1] of the proposals that were tapped."""
    device = next(teacher.parameters()).device
    if device != tap.images.device:
        raise InputError(f"teacher must be on {tap.images.device}, as the student's images, got {device}")
    heads = teacher.eval().roi_heads
    features = teacher.backbone(tap.images)
    if isinstance(features, Tensor):
        # What torchvision calls the only map of a backbone that has no pyramid.
        features = OrderedDict([("0", features)])
    logits: Tensor = heads.box_predictor(heads.box_head(heads.box_roi_pool(features, tap.proposals, tap.shapes)))[0]
    return logits
