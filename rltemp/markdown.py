"""Escaping of untrusted text, so that Markdown shows it literally."""

from __future__ import annotations

import re

__all__ = ["escape_markdown"]

_RULES = (
    (re.compile(r"\s+"), " "),
    (re.compile(r"[\\`*~|<>&]|!(?=\[)"), r"\\\g<0>"),
    # Only brackets that could make a link, and only underscores that are not within a word.
    (re.compile(r"\](?=[(\[:])"), r"\\]"),
    (re.compile(r"(?<![^\W_])_|_(?![^\W_])"), r"\\_"),
    # Characters that begin a heading, a list, or a rule if the text stands at the beginning of a line.
    (re.compile(r"^(\d*)([#=-]|\+(?=\s|$)|(?<=\d)[.)](?=\s|$))"), r"\1\\\2"),
    # Addresses that GitHub turns into links by itself: an empty comment splits them, a backslash does not.
    (re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?<=@)", re.IGNORECASE), "<!-- -->"),
)


def escape_markdown(text: str) -> str:
    """One line of Markdown, for a paragraph, a list, or a table, that shows `text` without its control characters."""
    text = "".join(character for character in text if character.isprintable() or character.isspace()).strip()
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text
