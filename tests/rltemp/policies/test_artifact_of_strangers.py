"""What a stranger sends in a policy's place, bent, cut or swapped, is refused, runs nothing and costs nothing."""

import io
import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rltemp import InputError, load_policy
from rltemp.features import ALIGNED_FEATURES, FEATURES_VERSION
from rltemp.policies import artifact
from tests.rltemp.policies.saved import DESCRIPTION, WEIGHTS, describe, policy_of, same_weights, weigh


class Bomb:
    """Unpickling it leaves a file behind."""

    def __init__(self, fuse: Path) -> None:
        self.fuse = fuse

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.fuse),)


def _header(content: object, data: bytes = b"") -> bytes:
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text + data


def test_a_pickle_in_place_of_weights_is_refused_and_never_runs(folder: Path) -> None:
    fuse = folder.parent / "fuse"
    size = (folder / WEIGHTS).stat().st_size
    buffer = io.BytesIO()
    torch.save(Bomb(fuse), buffer)
    for content in (pickle.dumps(Bomb(fuse)), buffer.getvalue()):
        for padded in (content, content.ljust(size, b"\0")):
            (folder / WEIGHTS).write_bytes(padded)
            with pytest.raises(InputError, match=r"policy\.safetensors must"):
                load_policy(folder)
    (folder / DESCRIPTION).write_bytes(pickle.dumps(Bomb(fuse)))
    with pytest.raises(InputError, match=r"policy\.json must be plain JSON"):
        load_policy(folder)
    assert not fuse.exists()


def _rename(old: str, new: str) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(weights: dict[str, torch.Tensor]) -> None:
        weights[new] = weights.pop(old)

    return change


def _replace(name: str, value: torch.Tensor) -> Callable[[dict[str, torch.Tensor]], None]:
    return lambda weights: weights.update({name: value})


WIDTH = len(ALIGNED_FEATURES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_rename("net.0.weight", "../../../etc/passwd"), r"tensors missing \['net.0.weight'\], unexpected \['../../"),
        (lambda weights: weights.pop("net.4.bias"), "bytes for these layers|tensors missing"),
        (_replace("net.9.bias", torch.zeros(3)), r"unexpected \['net.9.bias'\]"),
        (_replace("net.0.weight", torch.zeros(6, WIDTH).double()), r"net.0.weight must be F32 .*, got F64"),
        (_replace("net.0.weight", torch.zeros(6, 2 * WIDTH).half()), r"net.0.weight must be F32 .*, got F16"),
        (_replace("net.0.weight", torch.zeros(6, WIDTH).int()), r"net.0.weight must be F32 .*, got I32"),
        (_replace("net.0.weight", torch.zeros(WIDTH, 6)), rf"must be F32 \[6, {WIDTH}\], got F32 \[{WIDTH}, 6\]"),
        (_replace("net.4.bias", torch.zeros(())), r"net.4.bias must be F32 \[1\], got F32 \[\]"),
        (_replace("net.4.bias", torch.full((1,), torch.nan)), "weights must be finite, got NaN or infinity in net.4"),
        (_replace("net.4.bias", torch.full((1,), torch.inf)), "weights must be finite"),
    ],
)
def test_other_weights_are_refused(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], object], message: str
) -> None:
    weigh(folder, change)
    with pytest.raises(InputError, match=message):
        load_policy(folder)


@pytest.mark.parametrize(
    "header",
    [
        {"net.0.weight": {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 4]}},
        {"net.0.weight": {"dtype": "F32", "shape": [1 << 62], "data_offsets": [0, 1 << 62]}},
        {"net.0.weight": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        {"net.0.weight": {"dtype": "object", "shape": [1], "data_offsets": [0, 4]}},
        {"__metadata__": {"a": "b" * 5000}},
        [],
        "text",
    ],
)
def test_a_header_that_lies_is_refused(folder: Path, header: object) -> None:
    size = (folder / WEIGHTS).stat().st_size
    (folder / WEIGHTS).write_bytes(_header(header, b"\0\0\0\0").ljust(size, b"\0"))
    with pytest.raises(InputError, match=r"policy\.safetensors(:| must)"):
        load_policy(folder)


