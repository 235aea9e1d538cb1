"""Networks of torchvision and timm, and finding the classifier of any network."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from rltemp.errors import InputError
from rltemp.networks.network import Network

__all__ = ["ExternalNetwork", "check_external_name", "classifier_of", "timm_network", "torchvision_network"]


class ExternalNetwork(Network):
    """A model of another library, split before its last linear layer.

    Args:
        model: maps images [B, Ch, H, W] to logits [B, C] and ends in an `nn.Linear`, which is removed from it in place.
        classes: number of logits C.

    Attributes:
        body: the model without its last layer.

    Raises:
        InputError: if the model has no linear layer of `classes` outputs.
    """

    def __init__(self, model: nn.Module, classes: int) -> None:
        super().__init__()
        self.classifier = classifier_of(model, classes)
        self._last = next(name for name, module in model.named_modules() if module is self.classifier)
        model.set_submodule(self._last, nn.Identity())
        self.body = model

    def own_name(self, name: str) -> str:
        """What the library's weight `name` is called in this network."""
        inside, _, rest = name.rpartition(".")
        return f"classifier.{rest}" if inside == self._last else f"body.{name}"

    def features(self, x: Tensor) -> Tensor:
        """The input of the model's last layer, [B, H], for images `x` [B, Ch, H, W].

        Raises:
            InputError: for a model with auxiliary outputs.
        """
        features = self.body(x)
        if not isinstance(features, Tensor):
            raise InputError(
                f"network must give logits alone, {type(self.body).__name__} gives {type(features).__name__} "
                "(auxiliary outputs are switched off by its options)"
            )
        return features


def check_external_name(library: str, name: str) -> None:
    """Raise `InputError` unless `library`, "torchvision" or "timm", has a model `name`.

    Names with a source are refused, since they may be files, except "hf-hub:..." of timm.
    """
    if library == "torchvision":
        _check_torchvision_name(name)
        return
    timm = _timm(name)
    known = timm.is_model(name) and ("." not in name or name in timm.list_pretrained())
    if not known and not name.startswith("hf-hub:"):
        raise InputError(f"name must be 'timm:' and one of timm's models, or 'timm:hf-hub:...', got {name!r}")


def torchvision_network(name: str, classes: int, in_shape: Sequence[int], /, **options: Any) -> ExternalNetwork:
    """Build a classification model of torchvision.

    Args:
        name: its name in torchvision, such as "resnet18".
        classes: number of logits C.
        in_shape: shape of one image, (3, H, W).
        **options: keyword arguments of the model's constructor.

    Raises:
        InputError: for an unknown name, images without three channels, options the model does not take, or a model that
            does not end in a linear layer.
    """
    from torchvision import models  # takes a second to import, and few runs need it

    _check_torchvision_name(name)
    if in_shape[0] != 3:
        raise InputError(f"in_shape must have 3 channels for torchvision's models, got {tuple(in_shape)}")
    try:
        model = models.get_model(name, num_classes=classes, **options)
    except Exception as error:  # the constructors raise many types
        raise InputError(f"options must fit torchvision's {name!r}, got {options}: {error}") from error
    return ExternalNetwork(model, classes)


def timm_network(name: str, classes: int, in_shape: Sequence[int], /, **options: Any) -> ExternalNetwork:
    """Build a model of timm.

    Args:
        name: its name in timm, such as "vit_tiny_patch16_224".
        classes: number of logits C.
        in_shape: shape of one image, (channels, H, W).
        **options: keyword arguments of the model's constructor.

    Raises:
        InputError: where timm is not installed, for an unknown name, options the model does not take, or a model that
            does not end in a linear layer.
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
        raise InputError(f'timm:{name} needs the package of the extra: pip install "rltemp[timm]"') from error


def classifier_of(network: nn.Module, classes: int) -> nn.Linear:
    """The last linear layer of a classifier: the one whose outputs are the logits.

    Args:
        network: any module. Candidates are, in this order, its attribute `classifier`, timm's `get_classifier()`, and
            its `nn.Linear` layers from the last registered to the first.
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
