"""A plain PyTorch loop whose temperatures a policy chooses.

    python examples/plain_pytorch.py [POLICY]

POLICY is a trained policy's folder; without one, a schedule from T = 16 to 1 serves.
"""

import itertools
import sys

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import rltemp

EPOCHS, BATCH = 5, 32


def mlp(*sizes: int) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def train_teacher(images: Tensor, targets: Tensor) -> nn.Module:
    """A larger network, trained on the labels."""
    teacher = mlp(64, 128, 10)
    optimizer = torch.optim.Adam(teacher.parameters(), lr=0.005)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(teacher(images), targets).backward()
        optimizer.step()
    return teacher.requires_grad_(False)


def main(policy_path: str | None = None) -> float:
    """Distill a teacher into a student; the student's accuracy on test images, in [0, 1]."""
    torch.manual_seed(0)
    pixels, labels = load_digits(return_X_y=True)
    images, targets = torch.from_numpy(pixels).float() / 16, torch.from_numpy(labels)
    test_images, test_targets, images, targets = images[600:], targets[600:], images[:600], targets[:600]
    teacher, student = train_teacher(images, targets), mlp(64, 16, 10)

    policy = rltemp.load_policy(policy_path) if policy_path else rltemp.make_policy("anneal")
    # Some policies ask which way the student must move to do better on a probe of training images.
    aligned = "alignment" in policy.needs
    probe = rltemp.ProbeAlignment(student, student[-1], images, targets, scope="network") if aligned else None

    optimizer = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    steps = EPOCHS * (len(images) // BATCH)
    for step in range(steps):
        batch = torch.randint(len(images), (BATCH,))
        student_logits, teacher_logits = student(images[batch]), teacher(images[batch])

        alignment = probe(student_logits, teacher_logits) if probe else None
        temperatures = policy(student_logits, teacher_logits, targets[batch], step / steps, alignment)
        kd = rltemp.kd_loss(student_logits, teacher_logits, temperatures).mean()
        loss = 0.1 * F.cross_entropy(student_logits, targets[batch]) + 0.9 * kd

        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 30 == 0:
            print(f"step {step:3}  loss {loss.item():.3f}  mean T {temperatures.student.mean().item():.2f}")

    accuracy = (student(test_images).argmax(1) == test_targets).float().mean().item()
    print(f"test accuracy {accuracy:.1%}")
    return accuracy


if __name__ == "__main__":
    main(*sys.argv[1:2])
