"""The Free Spoken Digit Dataset."""

from __future__ import annotations

from pathlib import Path

from rltemp.data import load_spoken_digits
from rltemp.recipes import schema
from rltemp.tasks.sources.loader import Source, SourceLoader
from rltemp.tasks.sources.standardization import standardization

__all__ = ["SpokenDigits"]


class SpokenDigits(SourceLoader):
    """Recordings as log-mel spectrograms; the last two speakers in alphabetical order are for test alone."""

    line = "spoken digits as spectrograms: recordings <digit>_<speaker>_<take>.wav; two speakers are held out for test"

    def load(self, settings: schema.Data, cache: Path | None) -> Source:
        """Spectrograms uint8 [1, 40, 40]."""
        train, test = load_spoken_digits(settings.path or "", cache=cache)
        return Source(train, test, (standardization(train.images),))
