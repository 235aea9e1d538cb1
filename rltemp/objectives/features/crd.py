"""Contrastive representation distillation (Tian et al., ICLR 2020)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from rltemp.checks import check_number, check_targets
from rltemp.errors import InputError
from rltemp.objectives.features.feature_objective import Activations, FeatureObjective
from rltemp.objectives.features.memory import MemoryBank
from rltemp.objectives.features.side_modules import linear

__all__ = ["CRD"]

_EPS = 1e-7


class CRD(FeatureObjective):
    """Contrastive loss: each network's vector must match the other's vector of the same image among K of other images.

    Both vectors are embedded and normalized. With h(s, t) = exp(s . t / tau) / Z and noise level c = K / N, each side
    has the loss -log h / (h + c) for its own image, and -log c / (h + c) for each of K negatives. Negatives are drawn
    with replacement from a memory bank of all N training images: from other classes if labels are given. The first
    batch fixes Z. Source: Tian et al. (2020), "Contrastive Representation Distillation", equation 18, with the paper's
    weight beta = 0.8, K = 16384, tau = 0.07, and the bank's momentum 0.5.

    Args:
        student_features: width of the student's vector.
        teacher_features: width of the teacher's vector.
        instances: N, number of training images.
        labels: [N] class indices of the training images; None draws negatives from all other images.
        embedding: width E of the embedding.
        negatives: K, >= 1.
        temperature: tau, > 0; of the contrast, not of the logits.
        momentum: share of a bank's entry that an update keeps, in [0, 1].
        generator: draws initial weights, the bank's initial entries, and the negatives; a new one, seeded with 0, if
            None.
    """

    weight = 0.8

    def __init__(
        self,
        student_features: int,
        teacher_features: int,
        instances: int,
        labels: Tensor | None = None,
        *,
        embedding: int = 128,
        negatives: int = 16_384,
        temperature: float = 0.07,
        momentum: float = 0.5,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if negatives < 1:
            raise InputError(f"negatives must be >= 1, got {negatives}")
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        self.negatives = negatives
        self.temperature = check_number("temperature", temperature, low=0.0, low_open=True)
        self.embed_student = linear(student_features, embedding, generator)
        self.embed_teacher = linear(teacher_features, embedding, generator)
        self.bank = MemoryBank(instances, embedding, labels, check_number("momentum", momentum, 0.0, 1.0), generator)
        self.register_buffer("normalizers", torch.zeros(2))

    def compare(self, student: Activations, teacher: Activations, indices: Tensor | None) -> Tensor:
        """Contrastive loss of both sides, a scalar; the embeddings of the batch then update the memory bank.

        Raises:
            InputError: without `indices`, the [B] positions of the instances in the training data, or for ones out of
                range.
        """
        if indices is None:
            raise InputError("indices must be given to contrastive distillation, got None")
        check_targets(indices, len(student.logits), self.bank.instances)
        ours = F.normalize(self.embed_student(student.vector), dim=1)
        theirs = F.normalize(self.embed_teacher(teacher.vector), dim=1)
        drawn = torch.cat((indices[:, None], self.bank.draw(indices, self.negatives)), dim=1)
        of_student, of_teacher = self.bank.entries(drawn)
        loss = self._contrast(ours, of_teacher, 0) + self._contrast(theirs, of_student, 1)
        self.bank.update(indices, ours.detach(), theirs.detach())
        return loss

    def _contrast(self, anchors: Tensor, others: Tensor, side: int) -> Tensor:
        """Contrastive loss, a scalar, of anchors [B, E] against [B, 1 + K, E], of which the first is the same image."""
        closeness = ((others @ anchors[:, :, None]).squeeze(2) / self.temperature).exp()
        normalizers = self.get_buffer("normalizers")
        first = closeness.detach().mean() * self.bank.instances
        normalizers[side] = torch.where(normalizers[side] == 0.0, first, normalizers[side])
        # Cloned, since the other side writes into the buffer before the backward pass.
        closeness = closeness / normalizers[side].clone()
        noise = self.negatives / self.bank.instances
        same, different = closeness[:, :1], closeness[:, 1:]
        log_same = (same / (same + noise + _EPS)).log()
        log_different = (noise / (different + noise + _EPS)).log()
        return -(log_same.sum() + log_different.sum()) / len(anchors)
