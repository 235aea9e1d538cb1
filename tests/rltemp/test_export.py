import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import rltemp
from rltemp.export import export_onnx, export_program
from rltemp.features import ALIGNED_FEATURES, CONTEXT_FEATURES

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def trained(names: tuple[str, ...] = rltemp.LogitFeatures().names, **options: Any) -> rltemp.LearnedPolicy:
    policy = rltemp.LearnedPolicy(rltemp.LogitFeatures(names), (8,), **options)
    generator = torch.Generator().manual_seed(3)
    for parameter in policy.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return policy


def test_a_program_gives_the_temperatures_at_any_batch_size_without_the_policy(tmp_path: Path) -> None:
    policy = trained()
    torch.export.save(export_program(policy, classes=10), tmp_path / "policy.pt2")
    program = torch.export.load(tmp_path / "policy.pt2").module()
    for batch in (1, 4, 33):
        student, teacher, targets = torch.randn(batch, 10), torch.randn(batch, 10), torch.arange(batch) % 10
        temperatures = policy(student, teacher, targets, 0.7)
        given = program(student, teacher, targets, torch.tensor(0.7))
        for ours, theirs in zip((temperatures.teacher, temperatures.student, temperatures.scale), given, strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", [name for name in rltemp.list_policies() if name != "random"])
def test_every_rule_but_the_random_one_is_a_program(name: str) -> None:
    policy = rltemp.make_policy(name, **({"classes": 10} if name == "ctkd-instance" else {}))
    program = export_program(policy, classes=10).module()
    generator = torch.Generator().manual_seed(1)
    for batch in (1, 4, 33):
        student, teacher = (3 * torch.randn(batch, 10, generator=generator) for _ in range(2))
        aligned = [torch.randn(batch, 7, generator=generator)] if "alignment" in policy.needs else []
        temperatures = policy(student, teacher, None, 0.7, *aligned)
        given = program(student, teacher, torch.tensor(0.7), *aligned)
        for ours, theirs in zip((temperatures.teacher, temperatures.student, temperatures.scale), given, strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("policy", "classes"),
    [
        (trained(), 100),
        (trained(ALIGNED_FEATURES), 10),
        (trained(("teacher_confidence", "progress")), 2),
        (trained(("progress",), scale=32.0), 100),
        (trained(activation="relu", squash=True), 10),
        (trained(label_range=(0.25, 4.0)), 10),
        (trained(CONTEXT_FEATURES), 10),
        (rltemp.make_policy("dtkd"), 10),
        (rltemp.make_policy("spread"), 10),
    ],
    ids=["logits", "aligned", "blind", "schedule", "squashed", "labels", "batch", "dtkd", "spread"],
)
def test_onnxruntime_gives_the_temperatures(policy: rltemp.TemperaturePolicy, classes: int, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = export_onnx(policy, tmp_path / "policy.onnx", classes)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(1)
    everything = {
        "student_logits": 3 * torch.randn(7, classes, generator=generator),
        "teacher_logits": 3 * torch.randn(7, classes, generator=generator),
        "targets": torch.arange(7) % classes,
        "progress": torch.tensor(0.9),
        "alignment": torch.randn(7, 7, generator=generator),
    }
    wanted = ["student_logits", "teacher_logits", *sorted({"targets", "alignment"} & policy.needs), "progress"]
    assert {entry.name for entry in session.get_inputs()} <= set(wanted)
    names = {entry.name for entry in session.get_inputs()}
    outputs = session.run(None, {name: everything[name].numpy() for name in wanted if name in names})
    columns = policy(**{name: everything[name] for name in wanted}).tensors
    told = ["teacher_temperature", "student_temperature", "scale", "label_weight"][: len(columns)]
    assert [entry.name for entry in session.get_outputs()] == told
    for ours, theirs in zip(columns, outputs, strict=True):
        torch.testing.assert_close(ours, torch.from_numpy(theirs), rtol=1e-4, atol=1e-5)


def test_wrong_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(rltemp.InputError, match="classes must be >= 2, got 1"):
        export_program(trained(), 1)
    with pytest.raises(rltemp.InputError, match="can trace, got RandomPolicy"):
        export_program(rltemp.make_policy("random"), 10)
    with pytest.raises(rltemp.InputError, match="path must lie in an existing folder"):
        export_onnx(trained(), tmp_path / "nowhere" / "policy.onnx", 10)
