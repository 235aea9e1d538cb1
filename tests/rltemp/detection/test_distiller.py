"""The plug-in against what a loop by hand computes from the detectors' own parts."""

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import MultiScaleRoIAlign, box_iou

import rltemp
from rltemp.detection import DetectionDistiller
from rltemp.errors import InputError

Make = Callable[..., Any]
Batch = tuple[list[Tensor], list[dict[str, Tensor]]]


@pytest.fixture
def pair(detector: Make) -> tuple[Any, Any]:
    return detector(), detector(width=8, seed=1)


def distiller(pair: tuple[Any, Any], **options: Any) -> DetectionDistiller:
    return DetectionDistiller(*pair, rltemp.make_policy("static", temperature=2.0), **options)


def seeded(call: Callable[[], Any]) -> Any:
    """Torchvision samples proposals by the global generator."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return call()


def hooks(detector: Any) -> list[str]:
    found = [
        name
        for name, module in detector.named_modules()
        if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks
    ]
    return found + [name for name in vars(detector.roi_heads) if name == "select_training_samples"]


def test_torchvisions_losses_are_what_they_are_without_it(pair: tuple[Any, Any], batch: Batch) -> None:
    plain = seeded(lambda: pair[0](*batch))
    losses = seeded(lambda: distiller(pair)(*batch))
    assert set(losses) == {*plain, "distillation"}
    for name, value in plain.items():
        assert losses[name].item() == value.item(), name


def test_logits_and_labels_are_those_of_the_students_own_loss(pair: tuple[Any, Any], batch: Batch) -> None:
    losses, seen = seeded(lambda: distiller(pair).observe(*batch))
    assert seen.student_logits.shape == seen.teacher_logits.shape == (len(seen.labels), 4)
    expected = F.cross_entropy(seen.student_logits, seen.labels)
    assert losses["loss_classifier"].item() == pytest.approx(expected.item(), rel=1e-6)


def test_labels_are_the_classes_of_the_boxes_that_proposals_overlap(pair: tuple[Any, Any], batch: Batch) -> None:
    _, seen = seeded(lambda: distiller(pair).observe(*batch))
    expected = []
    for boxes, target in zip(seen.proposals, batch[1], strict=True):
        overlap, which = box_iou(boxes, target["boxes"]).max(1)
        expected += torch.where(overlap >= 0.5, target["labels"][which], 0).tolist()
    assert seen.labels.tolist() == expected
    assert {0, 1, 2, 3} == set(expected)


def test_the_teacher_classifies_the_same_boxes_of_the_same_images(pair: tuple[Any, Any], batch: Batch) -> None:
    _, seen = seeded(lambda: distiller(pair).observe(*batch))
    student, teacher = pair
    for network, logits in ((student.eval(), seen.student_logits), (teacher, seen.teacher_logits)):
        images, _ = network.transform(batch[0])
        features = {"0": network.backbone(images.tensors)}
        heads = network.roi_heads
        pooled = heads.box_roi_pool(features, list(seen.proposals), images.image_sizes)
        torch.testing.assert_close(heads.box_predictor(heads.box_head(pooled))[0], logits)


class Pyramid(nn.Module):
    """A backbone with two maps."""

    out_channels = 16

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(1, 16, 3, 4, 1), nn.Conv2d(1, 16, 3, 8, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return OrderedDict(fine=self.fine(x), coarse=self.coarse(x))


def test_the_teacher_may_have_a_pyramid_and_other_parts(pair: tuple[Any, Any], batch: Batch) -> None:
    student, teacher = pair
    with torch.random.fork_rng():
        teacher.backbone = Pyramid()
        teacher.roi_heads.box_roi_pool = MultiScaleRoIAlign(["fine", "coarse"], 3, 2)
        teacher.roi_heads.box_head = nn.Sequential(nn.Flatten(), nn.Linear(16 * 9, 64))
    _, seen = seeded(lambda: distiller(pair).observe(*batch))
    images, _ = student.transform(batch[0])
    pooled = teacher.roi_heads.box_roi_pool(teacher.backbone(images.tensors), list(seen.proposals), images.image_sizes)
    expected = teacher.roi_heads.box_predictor(teacher.roi_heads.box_head(pooled))[0]
    torch.testing.assert_close(seen.teacher_logits, expected)
    assert expected.std() > 0.01


def test_mixed_precision_is_widened(pair: tuple[Any, Any], batch: Batch) -> None:
    full = seeded(lambda: distiller(pair)(*batch))["distillation"]
    with torch.autocast("cpu", torch.bfloat16):
        half = seeded(lambda: distiller(pair)(*batch))["distillation"]
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(full.item(), rel=0.2)


def test_the_term_is_the_weighted_mean_of_a_loop_in_float64(pair: tuple[Any, Any], batch: Batch) -> None:
    weighted = distiller(pair, foreground=3.0, background=0.5)
    _, seen = seeded(lambda: weighted.observe(*batch))
    total = 0.0
    rows = zip(seen.student_logits.tolist(), seen.teacher_logits.tolist(), seen.labels.tolist(), strict=True)
    for student, teacher, label in rows:
        q, p = (
            [math.exp(z / 2) / sum(math.exp(y / 2) for y in logits) for z in logits] for logits in (student, teacher)
        )
        kl = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        total += (3.0 if label else 0.5) * 4.0 * kl
    assert total > 0.1
    assert weighted.distillation(seen).item() == pytest.approx(total / len(seen.labels), rel=1e-4)


def test_gradients_reach_the_student_alone(pair: tuple[Any, Any], batch: Batch) -> None:
    student, teacher = pair
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    distiller(pair).train()(*batch)["distillation"].backward()
    assert student.backbone[0].weight.grad.abs().sum() > 0
    assert student.roi_heads.box_predictor.cls_score.weight.grad.abs().sum() > 0
    # The classification branch is distilled, that of the boxes is not.
    assert student.roi_heads.box_predictor.bbox_pred.weight.grad is None
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert not teacher.training
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_the_teacher_is_neither_trained_nor_saved(pair: tuple[Any, Any]) -> None:
    module = distiller(pair).train()
    assert {id(parameter) for parameter in module.parameters()} == {id(p) for p in pair[0].parameters()}
    assert {name.partition(".")[0] for name in module.state_dict()} == {"student"}
    assert module.teacher is pair[1]


def test_no_hook_is_left(pair: tuple[Any, Any], batch: Batch, detector: Make) -> None:
    distiller(pair)(*batch)
    assert hooks(pair[0]) == hooks(pair[1]) == []


def test_no_hook_is_left_by_an_error(pair: tuple[Any, Any], batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> Tensor:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(pair[0].roi_heads.box_head, "forward", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        distiller(pair)(*batch)
    assert hooks(pair[0]) == []


def test_a_sampler_of_ones_own_stays(pair: tuple[Any, Any], batch: Batch) -> None:
    heads = pair[0].roi_heads
    usual = heads.select_training_samples

    def three(proposals: Any, targets: Any) -> Any:
        return tuple([each[-3:] for each in part] for part in usual(proposals, targets))

    heads.select_training_samples = three
    _, seen = distiller(pair).observe(*batch)
    assert len(seen.labels) == 6
    assert heads.select_training_samples is three


@pytest.mark.parametrize("name", sorted(set(rltemp.list_policies()) - {"influence"}))
def test_every_rule_works_on_proposals(pair: tuple[Any, Any], batch: Batch, name: str) -> None:
    module = DetectionDistiller(*pair, rltemp.make_policy(name))
    loss = module(*batch, progress=0.5)["distillation"]
    loss.backward()
    assert loss.item() > 0
    assert math.isfinite(loss.item())
    for parameter in module.policy.parameters():
        assert parameter.grad is not None


@pytest.mark.parametrize("name", ["rltemp/digits-logits", "rltemp/general-kd", "rltemp/cifar100-schedule"])
@pytest.mark.parametrize("objective", [rltemp.KD(), rltemp.DKD()])
def test_policies_of_classification_are_reused(
    pair: tuple[Any, Any], batch: Batch, name: str, objective: rltemp.KD | rltemp.DKD
) -> None:
    policy = rltemp.load_policy(name)
    module = DetectionDistiller(*pair, policy, objective)
    _, seen = module.observe(*batch)
    loss = module.distillation(seen, 0.3)
    temperatures = policy(seen.student_logits, seen.teacher_logits, seen.labels, 0.3)
    expected = objective(seen.student_logits, seen.teacher_logits, seen.labels, temperatures).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    # What a policy sees depends on the label, and background is one.
    if "targets" in policy.needs:
        others = policy(seen.student_logits, seen.teacher_logits, torch.full_like(seen.labels, 1), 0.3)
        assert not torch.equal(others.teacher, temperatures.teacher)


def test_images_without_boxes_are_background(pair: tuple[Any, Any], batch: Batch) -> None:
    empty = [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)} for _ in batch[0]]
    _, seen = distiller(pair).observe(batch[0], empty)
    assert len(seen.labels)
    assert not seen.labels.any()
    assert distiller(pair).distillation(seen).item() > 0
    assert distiller(pair, background=0.0).distillation(seen).item() == 0.0


def test_without_proposals_the_term_is_exactly_zero(pair: tuple[Any, Any], batch: Batch) -> None:
    empty = [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)} for _ in batch[0]]
    pair[0].rpn.score_thresh = 1.0  # no score is above it
    _, seen = distiller(pair).observe(batch[0], empty)
    assert seen.student_logits.shape == seen.teacher_logits.shape == (0, 4)
    loss = distiller(pair)(batch[0], empty)["distillation"]
    assert loss.item() == 0.0
    loss.backward()
    assert not pair[0].roi_heads.box_predictor.cls_score.weight.grad.any()


class Hidden(nn.Module):
    """A predictor that does not say how many classes it has."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Any:
        return self.inner(x)


