"""Texts that are made."""

from __future__ import annotations

from pathlib import Path

from rltemp.data import load_topics
from rltemp.recipes import schema
from rltemp.tasks.sources.loader import Source, SourceLoader

__all__ = ["Topics"]


class Topics(SourceLoader):
    """Texts that are made in place, the same every time, in the form of hashed news."""

    line = "12,000 + 3,000 texts of four topics, made: token ids in the form of news"
    needs_path = False

    def load(self, settings: schema.Data, cache: Path | None) -> Source:
        """Token ids int64 [64]."""
        return Source(*load_topics())
