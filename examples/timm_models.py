"""timm: any pair of its models, its optimizers and schedules, and a paper's whole method as the criterion.

python examples/timm_models.py
"""

import timm
import torch
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from torch import Tensor, nn

import rltemp

STEPS, BATCH, CLASSES = 12, 16, 4


def made_up_images() -> tuple[Tensor, Tensor]:
    """Noisy images of 32 x 32 px whose class is which corner is bright."""
    targets = torch.arange(BATCH * 4) % CLASSES
    images = 0.3 * torch.randn(len(targets), 3, 32, 32)
    for image, target in zip(images, targets.tolist(), strict=True):
        image[:, 16 * (target // 2) :, 16 * (target % 2) :][:, :16, :16] += 1.0
    return images, targets


def main(preset: str = "dtkd") -> list[float]:
    """Distill one timm model into another; the loss of every step."""
    torch.manual_seed(0)
    # `pretrained=True` takes published weights instead.
    teacher = timm.create_model("test_convnext", num_classes=CLASSES).eval().requires_grad_(False)
    student = timm.create_model("test_efficientnet", num_classes=CLASSES)
    criterion = rltemp.make_preset(preset).loss()

    optimizer = create_optimizer_v2(nn.ModuleList([student, criterion]), opt="adamw", lr=0.01, weight_decay=0.01)
    schedule = CosineLRScheduler(optimizer, t_initial=STEPS, t_in_epochs=False)
    images, targets = made_up_images()
    losses = []
    for step in range(STEPS):
        batch = torch.randperm(len(images))[:BATCH]
        loss = criterion(student(images[batch]), teacher(images[batch]), targets[batch], progress=step / STEPS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step_update(step)
        losses.append(loss.item())
        print(f"step {step:2}  loss {losses[-1]:.3f}")
    return losses


if __name__ == "__main__":
    main()
