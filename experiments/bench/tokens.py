"""What it saves not to hold the logits of all tokens of a language model."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from rltemp.experiments.bench.memory import peak_bytes
from rltemp.experiments.bench.section import AtMost, Peak, Row, Section
from rltemp.experiments.bench.timing import interleave
from rltemp.objectives import DistillationLoss
from rltemp.policies import make_policy
from rltemp.seeding import make_generator
from rltemp.temperatures import Temperatures
from rltemp.tokens import linear_distillation_loss, linear_kd_loss

__all__ = ["measure"]

_TEMPERATURE = 2.0


def measure(
    seconds: float,
    tokens: int = 2048,
    vocabulary: int = 32_000,
    width: int = 256,
    dtype: torch.dtype = torch.float32,
    chunk: int | None = None,
) -> Section:
    """Time and peak memory of the distillation loss of hidden states, forward and backward, three ways.

    Plain: logits of all tokens, and the loss as everybody writes it. Then `linear_distillation_loss` of a criterion, a
    mean, and the mean of `linear_kd_loss`, whose backward pass computes all logits again.

    Args:
        seconds: about how long to measure times.
        tokens: N.
        vocabulary: V.
        width: H of both networks.
        dtype: of hidden states and output matrices.
        chunk: tokens at once; None for the default.
    """
    generator = make_generator(0)
    student, teacher = (torch.randn(tokens, width, generator=generator).to(dtype) for _ in range(2))
    ours, theirs = (torch.randn(vocabulary, width, generator=generator).div(width**0.5).to(dtype) for _ in range(2))
    leaves = [student.requires_grad_(), ours.requires_grad_()]
    at = Temperatures.shared(torch.full((tokens,), _TEMPERATURE))
    criterion = DistillationLoss(make_policy("static", temperature=_TEMPERATURE), ce_weight=0.0, kd_weight=1.0)
    losses: dict[str, Callable[[], Tensor]] = {
        "plain KD": lambda: _plain(F.linear(student, ours), F.linear(teacher, theirs)),
        "linear_distillation_loss": lambda: linear_distillation_loss(
            criterion, student, ours, teacher, theirs, chunk=chunk
        ),
        "linear_kd_loss": lambda: linear_kd_loss(student, ours, teacher, theirs, at, chunk=chunk).mean(),
    }
    calls = {name: _with_gradient(loss, leaves) for name, loss in losses.items()}
    peaks = {name: peak_bytes(call) for name, call in calls.items()}
    times = interleave(calls, seconds)
    plain = next(iter(calls))
    others = [name for name in calls if name != plain]
    rows = [Row.of(plain, times[plain], times[plain] / times[plain])]
    rows += [Row.of(name, times[name], times[name] / times[plain], AtMost(1.3)) for name in others]
    memory = [Peak(plain, peaks[plain], 1.0)]
    memory += [Peak(name, peaks[name], peaks[name] / peaks[plain], AtMost(0.25)) for name in others]
    title = f"tokens: {tokens} of width {width}, vocabulary {vocabulary}, {str(dtype).removeprefix('torch.')}"
    return Section(title, "of plain KD", tuple(rows), peaks=tuple(memory))


def _plain(student: Tensor, teacher: Tensor, t: float = _TEMPERATURE) -> Tensor:
    """The loss of Hinton et al. (2015) as everybody writes it, in float32."""
    log_q, log_p = F.log_softmax(student.float() / t, dim=1), F.log_softmax(teacher.float() / t, dim=1)
    return F.kl_div(log_q, log_p, reduction="batchmean", log_target=True) * t * t


def _with_gradient(loss: Callable[[], Tensor], leaves: list[Tensor]) -> Callable[[], None]:
    def run() -> None:
        for leaf in leaves:
            leaf.grad = None
        loss().backward()

    return run
