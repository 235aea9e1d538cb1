"""MNIST-1D."""

from __future__ import annotations

from pathlib import Path

from rltemp.data import load_mnist1d
from rltemp.recipes import schema
from rltemp.tasks.sources.loader import Source, SourceLoader

__all__ = ["MNIST1D"]


class MNIST1D(SourceLoader):
    """Signals that are made in place, the same every time."""

    line = "4,000 + 1,000 signals of 40 points, made as MNIST-1D was published"
    needs_path = False

    def load(self, settings: schema.Data, cache: Path | None) -> Source:
        """Signals float32 [1, 40], of mean 0 and standard deviation 1."""
        return Source(*load_mnist1d())
