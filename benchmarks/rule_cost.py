"""What a rule costs: its temperatures and the distillation loss, forward and backward, against plain distillation.

Run `python benchmarks/rule_cost.py` on an otherwise idle machine.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from rltemp.objectives import kd_loss
from rltemp.policies import make_policy

RULES = ("static", "anneal", "ctkd", "dtkd", "normkd", "lskd", "ttm", "wttm")
PLAIN = "plain KD"


def measure_rules(
    rules: Sequence[str] = RULES, batch: int = 128, classes: int = 1000, rounds: int = 300, seed: int = 0
) -> dict[str, list[float]]:
    """Seconds per forward and backward pass of every rule and of plain distillation, one value per round.

    All run in turn in every round, in an order that rotates, so that whatever slows the machine down slows all of them.
    """
    generator = torch.Generator().manual_seed(seed)
    student = (2 * torch.randn(batch, classes, generator=generator)).requires_grad_()
    teacher = 3 * torch.randn(batch, classes, generator=generator)
    passes: dict[str, Callable[[], Tensor]] = {PLAIN: lambda: plain_kd(student, teacher)}
    for name in rules:
        passes[name] = rule_kd(name, student, teacher)
    names = list(passes)
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    for turn in range(-10, rounds):  # the first ten warm up
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            student.grad = None
            start = time.perf_counter()
            passes[name]().backward()
            elapsed = time.perf_counter() - start
            if turn >= 0:
                seconds[name].append(elapsed)
    return seconds


def plain_kd(student: Tensor, teacher: Tensor, t: float = 4.0) -> Tensor:
    """The loss of Hinton et al. (2015) as everybody writes it, in log space."""
    log_q, log_p = F.log_softmax(student / t, dim=1), F.log_softmax(teacher / t, dim=1)
    return F.kl_div(log_q, log_p, reduction="batchmean", log_target=True) * t * t


def rule_kd(name: str, student: Tensor, teacher: Tensor) -> Callable[[], Tensor]:
    """A pass of one rule, half way through a run."""
    policy = make_policy(name)
    return lambda: kd_loss(student, teacher, policy(student, teacher, None, 0.5)).mean()


def cost_ratios(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Median over the rounds of a rule's time by that of plain distillation in the same round."""
    plain = seconds[PLAIN]
    return {
        name: statistics.median(one / other for one, other in zip(times, plain, strict=True))
        for name, times in seconds.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=300)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seconds = measure_rules(batch=arguments.batch, classes=arguments.classes, rounds=arguments.rounds)
    ratios = cost_ratios(seconds)
    print(f"{'rule':<10}{'median':>10}{'fastest':>10}{'x plain':>9}")
    for name, times in seconds.items():
        print(f"{name:<10}{statistics.median(times) * 1e6:>7.0f} us{min(times) * 1e6:>7.0f} us{ratios[name]:>9.2f}")


if __name__ == "__main__":
    main()
