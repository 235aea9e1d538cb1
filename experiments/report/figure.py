"""The look of every figure, and figures as deterministic SVG and PNG."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from rltemp.experiments.evaluation.results import Family

__all__ = [
    "COLORS",
    "FAMILY_NAMES",
    "GRID",
    "INK",
    "MUTED",
    "PAPER",
    "WIDTH",
    "difficulty_axis",
    "drawing",
    "temperature_axis",
    "to_png",
    "to_svg",
]

# Hues after Okabe & Ito (2008), told apart with every common color blindness; tuned to hold on white and on black.
COLORS: dict[Family, str] = {
    "trained": "#d55e00",
    "schedule": "#009e73",
    "static": "#3b82c4",
    "rule": "#b5679b",
    "control": "#8a8f98",
}
FAMILY_NAMES: dict[Family, str] = {
    "trained": "learned",
    "schedule": "schedule",
    "static": "static T",
    "rule": "published rule",
    "control": "control",
}
# Each of these occurs for one purpose only, so that a page with a dark scheme may replace them.
INK, MUTED, GRID, PAPER = "#24292f", "#626a73", "#dfe3e8", "#fefefe"
WIDTH = 4.8
"""Inches: narrow enough for text to stay readable on a phone, where the figure shrinks to the screen."""

RC: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    # A label is a label, dollar signs included.
    "text.parse_math": False,
}


@contextmanager
def style() -> Iterator[None]:
    """The look of rltemp's figures for the time of the block; the person's own settings are back afterwards."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)
        yield


@contextmanager
def drawing(height: float, width: float = WIDTH) -> Iterator[Figure]:
    """An empty figure of `width` and `height` inches, in the common style, laid out when the block ends."""
    with style():
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
        FigureCanvasAgg(figure)
        yield figure
        # Every further layout would start from this one and move things a little: the text would depend on how often
        # the figure was rendered.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def temperature_axis(axes: Axes) -> None:
    """Make y a logarithmic axis of temperatures with a tick at every power of two, or as many as there is room for.

    At least three ticks say something, and noise does not look like choice.
    """
    axes.set_yscale("log", base=2)
    low, high = np.log2(axes.get_ylim())
    while np.floor(high) - np.ceil(low) < 2:
        # To the next power of two, on the side where it is nearer.
        below, above = np.ceil(low) - 1, np.floor(high) + 1
        low, high = (below, high) if low - below < above - high else (low, above)
    axes.set_ylim(2.0**low, 2.0**high)
    exponents = np.arange(np.ceil(low), np.floor(high) + 1)
    axes.yaxis.set_major_locator(FixedLocator((2.0 ** exponents[:: 1 + len(exponents) // 8]).tolist()))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}" if value >= 1 else f"{value:.2g}"))


def difficulty_axis(axes: Axes) -> None:
    """Make x a logarithmic axis with plain numbers: powers of ten, and multiples of them where these are few."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for digits in ((1,), (1, 2, 5), range(1, 10)):
        marks = np.outer(decades, digits).ravel()
        marks = marks[(marks >= low) & (marks <= high)]
        if len(marks) >= 3:
            break
    axes.xaxis.set_major_locator(FixedLocator(marks.tolist()))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def to_svg(figure: Figure) -> str:
    """The figure as SVG with a transparent ground and real text. The same figure gives the same text every time."""
    buffer = io.StringIO()
    with style(), matplotlib.rc_context({"svg.hashsalt": "rltemp"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, facecolor="none", dpi=200)
    return buffer.getvalue()


def to_png(figure: Figure, dpi: int = 160) -> bytes:
    """The figure as PNG on white."""
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="png", metadata={"Software": None}, facecolor="white", dpi=dpi)
    return buffer.getvalue()
