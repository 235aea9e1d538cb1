"""Losses of hidden states in data-parallel training: the head and the rule are used outside of the wrapped forward."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import rltemp
from rltemp.tokens import linear_distillation_loss


class LanguageModel(nn.Module):
    """Hidden states in its forward, and a head and a criterion that others use."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = nn.Linear(3, 4), nn.Linear(4, 6, bias=False)
        generator = torch.Generator().manual_seed(1)
        for parameter in self.parameters():
            nn.init.normal_(parameter, generator=generator)
        self.criterion = rltemp.DistillationLoss(rltemp.make_policy("ctkd"))

    def forward(self, tokens: Tensor) -> Tensor:
        """Hidden states."""
        hidden: Tensor = self.backbone(tokens).tanh()
        return hidden


def shared_batch() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(8, 3, generator=generator), torch.randn(8, 5, generator=generator), torch.arange(8) % 6


def train(tokens: Tensor, teacher_hidden: Tensor, targets: Tensor, *, parallel: bool = False) -> list[Tensor]:
    """All parameters after three updates."""
    model = LanguageModel()
    wrapped = DistributedDataParallel(model) if parallel else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    teacher_weight = torch.randn(6, 5, generator=torch.Generator().manual_seed(2))
    for _ in range(3):
        optimizer.zero_grad()
        heads = (wrapped(tokens), model.head.weight, teacher_hidden, teacher_weight)
        linear_distillation_loss(model.criterion, *heads, targets, 1.0, chunk=3).backward()
        optimizer.step()
    return [parameter.detach() for parameter in model.parameters()]


def train_rank(rank: int, folder: Path) -> list[Tensor]:
    mine = slice(4 * rank, 4 * rank + 4)
    tokens, teacher_hidden, targets = (value[mine] for value in shared_batch())
    return train(tokens, teacher_hidden, targets, parallel=True)


def test_two_ranks_train_what_one_process_trains(
    in_two_ranks: Callable[[Callable[[int, Path], Any]], list[Any]],
) -> None:
    first, second = in_two_ranks(train_rank)
    for ours, theirs, one in zip(first, second, train(*shared_batch()), strict=True):
        assert torch.equal(ours, theirs)
        torch.testing.assert_close(ours, one, rtol=1e-4, atol=1e-6)
