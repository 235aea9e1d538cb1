"""Losses of hidden states in data-parallel training: the head and the rule are used outside of the wrapped forward."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import torch
from torch import Tensor, distributed, nn
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


def train_rank(rank: int, folder: Path) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    mine = slice(4 * rank, 4 * rank + 4)
    tokens, teacher_hidden, targets = (value[mine] for value in shared_batch())
    torch.save(train(tokens, teacher_hidden, targets, parallel=True), folder / f"{rank}.pt")
    distributed.destroy_process_group()


def test_two_ranks_train_what_one_process_trains(tmp_path: Path) -> None:
    # A process of its own: autograd does not survive a fork of one that has used it.
    subprocess.run([sys.executable, "-W", "ignore", __file__, tmp_path], check=True, timeout=120)
    first, second = (torch.load(tmp_path / f"{i}.pt", weights_only=True) for i in range(2))
    for ours, theirs, one in zip(first, second, train(*shared_batch()), strict=True):
        assert torch.equal(ours, theirs)
        torch.testing.assert_close(ours, one, rtol=1e-4, atol=1e-6)


if __name__ == "__main__":
    import torch._dynamo  # what data parallelism loads, once for both ranks

    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    context = multiprocessing.get_context("fork")
    ranks = [context.Process(target=train_rank, args=(rank, Path(sys.argv[1]))) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    sys.exit(max(process.exitcode or 0 for process in ranks))
