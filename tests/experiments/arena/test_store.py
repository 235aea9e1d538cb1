"""Results on disk: found again bit for bit, and added to by one process at a time."""

from pathlib import Path

import pytest

from rltemp.errors import InputError
from rltemp.experiments.arena.store import ResultStore


def test_what_is_kept_is_found_by_any_store_of_the_folder(tmp_path: Path) -> None:
    result = {"trials": [{"accuracy": 0.1 + 0.2, "nll": float("inf")}], "name": "T²"}
    ResultStore(tmp_path / "work").keep("key", result)
    assert ResultStore(tmp_path / "work").find("key") == result
    assert ResultStore(tmp_path / "work").find("other") is None


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000])
def test_what_cannot_be_read_is_not_there(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key.json").write_bytes(content)
    assert ResultStore(tmp_path).find("key") is None


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with ResultStore(tmp_path).alone():
        with pytest.raises(InputError, match="another process works in"), ResultStore(tmp_path).alone():
            pass
        ResultStore(tmp_path).keep("key", {})
    with ResultStore(tmp_path).alone():
        assert ResultStore(tmp_path).find("key") == {}
