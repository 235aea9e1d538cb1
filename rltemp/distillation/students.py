"""K students of one architecture side by side, each with its own parameters."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp, stack_module_state, vmap

from rltemp.distillation.normalization import Moments, Normalization, normalizations, watch_moments
from rltemp.distillation.randomness import ForwardSeeds, random_layers, seeded_forward
from rltemp.errors import InputError
from rltemp.networks import Execution, Network

__all__ = ["LoopStudents", "Output", "StackedStudents", "Students"]

_PLAIN = Execution()


class Output(NamedTuple):
    """Outputs of K students on their batches: features [K, B, H], the classifier's input, and logits [K, B, C]."""

    features: Tensor
    logits: Tensor


class Students(nn.Module, ABC):
    """K networks of one architecture.

    No parameter is shared, and no gradient crosses from one student to another, so that an optimizer that works element
    by element (SGD, Adam) trains each student as if it were alone.

    Attributes:
        count: number of students K.
        random_layers: names of the layers that draw in training, such as dropout.
    """

    count: int
    random_layers: tuple[str, ...] = ()

    @abstractmethod
    def forward(self, images: Tensor, seeds: Sequence[int] = ()) -> Output:
        """Features and logits of each student on its own batch, in the current mode, with their graph.

        Args:
            images: [K, B, ...].
            seeds: of the students' random layers, one per student in training mode; empty without random layers.

        Raises:
            InputError: for students with random layers in training mode, without one seed each.
        """

    def forward_seeds(self, seeds: Sequence[int]) -> ForwardSeeds:
        """Source of the seeds that `forward` takes, from one seed per student; gives none without random layers."""
        return ForwardSeeds(seeds if self.random_layers else ())

    @abstractmethod
    def forward_with_moments(self, images: Tensor, seeds: Sequence[int] = ()) -> tuple[Output, list[list[Moments]]]:
        """Features, logits, and batch moments of each student on its own batch `images` [K, B, ...], with graph.

        The moments are those of each layer of `normalizations()`, in the order of its calls. Random layers in training
        mode need one of `seeds` per student; without them the call raises `InputError`.
        """

    @abstractmethod
    def normalizations(self) -> list[Normalization]:
        """Batch normalization layers of the students, whose running statistics move in training mode."""

    @abstractmethod
    def evaluate(self, images: Tensor) -> Output:
        """Evaluation-mode features and logits [K, N, ...], with graph, of all students on shared `images` [N, ...]."""

    def evaluate_each(self, images: Tensor) -> Output:
        """Evaluation-mode features and logits [K, B, ...], with graph, of each student on its own batch [K, B, ...]."""
        with _evaluating(self):
            output: Output = self(images)
        return output

    def predict(self, images: Tensor) -> Output:
        """Evaluation-mode features and logits [K, N, ...], without graph, of all students on `images` [N, ...]."""
        with torch.no_grad():
            return self.evaluate(images)

    @abstractmethod
    def tangents(self, images: Tensor, direction: Sequence[Tensor]) -> Tensor:
        """Rate of change of the logits, [K, B, C], as the parameters move along a direction, in evaluation mode.

        Computed by a forward-mode derivative; the result has no graph.

        Args:
            images: [K, B, ...], one batch per student.
            direction: one tensor for each of `parameters()`, of its shape.
        """

    @abstractmethod
    def extract(self, index: int) -> Network:
        """Copy student `index`, in [0, K), as a network of its own."""


