"""A training step as one compiled graph: student, policy and loss.

python examples/compiled_step.py
"""

import sys

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import rltemp

STEPS, BATCH, PIXELS, CLASSES = 20, 16, 20, 5


def main(backend: str = "inductor") -> list[float]:
    """Distill a teacher into a student; the cross-entropy of every step."""
    torch.manual_seed(0)
    images = torch.randn(64, PIXELS)
    teacher = nn.Linear(PIXELS, CLASSES).requires_grad_(False)
    targets = teacher(images).argmax(1)
    student = nn.Sequential(nn.Linear(PIXELS, 8), nn.ReLU(), nn.Linear(8, CLASSES))

    policy = rltemp.load_policy("rltemp/general-kd")

    @torch.compile(fullgraph=True, backend=backend)
    def forward(images: Tensor, targets: Tensor, progress: Tensor) -> tuple[Tensor, Tensor]:
        student_logits, teacher_logits = student(images), teacher(images)
        temperatures = policy(student_logits, teacher_logits, targets, progress)
        kd = rltemp.kd_loss(student_logits, teacher_logits, temperatures).mean()
        return F.cross_entropy(student_logits, targets), kd

    optimizer = torch.optim.Adam(student.parameters(), lr=0.05)
    losses = []
    for step in range(STEPS):
        batch = torch.randperm(len(images))[:BATCH]
        # Progress is a tensor: a number would be a constant of the graph, which every step would compile anew.
        ce, kd = forward(images[batch], targets[batch], torch.tensor(step / STEPS))
        optimizer.zero_grad()
        (ce + 0.9 * kd).backward()
        optimizer.step()
        losses.append(ce.item())
    return losses


if __name__ == "__main__":
    values = main(*sys.argv[1:])
    print(f"cross-entropy {values[0]:.3f}, after {STEPS} steps {values[-1]:.3f}")
