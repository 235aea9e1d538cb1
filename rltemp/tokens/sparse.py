"""Distillation from a teacher of which only the top k classes are known, with a temperature per token.

A temperature acts on a whole distribution, and the rest of this one is unknown. Two things can be softened without a
guess. Among the k classes alone the softened probabilities are exact at every temperature, whatever the rest is. And
the k classes with the rest as one more class are a distribution of their own, the same that the student's logits give
it: temperatures act on that one. At temperature 1 its divergence is a lower bound of that of all classes; at others it
is a loss of its own, which is zero where the student agrees on the k classes and the rest. `sparse_kd_bounds` says
between which values the loss against the whole teacher lies.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from rltemp.checks import check_finite
from rltemp.errors import InputError
from rltemp.objectives.kd import KD, check_temperatures
from rltemp.objectives.objective import Objective
from rltemp.precision import without_autocast
from rltemp.temperatures import Temperatures
from rltemp.tokens.head import precision_of
from rltemp.tokens.topk import TopK

__all__ = ["coarse_logits", "sparse_kd_bounds", "sparse_kd_loss"]

_TINY = 1e-300
"""A probability that stands for 0 where its logarithm is wanted."""


def sparse_kd_loss(
    student_logits: Tensor,
    teacher: TopK,
    temperatures: Temperatures,
    *,
    rest: bool = True,
    objective: Objective | None = None,
) -> Tensor:
    """`kd_loss`, or another objective without targets, between what is known of the teacher and the student's same.

    Args:
        student_logits: [N, V], raw; N may be 0.
        teacher: of N tokens and V classes.
        temperatures: of N tokens.
        rest: whether all classes beyond the k count as one more; without, the student's probability for them is free.
        objective: by default `KD()`.

    Returns:
        [N], in nats.

    Raises:
        InputError: for another number of tokens or classes, one class alone, or NaN and infinite logits.
    """
    student, known = coarse_logits(student_logits, teacher, rest=rest)
    check_temperatures(temperatures, len(teacher))
    return student.new_zeros(0) if len(teacher) == 0 else (objective or KD())(student, known, None, temperatures)


def coarse_logits(student_logits: Tensor, teacher: TopK, *, rest: bool = True) -> tuple[Tensor, Tensor]:
    """Logits of student and teacher over the teacher's k classes and, as class k, the rest: [N, k + 1] each.

    Any policy and any objective takes them. Without the rest, or where k = V, they are [N, k].

    Args:
        student_logits: [N, V], raw; float16 and bfloat16 are computed in float32.
        teacher: of N tokens and V classes.
        rest: whether the rest is a class.

    Raises:
        InputError: for another number of tokens or classes, one class alone, or NaN and infinite logits.
    """
    _check(student_logits, teacher)
    rest = rest and teacher.k < teacher.vocabulary
    if teacher.k == 1 and not rest:
        raise InputError("teacher must have k >= 2 where the rest does not count, got 1")
    dtype, indices = precision_of(student_logits.dtype, teacher.dtype), teacher.indices.long()
    with without_autocast(student_logits):
        student, known = student_logits.to(dtype), teacher.log_probabilities.to(dtype)
        top = student.gather(1, indices)
        if not rest:
            return top, known
        others = student.scatter(1, indices, -torch.inf).logsumexp(1, keepdim=True)
        return torch.cat((top, others), 1), torch.cat((known, teacher.log_rest(dtype)[:, None]), 1)


def sparse_kd_bounds(student_logits: Tensor, teacher: TopK, temperatures: Temperatures) -> tuple[Tensor, Tensor]:
    """The smallest and the largest value that `kd_loss` can have against the whole teacher, [N] each, without gradient.

    The rest is spread over V - k classes of at most the probability of the k-th. Its softened mass is extreme where it
    is spread evenly, and where it fills as few classes as it can; and by the chain rule, with pi and rho the softened
    rests of teacher and student, the divergence is that between (pi, 1 - pi) and (rho, 1 - rho), plus 1 - pi times that
    among the k classes, plus pi times that among the others, which lies between 0 and what the student's least probable
    class gives. Source: this project. Both bounds are up to the rounding of the log-probabilities.

    Args:
        student_logits: [N, V], raw.
        teacher: the k most probable classes of N tokens, exactly.
        temperatures: of N tokens.

    Raises:
        InputError: for another number of tokens or classes, or NaN and infinite logits.
    """
    _check(student_logits, teacher)
    check_temperatures(temperatures, len(teacher))
    with torch.no_grad():
        logits, at = student_logits.double(), temperatures.to(torch.float64)
        indices, known = teacher.indices.long(), teacher.log_probabilities.double() / at.teacher[:, None]
        softened = logits / at.student[:, None]
        top = softened.gather(1, indices)
        log_p = known.log_softmax(1)
        among = (log_p.exp() * (log_p - top.log_softmax(1))).sum(1)
        if teacher.k == teacher.vocabulary:
            low = high = among
        else:
            others = softened.scatter(1, indices, -torch.inf).logsumexp(1)
            worst = others - softened.scatter(1, indices, torch.inf).amin(1)
            rho = others - top.logsumexp(1)
            first, last = (mass - known.logsumexp(1) for mass in _rest_masses(teacher, at.teacher))
            low = _chain((rho + among).clamp(first, last), rho, among, torch.zeros_like(worst))
            high = torch.maximum(*(_chain(end, rho, among, worst) for end in (first, last)))
        dtype = precision_of(student_logits.dtype, teacher.dtype)
        return (at.scale * low).to(dtype), (at.scale * high).to(dtype)


def _check(student_logits: Tensor, teacher: TopK) -> None:
    if not isinstance(teacher, TopK):
        raise InputError(f"teacher must be a TopK, got {type(teacher).__name__}")
    want = [len(teacher), teacher.vocabulary]
    if not isinstance(student_logits, Tensor) or list(student_logits.shape) != want:
        got = list(student_logits.shape) if isinstance(student_logits, Tensor) else type(student_logits).__name__
        raise InputError(f"student_logits must have shape {want}, tokens and vocabulary of the teacher, got {got}")
    if not student_logits.is_floating_point():
        raise InputError(f"student_logits must be floating point, got {student_logits.dtype}")
    check_finite("student_logits", student_logits)


def _rest_masses(teacher: TopK, temperature: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest logarithm of the sum of p^(1 / T) over the rest, [N] each.

    One is that of a rest that is spread evenly, the other of one that fills as few classes as possible: which is which
    depends on whether T is above 1.
    """
    error = 16.0 * teacher.rounding()
    least, most = ((teacher.rest() + shift).clamp(min=_TINY) for shift in (-error, error))
    small = torch.minimum(_spread(teacher, least, temperature), _packed(teacher, least, temperature))
    return small, torch.maximum(_spread(teacher, most, temperature), _packed(teacher, most, temperature))


def _spread(teacher: TopK, rest: Tensor, temperature: Tensor) -> Tensor:
    classes = math.log(teacher.vocabulary - teacher.k)
    return classes + (rest.log() - classes) / temperature


def _packed(teacher: TopK, rest: Tensor, temperature: Tensor) -> Tensor:
    largest = teacher.log_probabilities.double().amin(1)
    # No more classes than there are, should rounding have made the rest too large for them.
    full = (rest / largest.exp()).floor().clamp(max=teacher.vocabulary - teacher.k)
    left = (rest - full * largest.exp()).clamp(min=_TINY)
    return torch.logaddexp(full.log() + largest / temperature, left.log() / temperature)


def _chain(pi: Tensor, rho: Tensor, among: Tensor, beyond: Tensor) -> Tensor:
    """Divergence [N] of the whole by the chain rule; pi and rho are log-odds of the rests."""
    rest, kept = pi.sigmoid(), (-pi).sigmoid()
    between = rest * (F.logsigmoid(pi) - F.logsigmoid(rho)) + kept * (F.logsigmoid(-pi) - F.logsigmoid(-rho))
    return between + kept * among + rest * beyond