class StackedStudents(Students):
    """Students with stacked parameters [K, ...] under `torch.func.vmap`: one batched product instead of K.

    Raises `InputError` for networks with random layers.

    Args:
        members: K networks.
        execution: precision, memory layout, and compilation.
    """

    def __init__(self, members: Sequence[Network], execution: Execution = _PLAIN) -> None:
        super().__init__()
        self.count = len(members)
        if layers := random_layers(members[0]):
            raise InputError(
                f"students with random layers must run one after the other (stacks = False), {layers[0]!r} of "
                f"{type(members[0]).__name__} draws in training"
            )
        parameters, buffers = stack_module_state([_WithFeatures(member, execution) for member in members])
        # In a tuple, outside the module tree: only the stacked tensors are parameters of this module.
        self._template = (_WithFeatures(copy.deepcopy(members[0]), execution),)
        self.stacked = nn.ParameterDict({_key(name): value.detach().clone() for name, value in parameters.items()})
        for name, value in buffers.items():
            self.register_buffer(_key(name), value.clone())
        # In the order of `parameters()`: ParameterDict sorts its keys.
        self._parameter_names = tuple(key.replace("/", ".") for key in self.stacked)
        self._buffer_names = tuple(buffers)

    def forward(self, images: Tensor, seeds: Sequence[int] = ()) -> Output:
        """Features and logits of each student on its own batch `images` [K, B, ...]; `seeds` are not used."""
        return Output(*vmap(self._call)(self._state(), images))

    def forward_with_moments(self, images: Tensor, seeds: Sequence[int] = ()) -> tuple[Output, list[list[Moments]]]:
        """Features and logits of each student on its own batch [K, B, ...], and each normalization's moments [K, C]."""

        def call(state: dict[str, Tensor], images: Tensor) -> tuple[tuple[Tensor, Tensor], list[list[Moments]]]:
            with watch_moments(self._template[0]) as moments:
                return self._call(state, images), moments

        output, moments = vmap(call)(self._state(), images)
        return Output(*output), moments

    def normalizations(self) -> list[Normalization]:
        """Batch normalization layers, each with the tensors [K, C] of all students."""
        return normalizations(self._template[0], self._state())

    def evaluate(self, images: Tensor) -> Output:
        """Evaluation-mode features and logits [K, N, ...], with graph, of all students on shared `images` [N, ...]."""
        with _evaluating(self):
            return Output(*vmap(self._call, in_dims=(0, None))(self._state(), images))

    def tangents(self, images: Tensor, direction: Sequence[Tensor]) -> Tensor:
        """Rate of change of the logits, [K, B, C], as the parameters move along `direction`, in evaluation mode."""
        velocity = dict(zip(self._parameter_names, direction, strict=True))
        with _evaluating(self), torch.no_grad():
            tangents: Tensor = vmap(self._tangent)(self._state(), velocity, images)
        return tangents

    def extract(self, index: int) -> Network:
        """Copy student `index`, in [0, K), as a network of its own."""
        template = copy.deepcopy(self._template[0])
        template.load_state_dict({name: value[index] for name, value in self._state().items()})
        return template.network.train(self.training)

    def train(self, mode: bool = True) -> StackedStudents:
        """Set training mode, or evaluation mode; the template is no sub-module, and needs its mode set as well."""
        super().train(mode)
        self._template[0].train(mode)
        return self

    def _call(self, state: dict[str, Tensor], images: Tensor) -> tuple[Tensor, Tensor]:
        output: tuple[Tensor, Tensor] = functional_call(self._template[0], state, (images,))
        return output

    def _tangent(self, state: dict[str, Tensor], velocity: dict[str, Tensor], images: Tensor) -> Tensor:
        return _tangent(self._template[0], state, velocity, images)

    def _state(self) -> dict[str, Tensor]:
        state = {name: self.stacked[_key(name)] for name in self._parameter_names}
        return state | {name: self.get_buffer(_key(name)) for name in self._buffer_names}