def test_detectors_that_do_not_fit_are_refused(detector: Make, batch: Batch) -> None:
    student, policy = detector(), rltemp.make_policy("static")
    with pytest.raises(InputError, match=r"^teacher must have the student's 4 classes, .* got 3$"):
        DetectionDistiller(student, detector(classes=2), policy)
    with pytest.raises(InputError, match=r"^teacher must transform images as the student does, min_size=\(32,\), got"):
        DetectionDistiller(student, detector(side=48), policy)
    other = detector()
    other.transform.image_std = [0.5]
    with pytest.raises(InputError, match=r"image_std=\(0.25,\), got image_std=\(0.5,\)$"):
        DetectionDistiller(student, other, policy)
    with pytest.raises(InputError, match=r"^teacher must be a torchvision Faster R-CNN, got Linear without transform$"):
        DetectionDistiller(student, nn.Linear(2, 2), policy)
    with pytest.raises(InputError, match=r"^policy must need no probe alignment"):
        DetectionDistiller(student, detector(), rltemp.make_policy("influence"))
    weighing = rltemp.LearnedPolicy(rltemp.LogitFeatures(("progress",)), (), label_range=(0.5, 2.0))
    with pytest.raises(InputError, match=r"^policy must leave the labels as they are for detectors"):
        DetectionDistiller(student, detector(), weighing)
    with pytest.raises(InputError, match=r"^background must be finite and >= 0, got -1$"):
        DetectionDistiller(student, detector(), policy, background=-1.0)
    hidden = detector(classes=2)
    hidden.roi_heads.box_predictor = Hidden(hidden.roi_heads.box_predictor)
    with pytest.raises(InputError, match=r"^teacher must have the student's 4 classes, .* got 3$"):
        DetectionDistiller(student, hidden, policy)(*batch)
    with pytest.raises(InputError, match=r"^teacher must be on cpu, as the student's images, got meta$"):
        DetectionDistiller(student, detector().to("meta"), policy)(*batch)


