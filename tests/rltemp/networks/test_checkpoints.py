"""Every family against its published layout: names, shapes and arithmetic written down a second time, as functions."""

import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rltemp.errors import InputError
from rltemp.networks import load_checkpoint, load_crd_checkpoint, make_network


class Reference:
    """Computes logits of images layer by layer, making up the weights of each layer when it comes to it."""

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] = {}
        self.generator = torch.Generator().manual_seed(0)

    def conv(
        self, x: Tensor, name: str, out: int, kernel: int, stride: int = 1, groups: int = 1, bias: bool = False
    ) -> Tensor:
        fan_in = x.shape[1] // groups * kernel**2
        weight = torch.randn(out, x.shape[1] // groups, kernel, kernel, generator=self.generator) / math.sqrt(
            fan_in / 2
        )
        self.weights[f"{name}.weight"] = weight
        if bias:
            self.weights[f"{name}.bias"] = torch.randn(out, generator=self.generator)
        return F.conv2d(x, weight, self.weights.get(f"{name}.bias"), stride, kernel // 2, 1, groups)

    def bn(self, x: Tensor, name: str) -> Tensor:
        for part in ("weight", "bias", "running_mean", "running_var"):
            self.weights[f"{name}.{part}"] = torch.rand(x.shape[1], generator=self.generator) + 0.5
        self.weights[f"{name}.num_batches_tracked"] = torch.tensor(7)
        weight, bias, mean, var = (
            self.weights[f"{name}.{p}"] for p in ("weight", "bias", "running_mean", "running_var")
        )
        return F.batch_norm(x, mean, var, weight, bias)

    def linear(self, x: Tensor, name: str) -> Tensor:
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        self.weights[f"{name}.weight"] = torch.randn(100, x.shape[1], generator=self.generator)
        self.weights[f"{name}.bias"] = torch.randn(100, generator=self.generator)
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])


