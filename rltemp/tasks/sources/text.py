"""Texts, character by character."""

from __future__ import annotations

from pathlib import Path

from rltemp.data import cut_text, shakespeare_sample
from rltemp.reading import read_text
from rltemp.recipes import schema
from rltemp.tasks.sources.loader import Source, SourceLoader

__all__ = ["Shakespeare", "Text"]


class Text(SourceLoader):
    """A text in UTF-8, whose instances are the characters of windows; the last tenth is for test alone."""

    line = "characters of any UTF-8 text, the file data.path, in windows of data.context"
    of_texts = True
    place = "file"

    def load(self, settings: schema.Data, cache: Path | None) -> Source:
        """Ids int64 [L]."""
        assert settings.context is not None
        return Source(*cut_text(self._text(settings), settings.context))

    def _text(self, settings: schema.Data) -> str:
        return read_text(Path(settings.path or ""))


class Shakespeare(Text):
    """Shakespeare: a play that comes with the package, or the text in `data.path`."""

    line = "characters of Shakespeare, in windows of data.context: a play that comes with rltemp, or the file data.path"
    needs_path = False

    def _text(self, settings: schema.Data) -> str:
        return shakespeare_sample() if settings.path is None else super()._text(settings)
