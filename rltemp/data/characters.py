"""Texts as windows of characters, each of which is to be followed by the next."""

from __future__ import annotations

import unicodedata
from importlib import resources

import torch
from torch import Tensor

from rltemp.data.dataset import Dataset
from rltemp.errors import InputError

__all__ = ["ALPHABET", "cut_text", "decode", "encode", "shakespeare_sample"]

ALPHABET = "\n" + "".join(map(chr, range(32, 127)))
"""The classes of every text, the same for all, so that networks and policies of one text fit another."""

_IDS = {character: i for i, character in enumerate(ALPHABET)}
_SIMILAR = str.maketrans(
    {
        "\N{LEFT SINGLE QUOTATION MARK}": "'",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "\N{LEFT DOUBLE QUOTATION MARK}": '"',
        "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
        "\N{EN DASH}": "-",
        "\N{EM DASH}": "-",
        "\t": " ",
        "\r": "\n",
    }
)
_UNKNOWN = "?"
_TENTH = 10


def encode(text: str) -> Tensor:
    """Ids [M] in `ALPHABET` of a text.

    Accents are dropped, quotation marks and dashes are those of a typewriter; what is left is a question mark.
    """
    plain = unicodedata.normalize("NFKD", text.replace("\r\n", "\n").translate(_SIMILAR))
    kept = (character for character in plain if not unicodedata.combining(character))
    unknown = _IDS[_UNKNOWN]
    return torch.tensor([_IDS.get(character, unknown) for character in kept], dtype=torch.int64)


def decode(ids: Tensor) -> str:
    """The text of ids [M]."""
    return "".join(ALPHABET[i] for i in ids.tolist())


def windows(ids: Tensor, context: int) -> Dataset:
    """Windows [N, L] of a text, end to end, and the character after each of theirs, [N, L].

    No character is the target of two windows, none of them is padded, and less than a window at the end is left out.

    Args:
        ids: of the text, [M].
        context: L, >= 1.

    Raises:
        InputError: for a text that is shorter than a window and the character after it.
    """
    count = (len(ids) - 1) // context
    if count < 1:
        raise InputError(
            f"a text must have at least {context + 1} characters for data.context {context}, got {len(ids)}"
        )
    end = count * context
    return Dataset(ids[:end].view(count, context), ids[1 : end + 1].view(count, context).clone(), len(ALPHABET))


def cut_text(text: str, context: int, test: str | None = None) -> tuple[Dataset, Dataset]:
    """Windows of a text to train on, and those of its last tenth, or of another text, to test with.

    Args:
        text: the text.
        context: positions L of a window, >= 1.
        test: text of the test windows; None for the last tenth of `text`.

    Raises:
        InputError: for a text that is too short.
    """
    ids = encode(text)
    if test is not None:
        return windows(ids, context), windows(encode(test), context)
    end = len(ids) - len(ids) // _TENTH
    return windows(ids[:end], context), windows(ids[end:], context)


def shakespeare_sample() -> str:
    """The text that comes with the package: the beginning of "Coriolanus" (1608, public domain)."""
    return resources.files("rltemp.data").joinpath("shakespeare.txt").read_text(encoding="utf-8")