def _resnet(r: Reference, x: Tensor, depth: int, widths: tuple[int, int, int, int]) -> Tensor:
    x = r.bn(r.conv(x, "conv1", widths[0], 3), "bn1").relu()
    for stage in (1, 2, 3):
        for block in range((depth - 2) // 6):
            name = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            out = r.bn(r.conv(x, f"{name}.conv1", widths[stage], 3, stride), f"{name}.bn1").relu()
            out = r.bn(r.conv(out, f"{name}.conv2", widths[stage], 3), f"{name}.bn2")
            if stride != 1 or x.shape[1] != widths[stage]:
                x = r.bn(r.conv(x, f"{name}.downsample.0", widths[stage], 1, stride), f"{name}.downsample.1")
            x = (out + x).relu()
    return r.linear(x, "fc")


def _resnet50(r: Reference, x: Tensor) -> Tensor:
    x = r.bn(r.conv(x, "conv1", 64, 3), "bn1").relu()
    for stage, blocks in ((1, 3), (2, 4), (3, 6), (4, 3)):
        width = 32 * 2**stage
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            out = r.bn(r.conv(x, f"{name}.conv1", width, 1), f"{name}.bn1").relu()
            out = r.bn(r.conv(out, f"{name}.conv2", width, 3, stride), f"{name}.bn2").relu()
            out = r.bn(r.conv(out, f"{name}.conv3", 4 * width, 1), f"{name}.bn3")
            if block == 0:
                x = r.bn(r.conv(x, f"{name}.shortcut.0", 4 * width, 1, stride), f"{name}.shortcut.1")
            x = (out + x).relu()
    return r.linear(x, "linear")


def _wrn(r: Reference, x: Tensor, depth: int, widen: int) -> Tensor:
    x = r.conv(x, "conv1", 16, 3)
    for stage in (1, 2, 3):
        width = 8 * 2**stage * widen
        for block in range((depth - 4) // 6):
            name = f"block{stage}.layer.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            inner = r.bn(x, f"{name}.bn1").relu()
            out = r.bn(r.conv(inner, f"{name}.conv1", width, 3, stride), f"{name}.bn2").relu()
            out = r.conv(out, f"{name}.conv2", width, 3)
            x = out + (x if x.shape[1] == width else r.conv(inner, f"{name}.convShortcut", width, 1, stride))
    return r.linear(r.bn(x, "bn1").relu(), "fc")


def _vgg(r: Reference, x: Tensor, blocks: list[list[int]]) -> Tensor:
    for number, widths in enumerate(blocks):
        for position, width in enumerate(widths):
            name = f"block{number}"
            x = r.conv(x, f"{name}.{3 * position}", width, 3, bias=True)
            x = r.bn(x, f"{name}.{3 * position + 1}").relu()
        if number < 3:
            x = F.max_pool2d(x, 2)
    return r.linear(x, "classifier")


def _mobilenetv2(r: Reference, x: Tensor) -> Tensor:
    x = r.bn(r.conv(x, "conv1.0", 16, 3, 2), "conv1.1").relu()
    widths, repeats, strides = (8, 12, 16, 32, 48, 80, 160), (1, 2, 3, 4, 3, 3, 1), (1, 1, 2, 2, 1, 2, 1)
    for stage, (width, repeat, first) in enumerate(zip(widths, repeats, strides, strict=True)):
        for block in range(repeat):
            name = f"blocks.{stage}.{block}.conv"
            stride, inner = (first if block == 0 else 1), x.shape[1] * (1 if stage == 0 else 6)
            out = r.bn(r.conv(x, f"{name}.0", inner, 1), f"{name}.1").relu()
            out = r.bn(r.conv(out, f"{name}.3", inner, 3, stride, groups=inner), f"{name}.4").relu()
            out = r.bn(r.conv(out, f"{name}.6", width, 1), f"{name}.7")
            x = out + x if stride == 1 and x.shape[1] == width else out
    x = r.bn(r.conv(x, "conv2.0", 1280, 1), "conv2.1").relu()
    return r.linear(x, "classifier.0")


def _shuffled(x: Tensor, groups: int) -> Tensor:
    order = [g * (x.shape[1] // groups) + i for i in range(x.shape[1] // groups) for g in range(groups)]
    return x[:, order]


def _shufflenetv1(r: Reference, x: Tensor) -> Tensor:
    x = r.bn(r.conv(x, "conv1", 24, 1), "bn1").relu()
    for stage, (width, blocks) in enumerate(((240, 4), (480, 8), (960, 4)), start=1):
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            outputs, stride = (width - x.shape[1], 2) if block == 0 else (width, 1)
            groups = 1 if x.shape[1] == 24 else 3
            out = r.bn(r.conv(x, f"{name}.conv1", outputs // 4, 1, groups=groups), f"{name}.bn1").relu()
            out = _shuffled(out, groups)
            out = r.bn(r.conv(out, f"{name}.conv2", outputs // 4, 3, stride, groups=outputs // 4), f"{name}.bn2").relu()
            out = r.bn(r.conv(out, f"{name}.conv3", outputs, 1, groups=3), f"{name}.bn3")
            x = (out + x if stride == 1 else torch.cat([out, F.avg_pool2d(x, 3, 2, 1)], 1)).relu()
    return r.linear(x, "linear")


def _shufflenetv2(r: Reference, x: Tensor) -> Tensor:
    x = r.bn(r.conv(x, "conv1", 24, 1), "bn1").relu()
    for stage, (width, blocks) in enumerate(((58, 3), (116, 7), (232, 3)), start=1):
        name, inputs = f"layer{stage}.0", x.shape[1]
        left = r.bn(r.conv(x, f"{name}.conv1", inputs, 3, 2, groups=inputs), f"{name}.bn1")
        left = r.bn(r.conv(left, f"{name}.conv2", width, 1), f"{name}.bn2").relu()
        right = r.bn(r.conv(x, f"{name}.conv3", width, 1), f"{name}.bn3").relu()
        right = r.bn(r.conv(right, f"{name}.conv4", width, 3, 2, groups=width), f"{name}.bn4")
        right = r.bn(r.conv(right, f"{name}.conv5", width, 1), f"{name}.bn5").relu()
        x = _shuffled(torch.cat([left, right], 1), 2)
        for block in range(1, blocks + 1):
            name = f"layer{stage}.{block}"
            out = r.bn(r.conv(x[:, width:], f"{name}.conv1", width, 1), f"{name}.bn1").relu()
            out = r.bn(r.conv(out, f"{name}.conv2", width, 3, groups=width), f"{name}.bn2")
            out = r.bn(r.conv(out, f"{name}.conv3", width, 1), f"{name}.bn3").relu()
            x = _shuffled(torch.cat([x[:, :width], out], 1), 2)
    return r.linear(r.bn(r.conv(x, "conv2", 1024, 1), "bn2").relu(), "linear")


NARROW, WIDE = (16, 16, 32, 64), (32, 64, 128, 256)
FAMILIES: dict[str, tuple[Callable[..., Tensor], tuple[object, ...]]] = {
    "resnet20": (_resnet, (20, NARROW)),
    "resnet110": (_resnet, (110, NARROW)),
    "resnet8x4": (_resnet, (8, WIDE)),
    "resnet32x4": (_resnet, (32, WIDE)),
    "resnet50": (_resnet50, ()),
    "wrn_40_1": (_wrn, (40, 1)),
    "wrn_40_2": (_wrn, (40, 2)),
    "vgg8": (_vgg, ([[64], [128], [256], [512], [512]],)),
    "vgg13": (_vgg, ([[64, 64], [128, 128], [256, 256], [512, 512], [512, 512]],)),
    "mobilenetv2": (_mobilenetv2, ()),
    "shufflenetv1": (_shufflenetv1, ()),
    "shufflenetv2": (_shufflenetv2, ()),
}


def _images(count: int) -> Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_published_checkpoint_gives_the_published_arithmetic(name: str, tmp_path: Path) -> None:
    compute, arguments = FAMILIES[name]
    reference, images = Reference(), _images(2)
    expected = compute(reference, images, *arguments)
    torch.save({"epoch": 240, "model": reference.weights, "accuracy": torch.tensor(72.3)}, tmp_path / "teacher.pth")
    network = make_network(name, 100, (3, 32, 32), torch.Generator()).eval()
    load_crd_checkpoint(network, tmp_path / "teacher.pth")
    with torch.no_grad():
        got = network(images)
    counted = sum(tensor.numel() for key, tensor in reference.weights.items() if key.endswith(("weight", "bias")))
    assert sum(parameter.numel() for parameter in network.parameters()) == counted
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())
    assert expected.std(0).mean() > 1e-3 * expected.abs().max()


@pytest.fixture
def weights() -> dict[str, Tensor]:
    reference = Reference()
    _resnet(reference, _images(1), 8, NARROW)
    return reference.weights


@pytest.mark.parametrize("wrap", [lambda w: w, lambda w: {"state_dict": w}, lambda w: {"model": w}])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_every_usual_wrapping_is_read(
    wrap: Callable[[dict[str, Tensor]], object], prefix: str, weights: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save(wrap({prefix + name: tensor for name, tensor in weights.items()}), tmp_path / "teacher.pth")
    network = make_network("resnet8", 100, (3, 32, 32), torch.Generator())
    load_crd_checkpoint(network, tmp_path / "teacher.pth")
    assert torch.equal(network.state_dict()["classifier.weight"], weights["fc.weight"])


def test_old_checkpoints_without_counters_are_read(weights: dict[str, Tensor], tmp_path: Path) -> None:
    old = {name: tensor for name, tensor in weights.items() if "num_batches" not in name}
    torch.save({"model": old}, tmp_path / "teacher.pth")
    network = make_network("resnet8", 100, (3, 32, 32), torch.Generator())
    load_crd_checkpoint(network, tmp_path / "teacher.pth")
    assert torch.equal(network.state_dict()["bn1.running_var"], weights["bn1.running_var"])


class _Foreign:
    pass


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda w: {"model": {k: v for k, v in w.items() if k != "fc.bias"}}, "lacks classifier.bias"),
        (lambda w: {"model": {**w, "head.weight": torch.zeros(2)}}, "has besides head.weight"),
        (lambda w: {"model": {**w, "fc.bias": torch.zeros(10)}}, r"classifier.bias .* \[100\], got \[10\]"),
        (lambda w: {"model": {**w, "fc.bias": torch.full((100,), torch.nan)}}, "classifier.bias .* must be finite"),
        (lambda w: {"model": 3}, "must hold a state dict"),
        (lambda w: [1, 2], "must hold a state dict"),
        (lambda w: {"model": w, "opt": _Foreign()}, "tensors and plain values"),
        (lambda w: {"model": {**w, 3: w["fc.bias"]}}, "must hold a state dict"),
        (lambda w: {"model": {**w, "linear.bias": w["fc.bias"]}}, "two of classifier.bias"),
        (lambda w: {"model": {**w, "fc.bias": w["fc.bias"].to(torch.complex64)}}, r"float32, .* got torch.complex64"),
        (lambda w: {"model": {**w, "fc.bias": w["fc.bias"].long()}}, r"float32, .* got torch.int64"),
        (lambda w: {"model": {**w, "fc.bias": torch.full((100,), 1e300, dtype=torch.float64)}}, "must be finite"),
        (lambda w: {"model": {**w, "fc.bias": w["fc.bias"].to_sparse()}}, r"dense .* got torch.sparse_coo"),
        (lambda w: {"model": {**w, "fc.bias": w["fc.bias"].to("meta")}}, r"dense .* got no values"),
        (lambda w: {"model": {**w, "fc.bias": torch.quantize_per_tensor(w["fc.bias"], 1.0, 0, torch.qint8)}}, "dense"),
        (lambda w: {"model": {**w, "fc.bias": torch.zeros(1).expand(1 << 50)}}, r"\[100\], got \[1125899906842624\]"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    damage: Callable[[dict[str, Tensor]], object], message: str, weights: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save(damage(weights), tmp_path / "teacher.pth")
    network = make_network("resnet8", 100, (3, 32, 32), torch.Generator())
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(InputError, match=message):
        load_crd_checkpoint(network, tmp_path / "teacher.pth")
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_missing_and_broken_files_are_refused(tmp_path: Path) -> None:
    network = make_network("resnet8", 100, (3, 32, 32), torch.Generator())
    with pytest.raises(InputError, match="does not exist"):
        load_crd_checkpoint(network, tmp_path / "teacher.pth")
    for content in (b"", b"not a checkpoint", b"PK\x03\x04 half a zip"):
        (tmp_path / "teacher.pth").write_bytes(content)
        with pytest.raises(InputError, match="tensors and plain values"):
            load_crd_checkpoint(network, tmp_path / "teacher.pth")


@pytest.mark.parametrize(
    "change", [torch.Tensor.double, lambda t: t.to(memory_format=torch.channels_last), nn.Parameter]
)
def test_weights_may_be_kept_in_another_way(change: Any, weights: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"model": {**weights, "conv1.weight": change(weights["conv1.weight"])}}, tmp_path / "teacher.pth")
    network = make_network("resnet8", 100, (3, 32, 32), torch.Generator())
    load_crd_checkpoint(network, tmp_path / "teacher.pth")
    assert torch.equal(network.state_dict()["conv1.weight"], weights["conv1.weight"])


def test_a_flipped_bit_of_a_weight_is_noticed(weights: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "teacher.pth"
    torch.save({"model": weights}, path)
    whole, pattern = bytearray(path.read_bytes()), weights["conv1.weight"].numpy().tobytes()
    whole[whole.index(pattern)] ^= 1
    path.write_bytes(whole)
    with pytest.raises(InputError, match=r"the checksum of its record .* is wrong"):
        load_crd_checkpoint(make_network("resnet8", 100, (3, 32, 32), torch.Generator()), path)


def test_archives_that_grow_and_files_that_are_far_too_large_are_refused(tmp_path: Path) -> None:
    network, path = make_network("resnet8", 100, (3, 32, 32), torch.Generator()), tmp_path / "teacher.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 20))
    with pytest.raises(InputError, match="compressed or overlap"):
        load_crd_checkpoint(network, path)
    for name in ("teacher.pth", "teacher.safetensors"):
        with open(tmp_path / name, "wb") as file:
            file.truncate(1 << 40)  # takes no room on disk
        with pytest.raises(InputError, match="at most"):
            load_checkpoint(network, tmp_path / name)


def test_a_file_of_torchvisions_weights_has_torchvisions_names(tmp_path: Path) -> None:
    from torchvision import models

    theirs = models.get_model("mobilenet_v3_small", num_classes=5).eval()
    torch.save(theirs.state_dict(), tmp_path / "published.pth")
    network = make_network("torchvision:mobilenet_v3_small", 5, (3, 32, 32), torch.Generator()).eval()
    load_checkpoint(network, tmp_path / "published.pth")
    images = _images(2)
    with torch.no_grad():
        assert torch.equal(network(images), theirs(images))
    other = make_network("torchvision:mobilenet_v3_small", 6, (3, 32, 32), torch.Generator())
    with pytest.raises(InputError, match=r"classifier\.weight of .* must have shape \[6, 1024\]"):
        load_checkpoint(other, tmp_path / "published.pth")
