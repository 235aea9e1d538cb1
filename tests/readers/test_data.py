"""Data sets of strangers: arrays, recordings and tables of texts."""

from __future__ import annotations

import gzip
import struct
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rltemp.data import load_news
from rltemp.data.idx import read_idx
from rltemp.data.speech import log_mel

Reader = tuple[Path, Callable[[], Any]]


def array(folder: Path) -> Reader:
    path = folder / "labels-idx1-ubyte"
    path.write_bytes(struct.pack(">BBBBI", 0, 0, 8, 1, 40) + bytes(range(40)))
    return path, lambda: read_idx(path)


def packed(folder: Path) -> Reader:
    path, _ = array(folder)
    content = gzip.compress(path.read_bytes())
    path.unlink()
    Path(f"{path}.gz").write_bytes(content)
    return Path(f"{path}.gz"), lambda: read_idx(path)


def recording(folder: Path) -> Reader:
    path = folder / "0_ada_0.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(np.random.default_rng(0).integers(-99, 99, 60).astype("<i2").tobytes())
    return path, lambda: log_mel(str(path))


def texts(folder: Path) -> Reader:
    for part in ("train", "test"):
        (folder / f"{part}.tsv").write_text("oil up\tBusiness\ngoal\tSports\n")
    return folder / "train.tsv", lambda: load_news(folder)


READERS: dict[str, Callable[[Path], Reader]] = {"idx": array, "packed": packed, "wav": recording, "texts": texts}


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_ends_in_a_value_or_in_our_error(name: str, fuzz: Callable[..., None], tmp_path: Path) -> None:
    fuzz(READERS[name](tmp_path))


@pytest.mark.parametrize("name", READERS)
def test_what_is_no_regular_file_is_refused_at_once(
    name: str, refuse_other_files: Callable[[Reader], None], tmp_path: Path
) -> None:
    refuse_other_files(READERS[name](tmp_path))
