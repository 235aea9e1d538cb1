"""Networks of torchvision and timm, and the classifier of any network."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from rltemp.errors import InputError
from rltemp.networks.network import Network

__all__ = ["ExternalNetwork", "check_external_name", "classifier_of", "timm_network", "torchvision_network"]


class ExternalNetwork(Network):
    """Somebody else's classifier, cut before its last layer.

    Args:
        model: maps images to logits [B, C] and ends in an `nn.Linear`, which moves out of it in place.
        classes: number of logits C.

    Raises:
        InputError: if the model has no linear layer of `classes` outputs.
    """

    def __init__(self, model: nn.Module, classes: int) -> None:
        super().__init__()
        self.classifier = classifier_of(model, classes)
        name = next(name for name, module in model.named_modules() if module is self.classifier)
        model.set_submodule(name, nn.Identity())
        self.body = model

    def features(self, x: Tensor) -> Tensor:
        """What the model feeds its last layer, [B, H], for images `x` [B, C, H, W]."""
        features = self.body(x)
        if not isinstance(features, Tensor):
            raise InputError(
                f"network must give logits alone, {type(self.body).__name__} gives {type(features).__name__} "
                "(auxiliary outputs are switched off by its options)"
            )
        return features


def check_external_name(library: str, name: str) -> None:
    """Refuse a name that `library`, "torchvision" or "timm", does not have.

    Names that say where an architecture comes from are refused as well, but for "hf-hub:...", of timm's Hub: they may
    be files.
    """
    if library == "torchvision":
        _check_torchvision_name(name)
        return
    timm = _timm(name)
    known = timm.is_model(name) and ("." not in name or name in timm.list_pretrained())
    if not known and not name.startswith("hf-hub:"):
        raise InputError(f"name must be 'timm:' and one of timm's models, or 'timm:hf-hub:...', got {name!r}")


def torchvision_network(name: str, classes: int, in_shape: Sequence[int], /, **options: Any) -> ExternalNetwork:
    """A classification model of torchvision, e.g. "resnet18"; `options` go to its constructor.

    Raises:
        InputError: for a name it does not have, images without three channels, options it does not take, or a model
            that does not end in a linear layer.
    """
    from torchvision import models  # a second to import, and most runs do without it

    _check_torchvision_name(name)
    if in_shape[0] != 3:
        raise InputError(f"in_shape must have 3 channels for torchvision's models, got {tuple(in_shape)}")
    try:
        model = models.get_model(name, num_classes=classes, **options)
    except Exception as error:  # whatever a constructor of others raises
        raise InputError(f"options must fit torchvision's {name!r}, got {options}: {error}") from error
    return ExternalNetwork(model, classes)


def timm_network(name: str, classes: int, in_shape: Sequence[int], /, **options: Any) -> ExternalNetwork:
    """A model of timm, e.g. "vit_tiny_patch16_224"; `options` go to its constructor.

    Raises:
        InputError: where timm is not installed, for a name it does not have, options the model does not take, or a
            model that does not end in a linear layer.
    """
    timm = _timm(name)
    try:
        model = timm.create_model(name, num_classes=classes, in_chans=in_shape[0], **options)
    except Exception as error:
        raise InputError(f"name and options must fit one of timm's models, got {name!r} {options}: {error}") from error
    return ExternalNetwork(model, classes)


def _check_torchvision_name(name: str) -> None:
    from torchvision import models

    if name not in models.list_models(module=models):
        raise InputError(f"name must be 'torchvision:' and one of its classification models, got {name!r}")


def _timm(name: str) -> Any:
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise InputError(f"name must not start with 'timm:' where timm is not installed, got {name!r}") from error


def classifier_of(network: nn.Module, classes: int) -> nn.Linear:
    """The last linear layer of any classifier: the one whose outputs are the logits.

    Args:
        network: one of ours, of timm's, or any module; looked for in this order are an attribute `classifier`, timm's
            `get_classifier()`, and the last `nn.Linear` that was registered.
        classes: number of logits C, which the layer must have as outputs.

    Raises:
        InputError: if there is no such layer.
    """
    candidates: list[Any] = [getattr(network, "classifier", None)]
    get_classifier: Any = getattr(network, "get_classifier", None)
    if callable(get_classifier):
        candidates.append(get_classifier())
    candidates += reversed(list(network.modules()))
    for module in candidates:
        if isinstance(module, nn.Linear) and module.out_features == classes:
            return module
    raise InputError(f"network must end in an nn.Linear with {classes} outputs, {type(network).__name__} has none")
