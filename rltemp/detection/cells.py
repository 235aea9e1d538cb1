"""BCCD: photographs of blood smears with red cells, white cells and platelets in boxes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import torch
from torch import Tensor

from rltemp.detection.boxed_images import BoxedImages
from rltemp.errors import InputError, first_line

__all__ = ["CELL_NAMES", "load_cells"]

CELL_NAMES = ("RBC", "WBC", "Platelets")
"""Red cells, white cells, platelets, in the order of their labels."""

_MOST_BYTES = 1 << 22
"""Largest file that is read, in bytes."""


def load_cells(
    path: str | Path, part: Literal["train", "val", "test"], *, width: int = 96, height: int = 72
) -> BoxedImages:
    """Photographs of 640 x 480 px made smaller, and their boxes: 205, 87 and 72 of them in the three parts.

    BCCD Dataset (Cosmicad and Shenggan, 2018), MIT licence, https://github.com/Shenggan/BCCD_Dataset. Boxes without
    area, of which it has a few, are left out.

    Args:
        path: the data set's folder or a zip archive of it, with `JPEGImages`, `Annotations` and `ImageSets/Main` at the
            top or one folder down.
        part: which images.
        width: in pixels, of what they are made to.
        height: likewise.

    Raises:
        InputError: for files that are missing, damaged, or of another format.
    """
    root = _root(path)
    names = _read(root / "ImageSets" / "Main" / f"{part}.txt").decode("utf-8", "replace").split()
    if not names:
        raise InputError(f"path must hold BCCD with images in every part, {path} has none in {part}")
    images, boxes, labels = zip(*(_one(root, name, width, height) for name in names), strict=True)
    return BoxedImages(torch.stack(images), boxes, labels, CELL_NAMES)


def _root(path: str | Path) -> Any:
    """The folder that holds the data set's folders, on disk or in an archive: both have the methods of a path."""
    top: Any = Path(path)
    if top.is_file():
        try:
            top = zipfile.Path(top)
        except (zipfile.BadZipFile, OSError) as error:
            raise InputError(f"path must be BCCD's folder or a zip archive, got {path}: {first_line(error)}") from error
    for folder in _with_inner(top):
        if (folder / "ImageSets" / "Main" / "train.txt").is_file():
            return folder
    raise InputError(f"path must hold BCCD with ImageSets/Main/train.txt, {path} does not")


def _with_inner(top: Any) -> Iterator[Any]:
    yield top
    if top.is_dir():
        yield from (folder for folder in top.iterdir() if folder.is_dir())


def _read(file: Any) -> bytes:
    try:
        with file.open("rb") as stream:
            content: bytes = stream.read(_MOST_BYTES + 1)
    except (OSError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"path must hold BCCD with {file.name}, got none that can be read: {error}") from error
    if len(content) > _MOST_BYTES:
        raise InputError(f"path must hold BCCD with files of at most {_MOST_BYTES} bytes, {file.name} has more")
    return content


def _one(root: Any, name: str, width: int, height: int) -> tuple[Tensor, Tensor, Tensor]:
    image, (old_width, old_height) = _picture(root / "JPEGImages" / f"{name}.jpg", width, height)
    boxes, labels = _annotation(root / "Annotations" / f"{name}.xml")
    boxes = boxes * torch.tensor([width / old_width, height / old_height] * 2)
    return image, boxes, labels


def _picture(file: Any, width: int, height: int) -> tuple[Tensor, tuple[int, int]]:
    """The picture in its new size, uint8 [3, H, W], and its old width and height."""
    from PIL import Image
    from torchvision.transforms.functional import pil_to_tensor  # slow to import, and often not needed

    try:
        with Image.open(io.BytesIO(_read(file)), formats=("JPEG",)) as image:
            small = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
            return pil_to_tensor(small), image.size
    except InputError:
        raise
    except Exception as error:  # for damaged files Pillow's decoders raise many types
        raise InputError(f"path must hold readable JPEG files, {file.name} is not one: {first_line(error)}") from error


def _annotation(file: Any) -> tuple[Tensor, Tensor]:
    """Boxes [M, 4] in the pixels of the photograph, and labels [M]."""
    content = _read(file)
    if b"<!" in content:  # a document type could define entities that grow without end
        raise InputError(f"path must hold plain VOC annotations, {file.name} has a document type")
    boxes, labels = [], []
    try:
        for entry in ElementTree.fromstring(content).iter("object"):
            box = [float(entry.findtext(f"bndbox/{edge}", "")) for edge in ("xmin", "ymin", "xmax", "ymax")]
            if box[0] < box[2] and box[1] < box[3]:
                boxes.append(box)
                labels.append(CELL_NAMES.index(entry.findtext("name", "")) + 1)
    except (ElementTree.ParseError, ValueError) as error:
        raise InputError(f"path must hold VOC annotations of cells, {file.name} is not: {first_line(error)}") from error
    return torch.tensor(boxes, dtype=torch.float32).view(-1, 4), torch.tensor(labels, dtype=torch.int64)
