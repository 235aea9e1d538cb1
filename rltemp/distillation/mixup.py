"""Instances made by mix-up for an agent to explore on: images a student is unsure of, mixed with images it is sure of.

After RLKD (Zhang 2024, arXiv 2407.00115), whose agent sees such "high-quality" instances early in training. Ranks and
weights are those of its public code; there the whole training set is ranked once before an epoch, here each minibatch,
which needs no history of images and works for images on disk.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container

import torch
from torch import Tensor

from rltemp.distillation.minibatches import Minibatch, Partners
from rltemp.distillation.students import Students
from rltemp.errors import InputError
from rltemp.objectives.method import Method
from rltemp.softmax import log_softmax
from rltemp.temperatures import Temperatures

__all__ = ["MixUp", "mixed_losses", "mixing_weights"]

_TENTH, _UNSURE, _SURE = 0.1, 0.1, 0.8
"""Shares of a minibatch, ranked from unsure to sure: how many are mixed, and at which ranks both kinds begin."""

_LEAST = 0.7
"""Weight that the unsure image's falls to."""


@dataclasses.dataclass(frozen=True)
class MixUp:
    """Replaces the images at ranks 80 to 90 % of a minibatch by mixtures with those at ranks 10 to 20 %.

    Instances are ranked by the entropy of their student's outputs in evaluation mode, highest first. The k-th of M
    mixtures is w_k unsure + (1 - w_k) sure, with the weights of `mixing_weights`, and at least one is made. Nothing is
    drawn.

    Attributes:
        updates: numbers of the updates, from 0, whose minibatches are mixed.
        one_label: keep the label of the sure image alone, as the released code does, although most of the mixture is
            the other one. By default the loss of a mixture is that of both labels, at the weights of their images.
    """

    updates: Container[int]
    one_label: bool = False

    def mix(self, students: Students, minibatch: Minibatch) -> Minibatch:
        """Mix a minibatch of K students; the result has no rows, since a bank holds no logits of mixtures.

        The targets of mixtures are the unsure images' labels, which weigh most, with the others as partners; with
        `one_label`, the sure images'.

        Raises:
            InputError: for images that are no floating-point numbers, such as token ids.
        """
        images, targets = minibatch.images.clone(), minibatch.targets.clone()
        if not images.is_floating_point():
            raise InputError(f"images must be floating point to be mixed, got {images.dtype}")
        unsure, sure = _ranked(students, minibatch.images)
        owners = torch.arange(len(images), device=images.device).unsqueeze(1)
        weights = mixing_weights(unsure.shape[1]).to(images)
        shaped = weights.view(1, -1, *[1] * (images.ndim - 2))
        images[owners, sure] = shaped * images[owners, unsure] + (1.0 - shaped) * images[owners, sure]
        if self.one_label:
            return Minibatch(images, targets)
        share = torch.ones(targets.shape, device=images.device)
        share[owners, sure] = weights.to(share)
        targets[owners, sure] = minibatch.targets[owners, unsure]
        return Minibatch(images, targets, partners=Partners(minibatch.targets, share))


def mixing_weights(count: int) -> Tensor:
    """Weights of the unsure images in `count` = M mixtures, [M] float64: 0.7 + 0.3 (M - k) / M, k from 0 to M - 1."""
    left = torch.arange(count, 0, -1, dtype=torch.float64) / count
    return _LEAST + (1.0 - _LEAST) * left


def mixed_losses(
    method: Method,
    student: Tensor,
    teacher: Tensor,
    labels: tuple[Tensor, Partners | None],
    temperatures: Temperatures,
    progress: float,
) -> Tensor:
    """Loss of each instance of a minibatch, [K * B], in nats; that of a mixture is shared by its two labels.

    Args:
        method: the loss.
        student: the students' logits, [K * B, C].
        teacher: the teacher's logits, [K * B, C].
        labels: class indices [K, B], and the second labels, or None if there are none.
        temperatures: of the K * B instances.
        progress: share of the run that is done, in [0, 1].
    """
    targets, partners = labels
    losses = method.losses(student, teacher, targets.flatten(), temperatures, progress)
    if partners is None:
        return losses
    others = method.losses(student, teacher, partners.targets.flatten(), temperatures, progress)
    share = partners.share.flatten()
    return share * losses + (1.0 - share) * others


def _ranked(students: Students, images: Tensor) -> tuple[Tensor, Tensor]:
    """Indices [K, M] of the instances of each student's minibatch [K, B, ...] that it is unsure and sure of."""
    with torch.no_grad():
        log_probabilities = log_softmax(students.evaluate_each(images).logits.float())
    entropy = -(log_probabilities.exp() * log_probabilities).sum(-1)
    order = entropy.argsort(dim=1, descending=True, stable=True)
    batch = order.shape[1]
    count, unsure, sure = max(1, int(_TENTH * batch)), int(_UNSURE * batch), int(_SURE * batch)
    return order[:, unsure : unsure + count], order[:, sure : sure + count]
