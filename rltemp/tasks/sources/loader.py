"""What every source of instances has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

from rltemp.data import Dataset, ImageFiles, Transform
from rltemp.errors import InputError
from rltemp.recipes import schema

__all__ = ["Source", "SourceLoader"]


class Source(NamedTuple):
    """Instances before they are split.

    Attributes:
        images: to be split into training and validation instances; in memory, or on disk.
        test: test instances, of the same classes; None where they are cut from `images` as well, which must then be in
            memory.
        preparation: what every instance goes through before a network sees it.
    """

    images: Dataset | ImageFiles
    test: Dataset | None = None
    preparation: tuple[Transform, ...] = ()


class SourceLoader(ABC):
    """Loads the instances of one `data.name`; made without arguments.

    Attributes:
        line: what it holds, in one line.
        needs_path: whether it reads `data.path`.
        place: what `data.path` is, a folder or a file.
        on_disk: whether it can leave images on disk, where `data.in_memory` is false.
        downloads: what `data.download` fetches; None where nothing is.
        of_texts: whether its instances are the characters of windows, of `data.context` each.
    """

    line: ClassVar[str] = ""
    needs_path: ClassVar[bool] = True
    place: ClassVar[Literal["folder", "file"]] = "folder"
    on_disk: ClassVar[bool] = False
    downloads: ClassVar[str | None] = None
    of_texts: ClassVar[bool] = False

    @abstractmethod
    def load(self, settings: schema.Data, cache: Path | None) -> Source:
        """Read the instances.

        Args:
            settings: the data of a recipe, which `check` has let pass. Whoever calls averages images in memory down to
                `image_size`, unless they have it already.
            cache: folder where what took long to decode may be kept; None keeps nothing.

        Raises:
            InputError: for files that are missing, damaged or of another format, naming them.
        """

    def resemble(self, settings: schema.Data, count: int) -> Source | None:
        """Noise in place of the instances, as many training instances as `count`, where that can be known unread.

        It is what time and memory are measured on before any data are there. None, unless a loader says otherwise:
        only reading tells.
        """
        return None

    def check(self, settings: schema.Data, *, allow_download: bool = False) -> None:
        """Refuse what can be seen to be wrong before a file is opened.

        Raises:
            InputError: for a missing folder, a download without leave, or images on disk where they cannot be.
        """
        if self.of_texts != (settings.context is not None):
            want = "a number of characters" if self.of_texts else "null"
            raise InputError(f"data.context must be {want} for {settings.name!r}, got {settings.context or 'null'}")
        if self.needs_path and settings.path is None:
            raise InputError(f"data.path must name the {self.place} of {settings.name!r}, got null")
        if not settings.in_memory:
            self._check_on_disk(settings)
        if self.downloads and settings.download:
            if not allow_download:
                raise InputError(
                    f"data.download true would download {self.downloads}: give --allow-download to allow it"
                )
        elif settings.path is not None and (self.needs_path or self.place == "file"):
            path = Path(settings.path)
            if not (path.is_file() if self.place == "file" else path.is_dir()):
                hint = " (data.download=true fetches it)" if self.downloads else ""
                want = f"the {self.place} of {settings.name!r}"
                raise InputError(f"data.path must be {want}, got {settings.path}, no {self.place}{hint}")

    def _check_on_disk(self, settings: schema.Data) -> None:
        if not self.on_disk:
            raise InputError(f"data.in_memory must be true for {settings.name!r}, got false")
        if settings.image_size is None or settings.views is not None:
            raise InputError(
                "data.image_size must be a number and data.views null where data.in_memory is false, "
                f"got {settings.image_size} and {settings.views}"
            )
