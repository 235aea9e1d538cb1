"""Detectors of torchvision's Faster R-CNN, with a temperature per proposal.

    python examples/detection.py [POLICY]

POLICY is a trained policy's folder, as classification made it; without one, NormKD serves.
"""

import sys

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign

import rltemp
from rltemp.detection import DetectionDistiller

STEPS, BATCH = 40, 4


def scenes(images: Tensor, targets: Tensor) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """A batch of canvases of 64 px with a digit of 24 px in each half, and their boxes and labels."""
    canvases = list(0.1 * torch.rand(BATCH, 1, 64, 64))
    found = []
    for canvas in canvases:
        boxes, labels = [], []
        for left in (0, 32):
            x, y = left + int(torch.randint(8, ())), int(torch.randint(40, ()))
            chosen = int(torch.randint(len(images), ()))
            canvas[0, y : y + 24, x : x + 24] += images[chosen].repeat_interleave(3, 0).repeat_interleave(3, 1)
            boxes.append([x, y, x + 24, y + 24])
            labels.append(int(targets[chosen]) + 1)  # 0 is background
        found.append({"boxes": torch.tensor(boxes, dtype=torch.float32), "labels": torch.tensor(labels)})
    return canvases, found


def detector(width: int) -> FasterRCNN:
    """A Faster R-CNN as torchvision's documentation builds one, on a backbone of one's own."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((1, width), (width, 2 * width), (2 * width, 4 * width)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.GroupNorm(4, outputs), nn.ReLU()]
    backbone = nn.Sequential(*layers)
    backbone.out_channels = 4 * width
    return FasterRCNN(
        backbone,
        num_classes=11,
        min_size=64,
        max_size=64,
        image_mean=[0.5],
        image_std=[0.25],
        rpn_anchor_generator=AnchorGenerator(((16, 24),), ((1.0,),)),
        box_roi_pool=MultiScaleRoIAlign(["0"], output_size=3, sampling_ratio=2),
        box_batch_size_per_image=32,
        rpn_post_nms_top_n_train=100,
    )


def main(policy_path: str | None = None) -> list[float]:
    """Distill a large detector into a small one; the distillation loss of every step, in nats."""
    torch.manual_seed(0)
    pixels, labels = load_digits(return_X_y=True)
    digits = torch.from_numpy(pixels).float().view(-1, 8, 8) / 16, torch.from_numpy(labels)
    teacher, student = detector(16), detector(8)
    optimizer = torch.optim.AdamW(teacher.parameters(), lr=0.002)
    for _ in range(STEPS):
        optimizer.zero_grad()
        sum(teacher(*scenes(*digits)).values()).backward()
        optimizer.step()

    policy = rltemp.load_policy(policy_path) if policy_path else rltemp.make_policy("normkd")
    distiller = DetectionDistiller(student, teacher, policy, background=0.5)
    optimizer = torch.optim.AdamW(distiller.parameters(), lr=0.002)
    history = []
    for step in range(STEPS):
        images, targets = scenes(*digits)
        losses = distiller(images, targets, progress=step / STEPS)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()

        history.append(losses["distillation"].item())
        if step % 10 == 0:
            print(f"step {step:3}  " + "  ".join(f"{name} {value.item():.3f}" for name, value in losses.items()))
    return history


if __name__ == "__main__":
    main(*sys.argv[1:2])
