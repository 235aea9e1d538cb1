"""Writing files so that a reader, or a crash, never meets half of one."""

import os
import secrets
from pathlib import Path

from rltemp.errors import InputError

__all__ = ["atomic_write"]


def atomic_write(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Replace the file at `path` by `content` in one step, or leave it as it was.

    Text is written as UTF-8 with its line ends as they are. A symbolic link is followed.

    Raises:
        InputError: if the folder of `path` does not exist or refuses new files, or if `path` is a folder.
    """
    target = Path(path).resolve()
    if target.is_dir():
        raise InputError(f"path must name a file, got the folder {path}")
    # The same folder, since a rename is atomic only within one file system.
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        file = open(temporary, "xb")  # noqa: SIM115 (the two failures differ: a bad path here, a full disk below)
    except OSError as error:
        raise InputError(f"path must lie in an existing, writable folder, got {path} ({error.strerror})") from error
    try:
        with file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
