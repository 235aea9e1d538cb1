"""Writing files atomically: no reader sees half of a file, and drafts that a crash left are removed later."""

import hashlib
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rltemp.errors import InputError

__all__ = ["atomic_write", "is_draft", "naming", "new_draft", "sweep_drafts"]

_DRAFT = re.compile(r"\.draft-(?P<host>[0-9a-f]{8})-(?P<process>[0-9]+)-[0-9a-f]{8}")


def atomic_write(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Replace the file at `path` by `content` in one step, or leave the old file as it was.

    Text is written as UTF-8 with its line ends unchanged. A symbolic link is followed.

    Raises:
        InputError: if the folder of `path` does not exist or refuses new files, or if `path` is a folder.
        OSError: if the disk is full or fails; it names `path`.
    """
    target = Path(path).resolve()
    if target.is_dir():
        raise InputError(f"path must name a file, got the folder {path}")
    temporary = new_draft(target)
    try:
        file = open(temporary, "xb")  # noqa: SIM115 (a bad path fails here, a full disk below)
    except OSError as error:
        raise InputError(f"path must lie in an existing, writable folder, got {path} ({error.strerror})") from error
    try:
        with naming(path), file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        with naming(path):
            os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sweep_drafts(target.parent)


def new_draft(target: Path) -> Path:
    """A free name in the folder of `target` for a file or folder that is renamed to `target` when it is complete.

    It is in the same folder, since a rename is atomic only within one file system.
    """
    return target.with_name(f".draft-{_host()}-{os.getpid()}-{secrets.token_hex(4)}")


def is_draft(path: Path) -> bool:
    """Whether `path` has the name of a draft, of any process on any machine."""
    return _DRAFT.fullmatch(path.name) is not None


def sweep_drafts(folder: Path) -> None:
    """Remove the drafts in `folder` whose process, on this machine, has ended; file system errors are ignored."""
    with suppress(OSError):
        for path in folder.iterdir():
            draft = _DRAFT.fullmatch(path.name)
            # A process number of another machine says nothing: the draft's owner may be alive there.
            if draft and draft["host"] == _host() and not _alive(int(draft["process"])):
                _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Set the file name of an `OSError` raised inside the block to `path`; a write to an open file names none."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename = os.fspath(path)
        raise


def _host() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _alive(process: int) -> bool:
    if os.name != "posix":
        return True  # on Windows, signal 0 is a real signal
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