def test_batches_that_do_not_fit_are_refused(pair: tuple[Any, Any], batch: Batch) -> None:
    module, (images, targets) = distiller(pair), batch
    (box,) = targets[1]["boxes"]
    for given, message in (
        (([], []), r"^images must be a list of at least one tensor \[Ch, H, W\], got 0$"),
        ((images, targets[:1]), r"^targets must be a list of 2, one per image, got 1$"),
        ((images, None), r"^targets must be a list of 2, one per image, got NoneType$"),
        ((images, [targets[0], {}]), r"^targets\[1\] must have a tensor 'boxes', got \{\}$"),
        ((images, [targets[0], {**targets[1], "labels": torch.tensor([4])}]), r"must lie in \[1, 4\), .* from 4 to 4$"),
        ((images, [targets[0], {**targets[1], "labels": torch.tensor([0])}]), r"must lie in \[1, 4\), .* from 0 to 0$"),
        (
            (images, [targets[0], {**targets[1], "labels": torch.tensor([1.0])}]),
            r"must be int64 \[1\], .*float32 \[1\]$",
        ),
        ((images, [targets[0], {**targets[1], "boxes": torch.ones(1, 4)}]), r"got a box without area$"),
        (
            (images, [targets[0], {**targets[1], "boxes": box}]),
            r"must be floating point \[M, 4\], got torch.float32 \[4\]$",
        ),
    ):
        with pytest.raises(InputError, match=message):
            module(*given)
    with pytest.raises(InputError, match=r"^student must be in training mode"):
        module.eval()(*batch)
