"""Text of our own in the cells of a Markdown table."""

from html import escape

__all__ = ["cell"]


def cell(text: str) -> str:
    """The text as a cell that shows it literally, but for what stands between backticks, which is code."""
    parts = text.split("`")
    parts[::2] = [escape(part, quote=False).replace("|", "&#124;").replace("*", "&#42;") for part in parts[::2]]
    return "`".join(parts)
