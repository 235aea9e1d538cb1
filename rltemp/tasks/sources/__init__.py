"""Where a task's instances come from, as `data.name` of a recipe says: the sources, one a file, and a user's own."""

from rltemp.tasks.sources.augmentation import make_augmentation
from rltemp.tasks.sources.loader import Source, SourceLoader
from rltemp.tasks.sources.registry import (
    check_source,
    list_sources,
    load_source,
    register_source,
    resemble_source,
)

__all__ = [
    "Source",
    "SourceLoader",
    "check_source",
    "list_sources",
    "load_source",
    "make_augmentation",
    "register_source",
    "resemble_source",
]
