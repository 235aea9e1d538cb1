"""A teacher on disk: exact round trips, interrupted writers, and files that must not be believed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from rltemp import InputError
from rltemp.tokens import StoredTopK, TopK, TopKWriter, layout


def tokens(count: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> TopK:
    logits = 3 * torch.randn(count, 50, generator=torch.Generator().manual_seed(seed))
    teacher = TopK.of(logits, 4)
    return TopK(teacher.log_probabilities.to(dtype), teacher.indices, 50)


def write(path: Path, *parts: TopK, **options: Any) -> Path:
    with TopKWriter(path, 50, 4, **{"shard_tokens": 8, **options}) as writer:
        for part in parts:
            writer.append(part)
    return path


def assert_same(one: TopK, other: TopK) -> None:
    assert torch.equal(one.log_probabilities, other.log_probabilities)
    assert one.dtype == other.dtype
    assert torch.equal(one.indices.long(), other.indices.long())
    assert one.vocabulary == other.vocabulary


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("sizes", [[20], [3, 0, 9, 8], [8, 8], [1] * 17, []])
def test_what_is_read_is_what_was_written(tmp_path: Path, dtype: str, sizes: list[int]) -> None:
    whole = tokens(sum(sizes), dtype=getattr(torch, dtype))
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    stored = StoredTopK(
        write(
            tmp_path / "a" / "b", *(whole[end - size : end] for end, size in zip(ends, sizes, strict=True)), dtype=dtype
        )
    )
    assert (len(stored), stored.vocabulary, stored.k) == (len(whole), 50, 4)
    assert_same(stored[:], whole)
    for rows in (slice(0, 0), slice(2, 3), slice(5, 17), slice(7, 9), slice(-4, None), slice(100, 200), slice(9, 3)):
        assert_same(stored[rows], whole[rows] if rows != slice(9, 3) else whole[:0])
    with pytest.raises(InputError, match="step 1, got 2"):
        stored[::2]


def test_a_writer_goes_on_where_another_stopped_and_the_files_are_the_same(tmp_path: Path) -> None:
    whole = tokens(30)
    write(tmp_path / "once", whole)
    for start, stop in ((0, 3), (3, 19), (19, 19), (19, 30)):
        with TopKWriter(tmp_path / "often", 50, 4, shard_tokens=8) as writer:
            assert len(writer) == start
            writer.append(whole[start:stop])
            assert len(writer) == stop
    names = sorted(os.listdir(tmp_path / "once"))
    assert names == sorted(os.listdir(tmp_path / "often"))
    assert len(names) == 5
    for name in names:
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "often" / name).read_bytes()


def test_a_writer_that_dies_leaves_whole_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tokens(30)
    writer = TopKWriter(tmp_path / "t", 50, 4, shard_tokens=8)
    writer.append(whole[:20])  # never closed: 16 of them fill shards
    assert_same(StoredTopK(tmp_path / "t")[:], whole[:16])

    def fail(*names: Any) -> None:
        raise OSError("disk full")

    again = TopKWriter(tmp_path / "t", 50, 4, shard_tokens=8)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="disk full"):
            again.append(whole[16:])
    assert_same(StoredTopK(tmp_path / "t")[:], whole[:16])
    last = TopKWriter(tmp_path / "t", 50, 4, shard_tokens=8)
    assert len(last) == 16
    last.append(whole[16:])
    last.close()
    assert_same(StoredTopK(tmp_path / "t")[:], whole)


def test_a_first_try_that_failed_does_not_stand_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / ".draft-00000000-1-00000000").write_text("{")
    assert len(StoredTopK(write(tmp_path / "t", tokens(3)))) == 3


def test_a_reader_maps_files_and_does_not_load_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = StoredTopK(write(tmp_path / "t", tokens(30)))
    monkeypatch.setattr(safetensors.torch, "load_file", None)
    monkeypatch.setattr(Path, "read_bytes", None)
    assert_same(stored[5:12], tokens(30)[5:12])


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"k": 5}, "got one of"),
        ({"vocabulary": 51}, "got one of"),
        ({"dtype": "float16"}, "got one of"),
        ({"k": 51}, "k must lie in"),
        ({"dtype": "int8"}, "dtype must be one of"),
        ({"shard_tokens": 0}, "shard_tokens"),
        ({"vocabulary": 1}, "vocabulary"),
    ],
)
def test_a_writer_of_other_values_is_refused(tmp_path: Path, options: dict[str, Any], word: str) -> None:
    write(tmp_path / "t", tokens(3))
    with pytest.raises(InputError, match=word):
        TopKWriter(tmp_path / "t", **{"vocabulary": 50, "k": 4, "shard_tokens": 8, **options})


def test_other_tokens_and_other_folders_are_refused(tmp_path: Path) -> None:
    with TopKWriter(tmp_path / "t", 50, 3) as writer, pytest.raises(InputError, match=r"\(50, 3\).*got \(50, 4\)"):
        writer.append(tokens(2))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="or empty"):
        TopKWriter(tmp_path / "other", 50, 4)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="folder that can be made"):
        TopKWriter(tmp_path / "file" / "t", 50, 4)
    with pytest.raises(InputError, match="does not exist"):
        StoredTopK(tmp_path / "nothing")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def _tensors(**tensors: torch.Tensor) -> Any:
    return lambda path: safetensors.torch.save_file(tensors, path)


DAMAGE = {
    "cut": (_cut, "safetensors file"),
    "noise": (lambda path: path.write_bytes(os.urandom(200)), "safetensors file"),
    "gap": (lambda path: path.unlink(), "shards 0 to 2"),
    "names": (_tensors(indices=torch.zeros(8, 4).int()), "log_probabilities and indices"),
    "shape": (_tensors(indices=torch.zeros(8, 4).int(), log_probabilities=torch.zeros(8, 3)), r"F32 \[8, 4\]"),
    "dtype": (_tensors(indices=torch.zeros(8, 4), log_probabilities=torch.zeros(8, 4)), r"I32 \[8, 4\]"),
    "size": (_tensors(indices=torch.zeros(7, 4).int(), log_probabilities=torch.zeros(7, 4)), "must hold 8 tokens"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_shard_is_named(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "t", tokens(30))
    damage, word = DAMAGE[name]
    damage(layout.shard_path(path, 1))
    for read in (lambda: StoredTopK(path), lambda: TopKWriter(path, 50, 4, shard_tokens=8)):
        with pytest.raises(InputError, match=word):
            read()


def test_values_that_are_no_log_probabilities_are_found_when_they_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "t", tokens(16))
    good = safetensors.torch.load_file(layout.shard_path(path, 1))
    _tensors(indices=good["indices"], log_probabilities=good["log_probabilities"] + 2.0)(layout.shard_path(path, 1))
    stored = StoredTopK(path)
    assert_same(stored[:8], tokens(16)[:8])
    with pytest.raises(InputError, match=r"undamaged tokens 3 to 12.*normalized"):
        stored[3:12]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"k": "4"}, "k must lie in"),
        ({"k": True}, "k must lie in"),
        ({"format_version": 2}, "format_version must be 1"),
        ({"format_version": True}, "format_version must be 1"),
        ({"extra": 1}, "must have the keys"),
        ({"dtype": []}, "dtype must be one of"),
    ],
)
def test_a_description_of_another_kind_is_refused(tmp_path: Path, change: dict[str, Any], word: str) -> None:
    path = write(tmp_path / "t", tokens(3))
    description = json.loads((path / "teacher.json").read_text())
    (path / "teacher.json").write_text(json.dumps({**description, **change}))
    with pytest.raises(InputError, match=word):
        StoredTopK(path)
    (path / "teacher.json").write_text("[" * 10_000)
    with pytest.raises(InputError, match="plain JSON"):
        StoredTopK(path)
