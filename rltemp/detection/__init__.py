"""Detection: distillation of torchvision's Faster R-CNN and of dense heads, at temperatures per proposal or anchor.

    distiller = DetectionDistiller(student, teacher, rltemp.load_policy(path))
    losses = distiller(images, targets, progress)   # torchvision's, and "distillation"
    sum(losses.values()).backward()

Any rule, objective and policy that works on images works on proposals. Only the detectors need torchvision.
"""

from rltemp.detection.boxed_images import BoxedImages
from rltemp.detection.canvas import paste_digits
from rltemp.detection.cells import load_cells
from rltemp.detection.dense import as_two_classes, binary_kd_loss
from rltemp.detection.distiller import DetectionDistiller, ProposalLogits
from rltemp.detection.networks import small_detector

__all__ = [
    "BoxedImages",
    "DetectionDistiller",
    "ProposalLogits",
    "as_two_classes",
    "binary_kd_loss",
    "load_cells",
    "paste_digits",
    "small_detector",
]