def test_a_header_length_beyond_the_file_is_refused(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    for length in (0, 1, len(content), 1 << 40, (1 << 64) - 1):
        (folder / WEIGHTS).write_bytes(struct.pack("<Q", length) + content[8:])
        with pytest.raises(InputError, match=r"policy\.safetensors must be a safetensors file"):
            load_policy(folder)


def test_every_truncation_is_refused(folder: Path) -> None:
    for name in (WEIGHTS, DESCRIPTION):
        content = (folder / name).read_bytes()
        for length in {0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 2}:
            (folder / name).write_bytes(content[:length])
            with pytest.raises(InputError):
                load_policy(folder)
        (folder / name).write_bytes(content)
    load_policy(folder)


def test_layers_without_their_weights_take_no_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight layers of 4096 would take half a gigabyte."""
    monkeypatch.delattr(artifact, "LearnedPolicy")
    describe(folder, hidden=[4096] * 8)
    with pytest.raises(InputError, match=r"must have \d+ to \d+ bytes for these layers, got"):
        load_policy(folder)


def test_a_file_much_too_large_is_not_read(folder: Path) -> None:
    for name, message in (
        (WEIGHTS, "bytes for these layers, got 1099511627776"),
        (DESCRIPTION, "at most 1048576 bytes"),
    ):
        content = (folder / name).read_bytes()
        os.truncate(folder / name, 1 << 40)  # a hole: it takes no space on the disk
        with pytest.raises(InputError, match=message):
            load_policy(folder)
        (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "format_version must be 1, got 2"),
        ({"format_version": True}, "format_version must be 1, got True"),
        ({"format_version": 1.0}, "format_version must be 1, got 1.0"),
        ({"format_version": None}, "format_version must be 1, got None"),
        ({"features_version": FEATURES_VERSION + 1}, f"features_version must be {FEATURES_VERSION}"),
        ({"features_version": str(FEATURES_VERSION)}, f"features_version must be {FEATURES_VERSION}"),
        ({"features": []}, "features must be names this version has"),
        ({"features": ["student_loss", *ALIGNED_FEATURES[1:]]}, "features must be names this version has"),
        ({"features": [*ALIGNED_FEATURES[1:], ALIGNED_FEATURES[1]]}, "features must be names this version has"),
        ({"features": "progress"}, "features must be a list of names"),
        ({"features": [["progress"]]}, "features must be a list of names"),
        ({"hidden": [6, 4, 4]}, "bytes for these layers|tensors missing"),
        ({"hidden": [4, 6]}, "must be F32|bytes for these layers"),
        ({"hidden": [-6, 4]}, "hidden must be at most"),
        ({"hidden": [6.0, 4]}, "hidden must be at most"),
        ({"hidden": [True, 4]}, "hidden must be at most"),
        ({"hidden": [10**400]}, "hidden must be at most"),
        ({"hidden": [1] * 1000}, "hidden must be at most"),
        ({"hidden": 6}, "hidden must be at most"),
        ({"temperature_range": [1.0]}, "temperature_range must be two numbers"),
        ({"temperature_range": [0.0, 1.0]}, "temperature_range must be two numbers"),
        ({"temperature_range": [1e-300, 1.0]}, "temperature_range must be two numbers"),
        ({"temperature_range": [1, 10**400]}, "temperature_range must be two numbers"),
        ({"temperature_range": ["1", "2"]}, "temperature_range must be two numbers"),
        ({"temperature_range": [2.0, 1.0]}, "temperature range must satisfy"),
        ({"scale": 0.0}, "scale must be null or a number in"),
        ({"scale": "16"}, "scale must be null or a number in"),
        ({"scale": True}, "scale must be null or a number in"),
        ({"scale": 10**400}, "scale must be null or a number in"),
        ({"activation": "gelu"}, "activation must be one of tanh, relu, got 'gelu'"),
        ({"activation": ["relu"]}, "activation must be one of tanh, relu"),
        ({"activation": None}, "activation must be one of tanh, relu"),
        ({"squash": 1}, "squash must be true or false, got 1"),
        ({"squash": None}, "squash must be true or false"),
        ({"card": "text"}, "card must be an object"),
        ({"__class__": "os.system"}, "must have the keys"),
        ({"../../evil": 1}, "must have the keys"),
    ],
)
def test_another_description_is_refused(folder: Path, changes: dict[str, Any], message: str) -> None:
    describe(folder, **changes)
    with pytest.raises(InputError, match=message) as refusal:
        load_policy(folder)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 1000


def _bomb(text: str) -> Callable[[str], str]:
    return lambda description: description.replace('"card": {}', f'"card": {text}')


@pytest.mark.parametrize(
    "bend",
    [
        lambda description: "[" * 200_000,
        lambda description: '{"card":' * 100_000,
        _bomb('{"a": ' * 50_000 + "1" + "}" * 50_000),
        _bomb('{"a": ' + "9" * 10_000 + "}"),
        _bomb('{"a": NaN}'),
        _bomb('{"a": -Infinity}'),
        _bomb('{"a": 1, "a": 2}'),
        _bomb('{"\\ud800": 1}'),
        lambda description: description.replace('"hidden"', '"hidden": [6, 4], "hidden"'),
        lambda description: description + "{}",
        lambda description: "null",
        lambda description: "1",
        lambda description: "\x00" * 100,
        lambda description: "\ufeff" + description,
        lambda description: "",
    ],
)
def test_a_json_bomb_is_refused_or_harmless(folder: Path, bend: Callable[[str], str]) -> None:
    path = folder / DESCRIPTION
    original = path.read_text()
    bent = bend(original)
    assert bent != original
    path.write_text(bent)
    if "\\ud800" in bent:
        assert same_weights(load_policy(folder), policy_of())  # a lone surrogate in the card is odd, and valid JSON
        return
    with pytest.raises(InputError, match=r"policy\.json") as refusal:
        load_policy(folder)
    assert "\n" not in str(refusal.value)


def test_other_encodings_are_refused(folder: Path) -> None:
    text = (folder / DESCRIPTION).read_text()
    for encoding in ("utf-16", "utf-32"):
        (folder / DESCRIPTION).write_bytes(text.encode(encoding))
        with pytest.raises(InputError, match=r"policy\.json must be plain JSON"):
            load_policy(folder)


@pytest.mark.parametrize("name", [WEIGHTS, DESCRIPTION])
def test_links_pipes_and_folders_in_place_of_files_are_refused(folder: Path, name: str) -> None:
    path = folder / name
    elsewhere = folder.parent / name
    path.rename(elsewhere)
    with pytest.raises(InputError, match=f"lacks {name}"):
        load_policy(folder)
    makers: list[Callable[[], None]] = [lambda: path.symlink_to(elsewhere), path.mkdir, lambda: os.mkfifo(path)]
    for make in makers:
        make()
        with pytest.raises(InputError, match="must be a plain file"):
            load_policy(folder)
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    path.symlink_to(folder / "nowhere")
    with pytest.raises(InputError, match=f"lacks {name}"):
        load_policy(folder)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "path must be a policy's folder, got nowhere, which does not exist"),
        ("rltemp/nothing", "policies that come with rltemp"),
        ("rltemp/../secrets", "policies that come with rltemp"),
        ("a\0b", "path must be a policy's folder"),
        ("", "path must be a policy's folder"),
    ],
)
def test_paths_that_lead_nowhere_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        load_policy(path)


def test_a_file_in_place_of_a_folder_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="which is a file"):
        load_policy(folder / WEIGHTS)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([WEIGHTS, DESCRIPTION]), st.data())
def test_fuzzed_files_give_our_error_or_a_policy(folder: Path, name: str, data: st.DataObject) -> None:
    path = folder / name
    original = path.read_bytes()
    bent = bytearray(original)
    # The header of the weights is where corruption has consequences.
    reach = min(len(bent), 600) if name == WEIGHTS else len(bent)
    for _ in range(data.draw(st.integers(0, 6))):
        bent[data.draw(st.integers(0, reach - 1))] = data.draw(st.integers(0, 255))
    start = data.draw(st.integers(0, len(bent)))
    match data.draw(st.sampled_from(["keep", "cut", "remove", "insert"])):
        case "cut":
            bent = bent[:start]
        case "remove":
            del bent[start : start + data.draw(st.integers(1, 50))]
        case "insert":
            bent[start:start] = data.draw(st.binary(min_size=1, max_size=50))
    path.write_bytes(bytes(bent))
    try:
        policy = load_policy(folder)
    except InputError:
        return
    finally:
        path.write_bytes(original)
    logits = torch.randn(3, 10, generator=torch.Generator().manual_seed(0))
    alignment = torch.zeros(3, sum(name.startswith("alignment_") for name in ALIGNED_FEATURES))
    assert len(policy(logits, logits, torch.arange(3), 0.5, alignment)) == 3
