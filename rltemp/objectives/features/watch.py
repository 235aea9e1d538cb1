"""Recording of a network's activations by forward hooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from rltemp.errors import InputError
from rltemp.objectives.features.feature_objective import Activations

__all__ = ["Watch"]


class Watch:
    """Records the activations of a network's last forward pass.

        watch = Watch(student, "classifier", ["layer1", "layer2"])
        student_logits = student(images)
        loss = criterion(watch.activations, ...)

    `close`, or the end of a `with` block, removes the hooks.

    Args:
        network: the network to watch.
        classifier: name of its last linear layer, as in `named_modules()`.
        layers: names of the layers whose outputs are the feature maps, from shallow to deep.

    Raises:
        InputError: for a name the network does not have.
    """

    def __init__(self, network: nn.Module, classifier: str, layers: Sequence[str] = ()) -> None:
        modules = dict(network.named_modules())
        unknown = [name for name in (classifier, *layers) if name not in modules]
        if unknown:
            raise InputError(f"layers must be names of the network's modules, got {unknown[0]!r}")
        self._layers = tuple(layers)
        self._maps: dict[str, Tensor] = {}
        self._last: tuple[Tensor, Tensor] | None = None
        self._hooks = [modules[name].register_forward_hook(self._keeper(name)) for name in layers]
        self._hooks.append(modules[classifier].register_forward_hook(self._keep_last))

    @property
    def activations(self) -> Activations:
        """Activations of the network's last forward pass, with their graph.

        Raises:
            InputError: before a forward pass, or after `close`.
        """
        if self._last is None or len(self._maps) < len(self._layers):
            raise InputError("the watched network must have made a forward pass first, got none")
        vector, logits = self._last
        return Activations(logits, vector, tuple(self._maps[name] for name in self._layers))

    def close(self) -> None:
        """Remove the hooks from the network, and drop the recorded activations."""
        for hook in self._hooks:
            hook.remove()
        self._maps.clear()
        self._last = None

    def __enter__(self) -> Watch:
        """Return the watch, which is closed at the end of the `with` block."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the watch: remove its hooks from the network."""
        self.close()

    def _keeper(self, name: str) -> Any:
        def keep(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            self._maps[name] = output

        return keep

    def _keep_last(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        self._last = inputs[0], output
