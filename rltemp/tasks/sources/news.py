"""AG News."""

from __future__ import annotations

from pathlib import Path

from rltemp.data import cut_text, load_news, news_texts
from rltemp.recipes import schema
from rltemp.tasks.sources.loader import Source, SourceLoader

__all__ = ["News", "NewsText"]


class News(SourceLoader):
    """Texts of AG News, or any of its form, as hashed words."""

    line = "short texts as hashed words: train.tsv and test.tsv of text, tab, label, such as AG News"

    def load(self, settings: schema.Data, cache: Path | None) -> Source:
        """Token ids int64 [64]."""
        return Source(*load_news(settings.path or ""))


class NewsText(SourceLoader):
    """The same texts as one long one, a line each; its instances are the characters of windows."""

    line = "the same files as characters, in windows of data.context, without labels"
    of_texts = True

    def load(self, settings: schema.Data, cache: Path | None) -> Source:
        """Ids int64 [L]."""
        train, test = news_texts(settings.path or "")
        assert settings.context is not None
        return Source(*cut_text(train, settings.context, test))
