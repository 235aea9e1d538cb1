"""A plain PyTorch loop on several devices, by DistributedDataParallel or by FSDP.

    torchrun --nproc-per-node 2 examples/several_devices.py [fsdp] [POLICY]

POLICY is a trained policy's folder, by default one that comes with rltemp and looks at its whole minibatch.
"""

import sys

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

import rltemp

STEPS, BATCH, PIXELS, CLASSES = 20, 16, 20, 5


def everyones(own: Tensor) -> Tensor:
    """The rows of all processes, without gradient, in the place of this one's."""
    parts = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, own.detach().contiguous())
    return torch.cat(parts)


def spread(student: nn.Module, kind: str) -> nn.Module:
    """The student on all devices: copies whose gradients are averaged, or one that is cut into shards."""
    if kind == "ddp":
        return DistributedDataParallel(student)
    mesh = init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (distributed.get_world_size(),))
    fully_shard(student, mesh=mesh)
    return student


def main(kind: str = "ddp", policy_path: str = "rltemp/general-kd") -> list[float]:
    """Distill a teacher into a student; the cross-entropy of every step, its mean over all devices."""
    torch.manual_seed(0)  # in every process: they draw the same minibatches, and take their rows
    images = torch.randn(64, PIXELS)
    teacher = nn.Linear(PIXELS, CLASSES).requires_grad_(False)
    targets = teacher(images).argmax(1)
    student = spread(nn.Sequential(nn.Linear(PIXELS, 8), nn.ReLU(), nn.Linear(8, CLASSES)), kind)

    rank, size = distributed.get_rank(), BATCH // distributed.get_world_size()
    policy = rltemp.load_policy(policy_path)
    optimizer = torch.optim.Adam(student.parameters(), lr=0.05)
    losses = []
    for step in range(STEPS):
        mine = slice(rank * size, (rank + 1) * size)
        batch = torch.randperm(len(images))[:BATCH][mine]
        student_logits, teacher_logits = student(images[batch]), teacher(images[batch])

        seen = [student_logits, teacher_logits, targets[batch]]
        if policy.over_batch:  # it compares instances: with those of all devices, or each device has its own answer
            chosen = policy(*map(everyones, seen), step / STEPS)
            temperatures = rltemp.Temperatures(chosen.teacher[mine], chosen.student[mine], chosen.scale[mine])
        else:
            temperatures = policy(*seen, step / STEPS)
        kd = rltemp.kd_loss(student_logits, teacher_logits, temperatures).mean()
        ce = F.cross_entropy(student_logits, targets[batch])

        optimizer.zero_grad()
        (ce + 0.9 * kd).backward()
        optimizer.step()
        losses.append(everyones(ce[None]).mean().item())
    return losses


if __name__ == "__main__":
    distributed.init_process_group()
    values = main(*sys.argv[1:])
    if distributed.get_rank() == 0:
        print(f"cross-entropy {values[0]:.3f}, after {STEPS} steps {values[-1]:.3f}")
    distributed.destroy_process_group()
