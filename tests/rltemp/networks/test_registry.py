import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rltemp.errors import InputError
from rltemp.networks import CNN, MLP, Network, classifier_of, list_networks, make_network

# Of 100 classes, as published or as follows from the published layout.
PARAMETERS = {
    "resnet8": 83_892,
    "resnet14": 181_108,
    "resnet20": 278_324,
    "resnet32": 472_756,
    "resnet44": 667_188,
    "resnet56": 861_620,
    "resnet110": 1_736_564,
    "resnet8x4": 1_233_540,
    "resnet32x4": 7_433_860,
    "resnet50": 23_705_252,
    "wrn_16_1": 180_916,
    "wrn_16_2": 703_284,
    "wrn_40_1": 569_780,
    "wrn_40_2": 2_255_156,
    "vgg8": 3_965_028,
    "vgg11": 9_277_284,
    "vgg13": 9_462_180,
    "vgg16": 14_774_436,
    "vgg19": 20_086_692,
    "mobilenetv1": 3_309_476,
    "mobilenetv2": 812_836,
    "shufflenetv1": 949_258,
    "shufflenetv2": 1_355_528,
}


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_table_names_every_network() -> None:
    assert set(list_networks()) == {
        *PARAMETERS,
        *("mlp", "cnn", "cnn1d", "text-bag", "text-cnn", "gpt"),
        *("torchvision:NAME", "timm:NAME", "MODULE:NAME"),
    }
    assert all(line and "\n" not in line for line in list_networks().values())


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_as_many_as_published(name: str) -> None:
    network = make_network(name, 100, (3, 32, 32), _generator(0))
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]
    assert classifier_of(network, 100) is network.classifier


def test_of_imagenets_classes_mobilenet_has_the_published_parameters() -> None:
    """4.2 million in table 8 of Howard et al. (2017); the layers of its table 1 add up to this."""
    network = make_network("mobilenetv1", 1000, (3, 224, 224), _generator(0))
    blocks = [(32, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), *[(512, 512)] * 5]
    blocks += [(512, 1024), (1024, 1024)]
    convolutions = 27 * 32 + 2 * 32 + sum(9 * a + 2 * a + a * b + 2 * b for a, b in blocks)
    assert sum(parameter.numel() for parameter in network.parameters()) == convolutions + 1025 * 1000 == 4_231_976


@pytest.mark.parametrize("name", [*PARAMETERS, "cnn", "mlp"])
def test_logits_are_the_classifier_of_the_features(name: str) -> None:
    network = make_network(name, 7, (1, 16, 16), _generator(0)).eval()
    images = torch.randn(2, 1, 16, 16, generator=_generator(1))
    with torch.no_grad():
        features = network.features(images)
        logits = network(images)
    assert features.shape == (2, network.classifier.in_features)
    assert logits.shape == (2, 7)
    torch.testing.assert_close(logits, features @ network.classifier.weight.T + network.classifier.bias)
    assert bool(torch.isfinite(logits).all())


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet8", "wrn_16_1", "vgg8", "shufflenetv1", "torchvision:resnet18"])
def test_the_generator_alone_decides(name: str) -> None:
    before = torch.get_rng_state()
    first, again, other = (make_network(name, 5, (3, 32, 32), _generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.classifier.weight, other.classifier.weight)


def test_one_generator_gives_different_networks_one_after_the_other() -> None:
    generator = _generator(1)
    first, second = (make_network("cnn", 5, (3, 16, 16), generator) for _ in range(2))
    assert not torch.equal(first.classifier.weight, second.classifier.weight)


def test_convolutions_start_with_the_variance_of_he() -> None:
    network = make_network("vgg8", 100, (3, 32, 32), _generator(0))
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    for convolution in convolutions[2:]:
        fan_out = convolution.out_channels * 9
        assert convolution.weight.var().item() == pytest.approx(2 / fan_out, rel=0.02)
        assert convolution.bias is not None
        assert not convolution.bias.any()


def test_mlp_and_cnn_take_their_widths_from_options() -> None:
    mlp = make_network("mlp", 10, (1, 8, 8), _generator(0), hidden=(16,))
    assert isinstance(mlp, MLP)
    assert mlp.sizes == (64, 16, 10)
    cnn = make_network("cnn", 10, (3, 16, 16), _generator(0), channels=[8, 16, 16, 24])
    assert isinstance(cnn, CNN)
    convolutions = [module for module in cnn.modules() if isinstance(module, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [8, 16, 16, 24]


@pytest.mark.parametrize(("side", "resolutions"), [(16, [16, 16, 8, 4]), (9, [9, 9, 5, 3]), (8, [8, 8, 4, 2])])
def test_cnn_halves_the_resolution_after_all_but_the_first(side: int, resolutions: list[int]) -> None:
    cnn = make_network("cnn", 10, (3, side, side), _generator(0), channels=[4, 4, 4, 4])
    seen = []
    for module in cnn.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _, inputs, output: seen.append(output.shape[-1]))
    cnn(torch.zeros(2, 3, side, side))
    assert seen == resolutions


def test_cnn_against_the_same_layers_written_out() -> None:
    cnn = make_network("cnn", 10, (3, 16, 16), _generator(0), channels=[4, 8, 8]).eval()
    layers: list[nn.Module] = []
    for inputs, width, pool in ((3, 4, 1), (4, 8, 2), (8, 8, 2)):
        layers += [nn.Conv2d(inputs, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(pool)]
    reference = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)).eval()
    reference.load_state_dict(dict(zip(reference.state_dict(), cnn.state_dict().values(), strict=True)))
    images = torch.randn(3, 3, 16, 16, generator=_generator(1))
    torch.testing.assert_close(cnn(images), reference(images))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5"])
def test_torchvision_networks_compute_what_torchvision_does(name: str) -> None:
    from torchvision import models

    network = make_network(f"torchvision:{name}", 7, (3, 32, 32), _generator(0)).eval()
    model = models.get_model(name, num_classes=7).eval()
    model.load_state_dict(dict(zip(model.state_dict(), _in_order(network), strict=True)))
    images = torch.randn(2, 3, 64, 64, generator=_generator(1))
    with torch.no_grad():
        torch.testing.assert_close(network(images), model(images))


def _in_order(network: Network) -> list[Tensor]:
    """Tensors of a cut network in the order of the whole one: the classifier, which moved to the front, comes last."""
    tensors = list(network.state_dict().items())
    return [t for name, t in tensors if name.startswith("body.")] + [t for name, t in tensors if "body." not in name]


def test_auxiliary_outputs_are_refused() -> None:
    network = make_network("torchvision:googlenet", 7, (3, 64, 64), _generator(0), init_weights=False)
    with pytest.raises(InputError, match="must give logits alone, GoogLeNet gives GoogLeNetOutputs"):
        network(torch.zeros(2, 3, 64, 64))


class _TimmModel(nn.Module):
    """Like timm's: the classifier is neither called so nor the last layer registered."""

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.head = nn.Linear(channels, classes)
        self.stem = nn.Linear(channels, channels)

    def get_classifier(self) -> nn.Module:
        return self.head

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.stem(x.mean((2, 3))))
        return out


