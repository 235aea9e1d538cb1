"""The probe alignment of one student, for any training loop; `rltemp.alignment` derives the formula."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from rltemp.alignment import normalized_alignment, probe_gradient
from rltemp.checks import check_logits, check_targets, values_are_readable
from rltemp.errors import InputError
from rltemp.precision import without_autocast, working_precision
from rltemp.seeding import make_generator
from rltemp.transfer import to_device

__all__ = ["ProbeAlignment"]

_PROBING = contextvars.ContextVar("probing", default=False)
"""Whether the current forward passes are a probe's own, which the hooks do not record."""


class ProbeAlignment:
    """The probe alignment of one student, in any training loop.

    Hooks record the student's forward passes; the probe is called after each:

        probe = ProbeAlignment(student, student.classifier, images, targets)
        student_logits = student(batch)
        alignment = probe(student_logits, teacher_logits)
        temperatures = policy(student_logits, teacher_logits, labels, progress, alignment)

    Training is not affected: gradients, buffers, modes, and random numbers stay as they are. Other forward hooks on the
    student are called in the probe's own passes as well. `close`, or the end of a `with` block, removes the hooks.

    Args:
        student: the network that is trained.
        classifier: the student's last layer, linear, whose outputs are the logits.
        images: [N, ...], clean training images, as the student takes them in evaluation.
        targets: [N] class indices.
        every: calls between two refreshes of the probe's gradient, >= 1.
        size: images per refresh, >= 1, drawn anew each time; by default, and at most, all N.
        generator: draws these images; by default a new one with seed 0.
        scope: through which layers an instance acts on the probe. The "classifier" alone costs a forward pass of the
            probe per refresh; the whole "network" sees more, and costs a backward pass per refresh and a forward-mode
            derivative per call besides.

    Raises:
        InputError: for a classifier that is no linear layer of the student, or values out of range.
    """

    def __init__(
        self,
        student: nn.Module,
        classifier: nn.Module,
        images: Tensor,
        targets: Tensor,
        every: int = 1,
        *,
        size: int | None = None,
        generator: torch.Generator | None = None,
        scope: Literal["classifier", "network"] = "classifier",
    ) -> None:
        if scope not in ("classifier", "network"):
            raise InputError(f"scope must be 'classifier' or 'network', got {scope!r}")
        for name, value in (("every", every), ("size", size if size is not None else len(images))):
            if value < 1:
                raise InputError(f"{name} must be >= 1, got {value}")
        if all(classifier is not module for module in student.modules()):
            raise InputError(f"classifier must be a layer of student, got another {type(classifier).__name__}")
        if not isinstance(classifier, nn.Linear):
            raise InputError(f"classifier must be a linear layer, got {type(classifier).__name__}")
        check_targets(targets, len(images), classifier.out_features)
        self._student, self._classifier = student, classifier
        self._images, self._targets = images, targets
        self._every, self._size = every, min(size or len(images), len(images))
        self._generator = generator if generator is not None else make_generator(0, "probe")
        self._scope = scope
        self._calls = 0
        self._direction: dict[str, Tensor] = {}
        self._tap = _Tap()
        self._hooks = (
            student.register_forward_pre_hook(self._tap.keep_input, with_kwargs=True),
            classifier.register_forward_hook(self._tap.keep_output),
        )

    def __call__(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """Alignment [B, A] of the instances in the student's last forward pass, by `ALIGNMENT_TEMPERATURES`.

        It is positive where distilling the instance at that temperature lowers the probe loss, in units of the batch's
        root mean square at T = 4.

        Args:
            student_logits: [B, C], the output of that forward pass.
            teacher_logits: [B, C].

        Raises:
            InputError: before a forward pass, after `close`, or for logits of another pass (on accelerators: of another
                shape only).
        """
        check_logits(student_logits, teacher_logits)
        self._check_pass(student_logits)
        device = student_logits.device
        with torch.no_grad(), without_autocast(student_logits), _undisturbed(self._student, device):
            if self._calls % self._every == 0:
                self._direction = self._gradient(device)
            self._calls += 1
            student_logits, teacher_logits = working_precision(student_logits, teacher_logits)
            return normalized_alignment(self._tangent().to(student_logits), student_logits, teacher_logits)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the student that decides the alignments to come: calls, probe gradient, and generator."""
        return {
            "calls": self._calls,
            "direction": {name: value.clone() for name, value in self._direction.items()},
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict()` returned, so that the alignments to come are the same."""
        device = self._classifier.weight.device
        self._calls = state["calls"]
        self._direction = {name: value.to(device) for name, value in state["direction"].items()}
        self._generator.set_state(state["generator"])

    def close(self) -> None:
        """Remove the hooks from the student, and drop the recorded forward pass."""
        for hook in self._hooks:
            hook.remove()
        self._tap.logits = None

    def __enter__(self) -> ProbeAlignment:
        """Return the probe, which is closed at the end of the `with` block."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the probe: remove its hooks from the student."""
        self.close()

    def _check_pass(self, student_logits: Tensor) -> None:
        logits = self._tap.logits
        if logits is None:
            raise InputError("the watched student must have made a forward pass first, got none")
        if logits.shape != student_logits.shape:
            raise InputError(
                "student_logits must be those of the student's last forward pass, "
                f"of shape {list(logits.shape)}, got {list(student_logits.shape)}"
            )
        if values_are_readable(student_logits) and not torch.equal(logits.to(student_logits), student_logits):
            raise InputError(
                "student_logits must be what classifier gave in the student's last forward pass, got other values"
            )

    def _gradient(self, device: torch.device) -> dict[str, Tensor]:
        """Gradient of the probe's mean cross-entropy by parameter name: of the classifier, or of all trained ones."""
        images, targets = self._draw(device)
        if self._scope == "classifier":
            weight, bias = probe_gradient(*self._forward({}, (images,)), targets)
            return {"weight": weight, "bias": bias}
        # New leaves on the same memory, so that hooks on the student's own parameters are not called.
        parameters = {
            name: value.detach().requires_grad_()
            for name, value in self._student.named_parameters()
            if value.requires_grad
        }
        if not parameters:
            raise InputError("student must have parameters that require gradients for scope 'network', got none")
        with torch.enable_grad():
            loss = F.cross_entropy(self._forward(parameters, (images,))[1], targets)
            gradients = torch.autograd.grad(loss, list(parameters.values()), materialize_grads=True)
        return dict(zip(parameters, gradients, strict=True))

    def _draw(self, device: torch.device) -> tuple[Tensor, Tensor]:
        if self._size == len(self._images):
            return to_device(self._images, device), to_device(self._targets, device)
        order = torch.randperm(len(self._images), generator=self._generator)
        chosen = to_device(order[: self._size], self._images.device)
        return to_device(self._images[chosen], device), to_device(self._targets[chosen], device)

    def _tangent(self) -> Tensor:
        """Tangent [B, C] of the last pass's logits along the probe gradient."""
        args, kwargs, hidden = self._tap.args, self._tap.kwargs, self._tap.hidden
        if self._scope == "classifier":
            tangent = hidden.to(self._direction["weight"].dtype) @ self._direction["weight"]
            return tangent if self._classifier.bias is None else tangent + self._direction["bias"]
        parameters = {
            name: value.detach() for name, value in self._student.named_parameters() if name in self._direction
        }

        def logits_at(moved: dict[str, Tensor]) -> Tensor:
            return self._forward(moved, args, kwargs)[1]

        try:
            # The only kernel of attention that has a forward-mode derivative.
            with sdpa_kernel(SDPBackend.MATH):
                along: Tensor = jvp(logits_at, (parameters,), (self._direction,))[1]
        except NotImplementedError as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"scope must be 'classifier' for a student of these layers: {reason}") from error
        return along

    def _forward(
        self, parameters: Mapping[str, Tensor], args: Sequence[Any], kwargs: Mapping[str, Any] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Input [B, H] and output [B, C] of the classifier when the student runs with some parameters replaced."""
        # Copies, for a layer that writes into its buffers even in evaluation.
        state = {name: value.clone() for name, value in self._student.named_buffers()} | dict(parameters)
        dtype = next(self._classifier.parameters()).dtype
        inputs = tuple(_widen(value, dtype) for value in args)
        named = {name: _widen(value, dtype) for name, value in (kwargs or {}).items()}
        passes: list[tuple[Tensor, Tensor]] = []
        with self._classifier.register_forward_hook(lambda _, taken, given: passes.append((taken[0], given))):
            functional_call(self._student, state, inputs, named)
        return passes[-1]


class _Tap:
    """The last forward pass of a student: its arguments, and the input [B, H] and output [B, C] of its classifier."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    hidden: Tensor
    logits: Tensor | None = None

    def keep_input(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Forward pre-hook of the student: keep its arguments, and drop the logits of the pass before."""
        if not _PROBING.get():
            self.args, self.kwargs, self.logits = args, kwargs, None

    def keep_output(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        """Forward hook of the classifier: keep its input and output, detached."""
        if not _PROBING.get():
            self.hidden, self.logits = args[0].detach(), output.detach()

    def __reduce__(self) -> tuple[type[_Tap], tuple[()]]:
        # A deep copy of the student copies its hooks, but must not copy the recorded pass.
        return _Tap, ()


@contextlib.contextmanager
def _undisturbed(student: nn.Module, device: torch.device) -> Iterator[None]:
    """Evaluation mode and no recording inside the block; restores modes and random numbers afterwards."""
    modes = [(module, module.training) for module in student.modules()]
    probing = _PROBING.set(True)
    try:
        with torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type):
            # Layer by layer, since `train()` would unfreeze a layer that is kept in evaluation mode.
            for module, _ in modes:
                module.training = False
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        _PROBING.reset(probing)


def _widen(value: Any, dtype: torch.dtype) -> Any:
    """A floating-point tensor in the parameters' dtype, since nothing else casts it outside autocast.

    Other values are returned unchanged.
    """
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value
