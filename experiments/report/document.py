"""A page and its figures as HTML: no scripts, no requests, no other files."""

from __future__ import annotations

import re
from html import escape

from matplotlib.figure import Figure

from rltemp.experiments.report.figure import GRID, INK, MUTED, PAPER, to_svg
from rltemp.experiments.report.style import STYLE

__all__ = ["to_document", "to_figure", "to_prose"]

# The page's own answer to a request it must never make.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def to_document(title: str, kicker: str, body: str, style: str = "") -> str:
    """A whole page.

    Args:
        title: its name, as text.
        kicker: what stands above the title, as text.
        body: what stands below it, as HTML.
        style: rules beyond the common style sheet's.
    """
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(title)} · rltemp</title>
<style>{STYLE}{style}</style>
</head>
<body>
<main>
<header>
<p>{escape(kicker)}</p>
<h1>{escape(title)}</h1>
</header>
{body}
</main>
</body>
</html>
"""


def to_prose(text: str) -> str:
    """A sentence as HTML; what stands between backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def to_figure(key: str, figure: Figure, title: str, caption: str) -> str:
    """A figure with its title and caption as an element of a page; `key` is no other figure's."""
    svg = _inline(to_svg(figure), key, title)
    return f"<figure>\n<h3>{escape(title)}</h3>\n{svg}\n<figcaption>{to_prose(caption)}</figcaption>\n</figure>"


def _inline(svg: str, key: str, title: str) -> str:
    """An SVG file as an element of a page: ids of its own, the page's colors, as wide as there is room."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\g<1>{key}-", svg)
    # A function's answer is taken as it is, backslashes included.
    svg = re.sub(
        r'width="[\d.]+pt" height="[\d.]+pt"', lambda _: f'role="img" aria-label="{escape(title)}"', svg, count=1
    )
    for color, variable in ((INK, "ink"), (MUTED, "muted"), (GRID, "grid"), (PAPER, "paper")):
        svg = svg.replace(color, f"var(--{variable})")
    return svg
