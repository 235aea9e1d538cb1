"""Export of a policy as a graph for other runtimes: `torch.export`, and ONNX (the extra `rltemp[export]`).

Inputs of the graph are, by name: student_logits [B, C], teacher_logits [B, C], targets [B] and alignment [B, A] if the
policy needs them, and progress []. Its outputs are teacher_temperature, student_temperature, and scale, each [B], and
label_weight of a policy that chooses it. The batch size B is free; the number of classes C is part of the graph.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from rltemp.alignment import ALIGNMENT_TEMPERATURES
from rltemp.errors import InputError
from rltemp.policies.policy import TemperaturePolicy
from rltemp.temperatures import Temperatures

__all__ = ["export_onnx", "export_program"]

_OUTPUTS = ("teacher_temperature", "student_temperature", "scale", "label_weight")
_TOLERANCE = 1e-4


def export_program(policy: TemperaturePolicy, classes: int) -> torch.export.ExportedProgram:
    """Export the policy as an `ExportedProgram`, to run without rltemp or to compile ahead of time.

    Args:
        policy: any but the random one, whose generator a graph cannot hold.
        classes: number of classes C, >= 2, fixed in the graph.

    Raises:
        InputError: for a policy that `torch.export` cannot trace, or fewer than two classes.
    """
    inputs = _example(policy, classes, batch=3)
    try:
        return torch.export.export(
            _Graph(policy, tuple(inputs)), tuple(inputs.values()), dynamic_shapes=(_shapes(inputs),)
        )
    except (RuntimeError, TypeError) as error:
        raise InputError(f"policy must be one that torch.export can trace, got {type(policy).__name__}") from error


def export_onnx(policy: TemperaturePolicy, path: str | os.PathLike[str], classes: int) -> Path:
    """Write the policy as an ONNX file, and check that onnxruntime computes the same temperatures.

    Args:
        policy: any but the random one, whose generator a graph cannot hold.
        path: the file to write, in an existing folder.
        classes: number of classes C, >= 2, fixed in the graph.

    Returns:
        The path of the file.

    Raises:
        InputError: for a policy that `torch.export` cannot trace, fewer than two classes, a missing folder, an
            installation without the extra, or temperatures that differ in onnxruntime by more than a relative 1e-4.
    """
    try:
        import onnxruntime  # type: ignore[import-untyped]
        import onnxscript  # noqa: F401 (torch.onnx exports with it)
    except ImportError as error:
        raise InputError('ONNX needs the packages of the extra: pip install "rltemp[export]"') from error
    program = export_program(policy, classes)
    inputs, outputs = _example(policy, classes, batch=3), list(_OUTPUTS if policy.weighs_labels else _OUTPUTS[:3])
    model = torch.onnx.export(program, (), input_names=list(inputs), output_names=outputs, dynamo=True, verbose=False)
    assert model is not None  # only the legacy exporter returns None
    target = Path(path)
    if not target.parent.is_dir():
        raise InputError(f"path must lie in an existing folder, got {path}")
    model.save(target)
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    for batch in (1, 3, 17):
        inputs = _example(policy, classes, batch)
        given = session.run(outputs, {name: value.numpy() for name, value in inputs.items()})
        for name, ours, theirs in zip(outputs, _Graph(policy, tuple(inputs))(*inputs.values()), given, strict=True):
            off = float((torch.from_numpy(theirs) / ours.detach() - 1.0).abs().max())
            if not off <= _TOLERANCE:
                raise InputError(f"policy must compute the same in onnxruntime, got {name} off by {off:.1e}")
    return target


class _Graph(nn.Module):
    """The policy with positional inputs and plain tensors as outputs."""

    def __init__(self, policy: TemperaturePolicy, names: tuple[str, ...]) -> None:
        super().__init__()
        self.policy, self.names = policy, names

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        chosen: Temperatures = self.policy(**dict(zip(self.names, inputs, strict=True)))
        return chosen.tensors


def _example(policy: TemperaturePolicy, classes: int, batch: int) -> dict[str, Tensor]:
    """Random inputs of the policy for a batch of that size, by name, in the order of the graph's inputs."""
    if classes < 2:
        raise InputError(f"classes must be >= 2, got {classes}")
    generator = torch.Generator().manual_seed(batch)
    inputs = {
        name: 4.0 * torch.randn(batch, classes, generator=generator) for name in ("student_logits", "teacher_logits")
    }
    if "targets" in policy.needs:
        inputs["targets"] = torch.randint(classes, (batch,), generator=generator)
    inputs["progress"] = torch.tensor(0.3)
    if "alignment" in policy.needs:
        inputs["alignment"] = torch.randn(batch, len(ALIGNMENT_TEMPERATURES), generator=generator)
    if "position" in policy.needs:
        inputs["position"] = torch.rand(batch, generator=generator)
    return inputs


def _shapes(inputs: dict[str, Tensor]) -> tuple[dict[int, object] | None, ...]:
    return tuple({0: torch.export.Dim.DYNAMIC} if value.ndim else None for value in inputs.values())
