"""What a stranger's recipe may ask for: networks that exist, with options they take, and nothing from elsewhere."""

import importlib.util
import socket
from typing import Any

import pytest
import torch

from rltemp.errors import InputError
from rltemp.networks import check_request, list_networks

_TIMM = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError("reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *[(name, {}) for name in list_networks() if not name.endswith(":NAME")],
        ("mlp", {"hidden": []}),
        ("mlp", {"hidden": [16, 16384]}),
        ("cnn", {"channels": [4]}),
        ("torchvision:resnet18", {}),
        ("torchvision:resnet18", {"weights": None, "zero_init_residual": True}),
    ],
)
def test_networks_that_can_be_built_are_allowed(name: str, options: dict[str, Any]) -> None:
    state = torch.get_rng_state()
    check_request("student", name, options)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet57", {}, "student.name must be one of mlp, cnn, .*, got 'resnet57'"),
        ("", {}, "student.name must be one of"),
        ("hub:resnet18", {}, "student.name 'hub:resnet18' would run code: give --allow-code"),
        ("mlp", {"hidden": "abc"}, r"student.options: hidden must be a list of widths in \[1, 16384\], got 'abc'"),
        ("mlp", {"hidden": 16}, "student.options: hidden must be"),
        ("mlp", {"hidden": None}, "student.options: hidden must be"),
        ("mlp", {"hidden": [16, 0]}, "student.options: hidden must be"),
        ("mlp", {"hidden": [16.0]}, "student.options: hidden must be"),
        ("mlp", {"hidden": [True]}, "student.options: hidden must be"),
        ("mlp", {"hidden": [[16]]}, "student.options: hidden must be"),
        ("mlp", {"hidden": [10**12]}, "student.options: hidden must be"),
        ("mlp", {"width": 3}, "student.options: options of 'mlp' must be ones it takes, got .*'width'"),
        ("mlp", {"classes": 3}, "student.options: options of 'mlp' must be ones it takes"),
        ("cnn", {"channels": []}, r"student.options: channels must be at least one width in \[1, 16384\], got \[\]"),
        ("resnet20", {"depth": 3}, "student.options: options of 'resnet20' must be ones it takes"),
        ("torchvision:nope", {}, "student.name must be 'torchvision:' and one of .*, got 'nope'"),
        ("torchvision:resnet18", {"depth": 3}, "student.options: options must fit torchvision's 'resnet18'"),
        ("torchvision:resnet18", {"layers": "a"}, "student.options: options must fit torchvision's 'resnet18'"),
        ("torchvision:resnet18", {"generator": 3}, "student.options: options of 'torchvision:resnet18' must be ones"),
        ("torchvision:resnet18", {"num_classes": 3}, "student.options: options must fit"),
    ],
)
def test_networks_that_cannot_be_built_are_refused_by_field(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        check_request("student", name, options)


@pytest.mark.parametrize(
    ("name", "options", "what"),
    [
        ("torchvision:resnet18", {"weights": "DEFAULT"}, "options.weights"),
        ("torchvision:resnet18", {"pretrained": True}, "options.pretrained"),
        pytest.param("timm:resnet18", {"pretrained": True}, "options.pretrained", marks=_TIMM),
        pytest.param("timm:hf-hub:timm/resnet18", {}, "name 'timm:hf-hub:timm/resnet18'", marks=_TIMM),
    ],
)
def test_what_comes_from_the_network_needs_leave(name: str, options: dict[str, Any], what: str) -> None:
    message = f"^teacher.network.{what} would be downloaded: give --allow-download to allow it$"
    with pytest.raises(InputError, match=message):
        check_request("teacher.network", name, options)
    check_request("teacher.network", name, options, allow_download=True)


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "local-dir:/tmp",
        "LOCAL-DIR:/tmp",
        "local_dir:/tmp",
        "HF-HUB:timm/resnet18",
        "hf_hub:timm/resnet18",
        "file:///tmp/resnet18",
        "https://example.com/resnet18",
        "timm/resnet18",
        "../resnet18",
        "resnet18.nope",
        "resnet18.local-dir:/tmp",
        "nope",
        "",
    ],
)
@_TIMM
def test_names_that_may_be_files_are_refused(name: str, allowed: bool) -> None:
    with pytest.raises(InputError, match=r"^student\.name must be 'timm:' and one of timm's models"):
        check_request("student", f"timm:{name}", {}, allow_download=allowed)


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize("option", ["checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"])
@_TIMM
def test_options_that_name_files_are_refused(option: str, allowed: bool) -> None:
    with pytest.raises(InputError, match=rf"^student\.options: {option} must not be given"):
        check_request("student", "timm:resnet18", {option: "/tmp"}, allow_download=allowed)


@_TIMM
def test_networks_of_timm_are_tried_with_their_options() -> None:
    check_request("student", "timm:resnet18", {})
    check_request("student", "timm:resnet18.a1_in1k", {"pretrained": False})
    with pytest.raises(InputError, match=r"^student\.options: name and options must fit one of timm's models"):
        check_request("student", "timm:resnet18", {"block_args": 3})
