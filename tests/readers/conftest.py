"""A valid file of each kind, hundreds of seeded mutations of it, and how its reader may end.

Whatever a file holds, its reader ends in a value or in our error: no other exception, no hang, bounded memory. `pytest
-s` prints how often each ended in which way.
"""

from __future__ import annotations

import io
import os
import random
import resource
import signal
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rltemp.errors import InputError

CASES = 150
SECONDS = 30
BYTES = 1 << 30

Reader = tuple[Path, Callable[[], Any]]
"""The file to mutate, and what reads it: None and False stand for a file that is as good as none."""
Ending = Callable[[Callable[[], Any]], str]


def mutate(whole: bytes, rng: random.Random) -> bytes:
    """One damage: of a disk, of a transfer, of a hand."""
    data, at = bytearray(whole), rng.randrange(len(whole))
    size = rng.choice((1, 4, 8, 64, 1000))
    kind = rng.choice(("flip", "cut", "insert", "remove", "splice", "length", "end", "empty"))
    if kind == "flip":
        for _ in range(size % 7):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del data[at:]
    elif kind == "insert":
        data[at:at] = rng.randbytes(size)
    elif kind == "remove":
        del data[at : at + size]
    elif kind == "splice":
        source = rng.randrange(len(data))
        data[at : at + size] = data[source : source + size]
    elif kind == "length":
        data[at : at + 4] = rng.choice((b"\xff" * 4, b"\xff\xff\xff\x7f", b"\0" * 4, b"9999", b"\0\0\0\x10"))
    elif kind == "end":
        data += data[at:] or b"\0"
    else:
        data.clear()
    return bytes(data)


def mutate_record(whole: bytes, rng: random.Random) -> bytes:
    """A zip archive that is in order but for what its pickle says."""
    mutated = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as source, zipfile.ZipFile(mutated, "w") as target:
        for record in source.infolist():
            content = source.read(record)
            target.writestr(record, mutate(content, rng) if record.filename.endswith("data.pkl") else content)
    return mutated.getvalue()


class Hang(BaseException):
    """Not an `Exception`, which readers may catch."""


@pytest.fixture(scope="session")
def ending() -> Iterator[Ending]:
    """How a reader ends: "read", "none" or "refused"; anything else is an exception."""

    def stop(*_: object) -> None:
        raise Hang

    def end(read: Callable[[], Any]) -> str:
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            value = read()
        except InputError as error:
            return "refused" if len(str(error).splitlines()) == 1 else f"refused in several lines: {error}"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return "none" if value is False else "read"

    before = signal.signal(signal.SIGALRM, stop)
    yield end
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def fuzz(ending: Ending) -> Callable[..., None]:
    """Holds mutations of a file, or of the pickle within it, against its reader."""

    def fuzz(reader: Reader, within: bool = False, cases: int = CASES) -> None:
        path, read = reader
        whole, rng = path.read_bytes(), random.Random(0)
        read()  # with no bound to its time: it imports what it needs
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        endings: Counter[str] = Counter()
        for _ in range(cases):
            path.write_bytes(mutate_record(whole, rng) if within else mutate(whole, rng))
            endings[ending(read)] += 1
        assert 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) < BYTES
        print(f"{path.name}: {dict(endings)}", end=" ")
        assert set(endings) <= {"read", "none", "refused"}
        assert endings["read"] < cases * 7 // 8

    return fuzz


@pytest.fixture
def refuse_other_files(ending: Ending) -> Callable[[Reader], None]:
    """Holds a pipe, a link to itself and a folder in the file's place against its reader."""

    def refuse(reader: Reader) -> None:
        path, read = reader
        read()
        for make in (os.mkfifo, lambda path: path.symlink_to(path), Path.mkdir):
            path.unlink()
            make(path)
            assert ending(read) in ("none", "refused"), make
            if not path.is_dir():
                continue
            path.rmdir()
            path.touch()

    return refuse
