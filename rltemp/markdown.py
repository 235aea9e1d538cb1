"""Words of strangers as Markdown: nothing in them is more than text."""

from __future__ import annotations

import re

__all__ = ["escape_markdown"]

_RULES = (
    (re.compile(r"\s+"), " "),
    (re.compile(r"[\\`*~|<>&]|!(?=\[)"), r"\\\g<0>"),
    # Of brackets only what could make a link, and of underscores only those that are not within a word.
    (re.compile(r"\](?=[(\[:])"), r"\\]"),
    (re.compile(r"(?<![^\W_])_|_(?![^\W_])"), r"\\_"),
    # What begins a heading, a list or a rule where the text stands at the beginning of a line.
    (re.compile(r"^(\d*)([#=-]|\+(?=\s|$)|(?<=\d)[.)](?=\s|$))"), r"\1\\\2"),
    # Addresses that GitHub makes links of without being asked to; an empty comment cuts them, a backslash does not.
    (re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?<=@)", re.IGNORECASE), "<!-- -->"),
)


def escape_markdown(text: str) -> str:
    """One line of Markdown, within a paragraph, a list or a table, that shows `text` without its control characters."""
    text = "".join(character for character in text if character.isprintable() or character.isspace()).strip()
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text
