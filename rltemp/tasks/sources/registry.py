"""Sources by name: those of the package, those a program registers, and those of a module that a recipe names."""

from __future__ import annotations

import difflib
from pathlib import Path

from rltemp.data import Dataset, average_pool
from rltemp.errors import InputError, short
from rltemp.importing import import_named
from rltemp.recipes import schema
from rltemp.tasks.sources.cifar100 import Cifar100
from rltemp.tasks.sources.digits import DigitPairs, Digits
from rltemp.tasks.sources.fashion import Fashion
from rltemp.tasks.sources.folder import Folder, ImageNet
from rltemp.tasks.sources.loader import Source, SourceLoader
from rltemp.tasks.sources.mnist1d import MNIST1D
from rltemp.tasks.sources.news import News, NewsText
from rltemp.tasks.sources.spoken_digits import SpokenDigits
from rltemp.tasks.sources.text import Shakespeare, Text
from rltemp.tasks.sources.topics import Topics

__all__ = ["check_source", "list_sources", "load_source", "register_source", "resemble_source"]

_BUILT_IN: dict[str, type[SourceLoader]] = {
    "digits": Digits,
    "digit-pairs": DigitPairs,
    "cifar100": Cifar100,
    "folder": Folder,
    "imagenet": ImageNet,
    "mnist1d": MNIST1D,
    "fashion": Fashion,
    "spoken-digits": SpokenDigits,
    "news": News,
    "topics": Topics,
    "news-text": NewsText,
    "shakespeare": Shakespeare,
    "text": Text,
}
_REGISTERED: dict[str, type[SourceLoader]] = {}


def list_sources() -> dict[str, str]:
    """Names that `data.name` of a recipe can be, with one line each."""
    return {name: loader.line for name, loader in {**_BUILT_IN, **_REGISTERED}.items()}


def register_source(name: str, loader: type[SourceLoader]) -> None:
    """Let recipes name a source of one's own, in this process.

    Args:
        name: what `data.name` says; registering it again replaces it.
        loader: made without arguments.

    Raises:
        InputError: for a name of the package's own, one with a colon, or no kind of `SourceLoader`.
    """
    if name in _BUILT_IN or ":" in name or not name:
        raise InputError(f"name must be none of {', '.join(_BUILT_IN)} and without a colon, got {short(name)}")
    if not (isinstance(loader, type) and issubclass(loader, SourceLoader)):
        raise InputError(f"loader must be a subclass of SourceLoader, got {short(loader)}")
    _REGISTERED[name] = loader


def check_source(settings: schema.Data, *, allow_download: bool = False, allow_code: bool = False) -> None:
    """Refuse what can be seen to be wrong before an instance is looked at.

    Raises:
        InputError: for an unknown source, a missing folder, or code or a download without leave.
    """
    _find(settings.name, allow_code).check(settings, allow_download=allow_download)


def load_source(settings: schema.Data, cache: Path | None = None, *, allow_code: bool = False) -> Source:
    """Read the instances that `settings` name, at the size they ask for.

    Args:
        settings: the data of a recipe, which `check_source` has let pass.
        cache: folder where decoded files are kept; None decodes them every time.
        allow_code: whether a module that `data.name` names may be imported.

    Raises:
        InputError: for files that cannot be read, or an image size that does not fit.
    """
    source = _find(settings.name, allow_code).load(settings, cache)
    if not isinstance(source, Source):
        raise InputError(f"{settings.name!r} must load a Source, got {type(source).__name__}")
    if settings.image_size is None or not isinstance(source.images, Dataset):
        return source
    images, test = source.images, source.test
    return source._replace(
        images=average_pool(images, settings.image_size),
        test=None if test is None else average_pool(test, settings.image_size),
    )


def resemble_source(settings: schema.Data, count: int, *, allow_code: bool = False) -> Source | None:
    """Noise in place of the instances that `settings` name; see `SourceLoader.resemble`."""
    return _find(settings.name, allow_code).resemble(settings, count)


def _find(name: str, allow_code: bool) -> SourceLoader:
    if ":" in name:
        return _imported(name, allow_code)
    known = {**_BUILT_IN, **_REGISTERED}
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise InputError(f"data.name must be one of {', '.join(known)}, or MODULE:CLASS, got {short(name)}{hint}")
    return known[name]()


def _imported(name: str, allow_code: bool) -> SourceLoader:
    """The loader that `name`, MODULE:CLASS, stands for; importing a module runs it."""
    loader = import_named("data.name", name, "MODULE:CLASS", allow_code, make=lambda kind: kind())
    if not isinstance(loader, SourceLoader):
        raise InputError(f"data.name must be MODULE:CLASS of a SourceLoader, got {short(name)}, which is none")
    return loader
