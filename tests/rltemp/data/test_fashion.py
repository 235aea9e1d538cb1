import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rltemp.data import load_fashion
from rltemp.data.idx import read_idx
from rltemp.errors import InputError


def write_idx(path: Path, values: "np.typing.NDArray[np.uint8]") -> None:
    """By the format's definition: two zeros, the type, the number of dimensions, their sizes, the bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes())


@pytest.fixture
def files(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for part, count in (("train", 5), ("t10k", 3)):
        raw = tmp_path / "FashionMNIST" / "raw"
        write_idx(raw / f"{part}-images-idx3-ubyte", rng.integers(0, 256, (count, 28, 28), dtype=np.uint8))
        write_idx(raw / f"{part}-labels-idx1-ubyte", rng.integers(0, 10, count, dtype=np.uint8))
    return tmp_path


@pytest.mark.parametrize("packed", [False, True])
def test_images_are_what_torchvision_reads(files: Path, packed: bool) -> None:
    from torchvision.datasets import FashionMNIST

    expected = [FashionMNIST(str(files), train=part == "train") for part in ("train", "test")]
    if packed:
        for path in (files / "FashionMNIST" / "raw").iterdir():
            Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    for part, reference in zip(("train", "test"), expected, strict=True):
        data = load_fashion(files, part)  # type: ignore[arg-type]
        assert data.images[:, 0].tolist() == reference.data.tolist()
        assert (data.targets.tolist(), data.classes) == (reference.targets.tolist(), 10)


def test_files_that_do_not_belong_together_are_refused(files: Path) -> None:
    raw = files / "FashionMNIST" / "raw"
    write_idx(raw / "train-labels-idx1-ubyte", np.array([0, 1, 2, 3, 10], dtype=np.uint8))
    with pytest.raises(InputError, match=r"label from 0 to 9 each, the train files of .*raw have .* labels up to 10$"):
        load_fashion(files, "train")
    write_idx(raw / "train-labels-idx1-ubyte", np.zeros(4, dtype=np.uint8))
    with pytest.raises(InputError, match=r"shapes \[5, 28, 28\] and \[4\]"):
        load_fashion(files, "train")
    (raw / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(InputError, match=r"idx file of bytes, got .*train-labels-idx1-ubyte, which does not exist"):
        load_fashion(files, "train")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\x08",
        b"\0\0\x08\0",
        b"\0\0\x0d\x01\0\0\0\x01" + bytes(4),
        b"\0\0\x08\x01\0\0\0\x05abc",
        b"\0\0\x08\x01\0\0\0\0",
        b"\0\0\x08\xff" + b"\xff" * 1020,
    ],
)
def test_what_is_no_idx_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(content)
    with pytest.raises(InputError, match=r"path must be an idx file of bytes, .*odd is damaged or of another format"):
        read_idx(tmp_path / "odd")


def test_damage_to_a_packed_file_is_refused(tmp_path: Path) -> None:
    write_idx(tmp_path / "part", np.arange(200, dtype=np.uint8))
    whole = gzip.compress((tmp_path / "part").read_bytes())
    (tmp_path / "part").unlink()
    damages: list[Callable[[bytes], Any]] = [lambda b: b[:-9], lambda b: b[:30] + b"\xff" + b[31:], lambda b: b"PK" + b]
    for damage in damages:
        (tmp_path / "part.gz").write_bytes(damage(whole))
        with pytest.raises(InputError, match=r"part\.gz (cannot be unpacked|is damaged)") as refusal:
            read_idx(tmp_path / "part")
        assert "\n" not in str(refusal.value)
