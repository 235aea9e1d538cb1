"""AG News."""

from __future__ import annotations

from pathlib import Path

from rltemp.data import load_news
from rltemp.recipes import schema
from rltemp.tasks.sources.loader import Source, SourceLoader

__all__ = ["News"]


class News(SourceLoader):
    """Texts of AG News, or any of its form, as hashed words."""

    line = "short texts as hashed words: train.tsv and test.tsv of text, tab, label, such as AG News"

    def load(self, settings: schema.Data, cache: Path | None) -> Source:
        """Token ids int64 [64]."""
        return Source(*load_news(settings.path or ""))
