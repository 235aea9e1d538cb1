"""Anybody's actor as a stack of linear layers, with one activation between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rltemp.agents.ppo import CenteredFeatures, WhitenedFeatures
from rltemp.errors import InputError
from rltemp.policies.learned import ACTIVATIONS, MOST_LAYERS, WIDEST, Activation

__all__ = ["Affine", "Stack", "read_stack"]

_WANT = "model must be linear layers with tanh or ReLU between them (docs/agents.md has a way for all others)"


class Affine(NamedTuple):
    """The map x -> weight x + bias, weight [O, I] and bias [O] in float64, so that folding several loses nothing."""

    weight: Tensor
    bias: Tensor

    @classmethod
    def diagonal(cls, scale: Tensor, shift: Tensor) -> Affine:
        """The map x -> scale * x + shift of numbers [I]."""
        return cls(torch.diag(scale.double()), shift.double())

    def then(self, after: Affine) -> Affine:
        """This map, and then another."""
        return Affine(after.weight @ self.weight, after.weight @ self.bias + after.bias)


@dataclass(frozen=True)
class Stack:
    """A function from F features in [0, 1], centered, to an action of A numbers.

    Attributes:
        layers: the linear layers, in order.
        activation: what stands between them.
        squash: whether the action is the tanh of the last layer, instead of being clipped to [-1, 1].
    """

    layers: tuple[Affine, ...]
    activation: Activation
    squash: bool

    @property
    def features(self) -> int:
        """Number of features F."""
        return self.layers[0].weight.shape[1]

    @property
    def actions(self) -> int:
        """Numbers A of an action."""
        return len(self.layers[-1].bias)

    @property
    def hidden(self) -> tuple[int, ...]:
        """Widths of the hidden layers."""
        return tuple(len(layer.bias) for layer in self.layers[:-1])


def read_stack(parts: Iterable[nn.Module | Affine], features: int, actions: int = 1) -> Stack:
    """Fold modules and affine maps that follow each other into a stack that takes centered features.

    Adjacent linear maps become one layer, and the inverse of `center` becomes part of the first.

    Args:
        parts: from features [N, F] in [0, 1] to an action [N, A]; of a module, its leaves in their order.
        features: F, >= 1.
        actions: A, >= 1.

    Raises:
        InputError: for a module other than Linear, Tanh, ReLU, Flatten and Identity, layers that do not fit each other,
            activations of two kinds, or a size that a policy's file cannot have.
    """
    one = torch.ones(features)
    layers, activations = [Affine.diagonal(one / 4.0, one / 2.0)], list[Activation]()
    for part in _leaves(parts):
        closed = len(activations) == len(layers)
        affine, activation = _affine(part), _activation(part)
        if affine is not None:
            _check_fit(affine, layers[-1])
            if closed:
                layers.append(affine)
            else:
                layers[-1] = layers[-1].then(affine)
        elif activation is not None and not closed:
            activations.append(activation)
        elif not (isinstance(part, nn.Identity) or (isinstance(part, nn.Flatten) and part.start_dim == 1)):
            raise InputError(f"{_WANT}, got {type(part).__name__}")
    squash = len(activations) == len(layers)
    if squash and activations.pop() != "tanh":
        raise InputError(f"{_WANT}, got ReLU behind the last")
    if len(set(activations)) > 1:
        raise InputError(f"{_WANT}, one kind of them, got both")
    stack = Stack(tuple(layers), activations[0] if activations else "tanh", squash)
    _check_size(stack, actions)
    return stack


def _leaves(parts: Iterable[nn.Module | Affine]) -> Iterator[nn.Module | Affine]:
    for part in parts:
        if isinstance(part, nn.Sequential) or (isinstance(part, nn.Module) and list(part.children())):
            yield from _leaves(part.children())
        else:
            yield part


def _affine(part: nn.Module | Affine) -> Affine | None:
    """The part as an affine map; None if it is none."""
    if isinstance(part, CenteredFeatures):
        one = torch.ones(part.features_dim)
        centered = Affine.diagonal(4.0 * one, -2.0 * one)
        return centered.then(_whitening(part)) if isinstance(part, WhitenedFeatures) else centered
    if isinstance(part, nn.Linear):
        weight = part.weight.detach().cpu().double()
        bias = torch.zeros(len(weight)) if part.bias is None else part.bias.detach().cpu()
        return Affine(weight, bias.double())
    return part if isinstance(part, Affine) else None


def _whitening(part: WhitenedFeatures) -> Affine:
    scale, mean = part.scale.detach().cpu().double(), part.mean.detach().cpu().double()
    return Affine(scale.T, -mean @ scale)


def _activation(part: nn.Module | Affine) -> Activation | None:
    """The part's name as an activation; None if it is none."""
    return next((name for name, kind in ACTIVATIONS.items() if isinstance(part, kind)), None)


def _check_fit(after: Affine, before: Affine) -> None:
    want, got = len(before.bias), after.weight.shape[1]
    if got != want:
        raise InputError(f"{_WANT}, got one that takes {got} numbers where there are {want}")


def _check_size(stack: Stack, actions: int) -> None:
    if stack.actions != actions:
        want = "one action" if actions == 1 else f"an action of {actions} numbers"
        raise InputError(f"model must give {want} for each instance, got {stack.actions}")
    if len(stack.hidden) > MOST_LAYERS or max(stack.hidden, default=0) > WIDEST:
        raise InputError(
            f"model must have at most {MOST_LAYERS} hidden layers of at most {WIDEST}, got {list(stack.hidden)}"
        )