def test_timm_networks_are_made_by_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = ModuleType("timm")
    timm.create_model = lambda name, num_classes, in_chans: _TimmModel(num_classes, in_chans)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", timm)
    network = make_network("timm:anything", 4, (4, 8, 8), _generator(0))
    assert network.features(torch.zeros(2, 4, 8, 8)).shape == (2, 4)
    assert isinstance(network.body, _TimmModel)
    assert isinstance(network.body.head, nn.Identity)
    with pytest.raises(InputError, match=r"must fit one of timm's models, got 'anything' \{'depth': 3\}"):
        make_network("timm:anything", 4, (4, 8, 8), _generator(0), depth=3)


def test_timm_is_only_missed_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(
        InputError, match=r'^timm:resnet18 needs the package of the extra: pip install "rltemp\[timm\]"$'
    ):
        make_network("timm:resnet18", 4, (3, 8, 8), _generator(0))


def test_a_network_without_linear_end_has_no_classifier() -> None:
    with pytest.raises(InputError, match=r"nn\.Linear with 4 outputs, Sequential has none"):
        classifier_of(nn.Sequential(nn.Linear(3, 5), nn.ReLU()), 4)


@pytest.mark.parametrize(
    ("name", "classes", "shape", "options", "message"),
    [
        ("nonesuch", 10, (3, 32, 32), {}, "name must be one of .*mlp.*nonesuch"),
        ("nonesuch:resnet18", 10, (3, 32, 32), {}, "name 'nonesuch:resnet18' would run code"),
        ("mlp", 1, (1, 8, 8), {}, "classes must be >= 2, got 1"),
        ("mlp", 10, (), {}, "in_shape"),
        ("mlp", 10, (1, 8, 8), {"widths": (3,)}, "options of 'mlp'.*widths"),
        ("mlp", 10, (1, 8, 8), {"hidden": (0,)}, r"hidden must be a list of widths in \[1, 16384\], got \(0,\)"),
        ("cnn", 10, (3, 16, 16), {"channels": ()}, "channels must be at least one width"),
        ("resnet20", 10, (3, 32, 32), {"depth": 3}, "options of 'resnet20'.*depth"),
        ("resnet20", 10, (64,), {}, r"in_shape must be \(channels, height, width\)"),
        ("vgg8", 10, (3, 4, 4), {}, "at least 8 x 8"),
        ("torchvision:nonesuch", 10, (3, 32, 32), {}, "one of its classification models, got 'nonesuch'"),
        ("torchvision:resnet18", 10, (1, 32, 32), {}, "3 channels"),
        ("torchvision:resnet18", 10, (3, 32, 32), {"depth": 3}, "torchvision's 'resnet18'.*depth"),
        ("torchvision:squeezenet1_0", 10, (3, 32, 32), {}, "nn.Linear with 10 outputs, SqueezeNet has none"),
    ],
)
def test_impossible_networks_are_refused(
    name: str, classes: int, shape: tuple[int, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        make_network(name, classes, shape, torch.Generator(), **options)