class LoopStudents(Students):
    """Students that run one after the other: for networks that do not stack, or that fill the device alone.

    Args:
        members: K networks.
        execution: precision, memory layout, and compilation.
    """

    def __init__(self, members: Sequence[Network], execution: Execution = _PLAIN) -> None:
        super().__init__()
        self.count = len(members)
        self.random_layers = random_layers(members[0])
        self.members = nn.ModuleList(_WithFeatures(execution.prepare(member), execution) for member in members)

    def forward(self, images: Tensor, seeds: Sequence[int] = ()) -> Output:
        """Features and logits of each student on its own batch `images` [K, B, ...].

        Raises:
            InputError: for students with random layers in training mode, without one of `seeds` each.
        """
        if not (self.training and self.random_layers):
            return _stack([member(batch) for member, batch in zip(self.members, images, strict=True)])
        if len(seeds) != self.count:
            raise InputError(f"seeds must be one for each of {self.count} students that draw, got {len(seeds)}")
        outputs = []
        for member, batch, seed in zip(self.members, images, seeds, strict=True):
            with seeded_forward(seed, images.device):
                outputs.append(member(batch))
        return _stack(outputs)

    def forward_with_moments(self, images: Tensor, seeds: Sequence[int] = ()) -> tuple[Output, list[list[Moments]]]:
        """Features and logits of each student on its own batch [K, B, ...], and each normalization's moments [C]."""
        with contextlib.ExitStack() as watches:
            moments = [layer for member in self.members for layer in watches.enter_context(watch_moments(member))]
            return self(images, seeds), moments

    def normalizations(self) -> list[Normalization]:
        """Batch normalization layers with tensors [C], all layers of the first student first."""
        return [layer for member in self.members for layer in normalizations(member, _state(member))]

    def evaluate(self, images: Tensor) -> Output:
        """Evaluation-mode features and logits [K, N, ...], with graph, of all students on shared `images` [N, ...]."""
        with _evaluating(self):
            return _stack([member(images) for member in self.members])

    def tangents(self, images: Tensor, direction: Sequence[Tensor]) -> Tensor:
        """Rate of change of the logits, [K, B, C], as the parameters move along `direction`, in evaluation mode."""
        per_member = iter(direction)
        tangents = []
        with _evaluating(self), torch.no_grad():
            for member, batch in zip(self.members, images, strict=True):
                velocity = {name: next(per_member) for name, _ in member.named_parameters()}
                tangents.append(_tangent(member, _state(member), velocity, batch))
        return torch.stack(tangents)

    def extract(self, index: int) -> Network:
        """Copy student `index`, in [0, K), as a network of its own."""
        member = self.members[index]
        assert isinstance(member, _WithFeatures)
        return copy.deepcopy(member.network)


class _WithFeatures(nn.Module):
    """A network whose output is its classifier's input [B, H] and its logits [B, C]."""

    def __init__(self, network: Network, execution: Execution) -> None:
        super().__init__()
        self.network = network
        self._execution = execution

    def forward(self, images: Tensor, exact: bool = False) -> tuple[Tensor, Tensor]:
        """With `exact`, in the parameters' precision: autocast has no forward-mode derivative."""
        execution = dataclasses.replace(self._execution, dtype=torch.float32) if exact else self._execution
        features = execution.features(self.network, images)
        return features, self.network.classifier(features)


def _state(network: nn.Module) -> dict[str, Tensor]:
    return dict(network.named_parameters()) | dict(network.named_buffers())


def _tangent(network: nn.Module, state: dict[str, Tensor], velocity: dict[str, Tensor], images: Tensor) -> Tensor:
    """Derivative of the logits [B, C] as the parameters in `state` move along `velocity`."""
    moved = {name: state[name] for name in velocity}

    def logits_at(parameters: dict[str, Tensor]) -> Tensor:
        output: tuple[Tensor, Tensor] = functional_call(network, state | parameters, (images,), {"exact": True})
        return output[1]

    tangent: Tensor = jvp(logits_at, (moved,), (velocity,))[1]
    return tangent


@contextlib.contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; restores the mode afterwards."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


def _stack(outputs: Sequence[tuple[Tensor, Tensor]]) -> Output:
    features, logits = zip(*outputs, strict=True)
    return Output(torch.stack(features), torch.stack(logits))


def _key(name: str) -> str:
    # Parameter and buffer names must not contain dots.
    return name.replace(".", "/")
