import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from rltemp.errors import InputError
from rltemp.files import atomic_write, new_draft


@pytest.mark.parametrize("content", ["ä\r\nb\n", b"\x00\xff", "", b""])
def test_content_arrives_unchanged(tmp_path: Path, content: str | bytes) -> None:
    atomic_write(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert os.listdir(tmp_path) == ["file"]


def test_an_old_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("a much longer old content")
    atomic_write(path, "new")
    assert path.read_text() == "new"


def test_a_failure_keeps_the_old_file_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        atomic_write(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_text_that_cannot_be_encoded_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        atomic_write(path, "\ud800")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_the_umask_decides_who_may_read(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        atomic_write(tmp_path / "file", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    atomic_write(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"existing, writable folder.*missing"):
        atomic_write(tmp_path / "missing" / "file", "x")
    assert os.listdir(tmp_path) == []


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="got the folder"):
        atomic_write(tmp_path, "x")


def test_a_full_disk_is_named_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        atomic_write(tmp_path / "file", "x")
    assert caught.value.filename == str(tmp_path / "file")
    assert os.listdir(tmp_path) == []


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    atomic_write(tmp_path / ("x" * 255), "content")
    assert (tmp_path / ("x" * 255)).read_text() == "content"


def test_drafts_of_dead_processes_are_swept_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys\nfrom rltemp.files import new_draft\n"
        "draft = new_draft(pathlib.Path(sys.argv[1]) / 'file')\ndraft.mkdir()\n(draft / 'part').write_text('half')\n"
        "new_draft(draft).write_text('half')\nprint(draft.name, flush=True)\ninput()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        theirs = other.stdout.readline().strip()
        foreign = theirs.replace(theirs.split("-")[1], "0" * 8)  # of another machine
        for name in (foreign, new_draft(tmp_path / "file").name, ".draft-of-mine"):
            (tmp_path / name).write_text("")
        before = set(os.listdir(tmp_path))
        assert len(before) == 5
        atomic_write(tmp_path / "file", "x")
        assert set(os.listdir(tmp_path)) == before | {"file"}
        other.kill()
    atomic_write(tmp_path / "file", "y")
    after = set(os.listdir(tmp_path))
    assert theirs not in after
    assert after < before | {"file"}
    assert len(after) == 4
