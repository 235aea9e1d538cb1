"""Trees of image files, one folder per class: their names, or all of them as one tensor."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from rltemp.data.dataset import Dataset
from rltemp.errors import InputError
from rltemp.files import atomic_write
from rltemp.progress import NoProgress, Progress

__all__ = ["ImageFiles", "decode", "decode_files", "list_images", "load_image_folder"]


@dataclasses.dataclass(frozen=True, eq=False)
class ImageFiles:
    """Labelled images that stay on disk.

    Attributes:
        paths: N files.
        targets: [N] int64 class indices in [0, classes).
        classes: number of classes C.
    """

    paths: tuple[str, ...]
    targets: Tensor
    classes: int

    def __len__(self) -> int:
        """Number of images N."""
        return len(self.paths)

    def subset(self, indices: Tensor) -> ImageFiles:
        """The instances at `indices` [M], in that order."""
        return ImageFiles(tuple(self.paths[i] for i in indices.tolist()), self.targets[indices], self.classes)

    def fingerprint(self) -> str:
        """Changes whenever an image is added, removed, renamed, moved to another class or written to."""
        digest = hashlib.sha256()
        for path, target in zip(self.paths, self.targets.tolist(), strict=True):
            stat = os.stat(path)
            digest.update(f"{os.path.basename(path)}\0{target}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        return digest.hexdigest()[:16]


def load_image_folder(
    folder: str | Path, *, cache: str | Path | None = None, progress: Progress | None = None
) -> Dataset:
    """Decode `folder`/<class>/* into one uint8 tensor [N, 3, H, W].

    Classes are numbered in alphabetical order and images follow their paths, as in `torchvision.datasets.ImageFolder`.

    Args:
        folder: its sub-folders are the classes, at least two; all images are of one size.
        cache: a folder, made if it does not exist, where the decoded tensors are kept. They are read instead of the
            images as long as no image was added, removed or changed.
        progress: is told of every decoded image.

    Raises:
        InputError: for a missing folder, fewer than two classes, a class without images, an image that cannot be read,
            images of several sizes, or a cache that cannot be made.
    """
    return decode_files(list_images(folder), _same_size(), Path(folder).resolve().name, cache, progress)


def decode_files(
    files: ImageFiles,
    prepare: Callable[[Tensor, str], Tensor],
    name: str,
    cache: str | Path | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """All images of `files` as one uint8 tensor.

    Args:
        files: what to decode.
        prepare: turns an image uint8 [3, h, w], of the file it is told, into one of a size that all share.
        name: of these images, prepared so, in the cache.
        cache: as in `load_image_folder`.
        progress: is told of every decoded image.

    Raises:
        InputError: for an image that cannot be read, or a cache that cannot be made.
    """
    if cache is None:
        return _decode_all(files, prepare, progress or NoProgress())
    _make_folder(Path(cache))
    stored = Path(cache) / f"{name}-{files.fingerprint()}.safetensors"
    dataset = _read(stored, files.classes)
    if dataset is None:
        dataset = _decode_all(files, prepare, progress or NoProgress())
        tensors = {"images": dataset.images, "targets": dataset.targets}
        atomic_write(stored, safetensors.torch.save(tensors))
    return dataset


def list_images(folder: str | Path) -> ImageFiles:
    """Image files of a tree with their classes, sorted.

    Raises:
        InputError: for a missing folder, fewer than two classes, or a class without images.
    """
    from torchvision.datasets import ImageFolder  # a second to import, and the bundled data do without it

    if not Path(folder).is_dir():
        raise InputError(f"folder must be a folder with one sub-folder of images per class, got {folder}")
    try:
        tree = ImageFolder(str(folder))
    except FileNotFoundError as error:
        raise InputError(f"folder must hold one sub-folder of images per class, got {folder}: {error}") from error
    if len(tree.classes) < 2:
        raise InputError(f"folder must hold at least two classes, {folder} has {len(tree.classes)}")
    paths, targets = zip(*tree.samples, strict=True)
    return ImageFiles(paths, torch.tensor(targets), len(tree.classes))


def decode(path: str) -> Tensor:
    """One image file as uint8 [3, H, W].

    Raises:
        InputError: if it is not a readable image.
    """
    from torchvision.datasets.folder import default_loader
    from torchvision.transforms.functional import pil_to_tensor

    try:
        image: Tensor = pil_to_tensor(default_loader(path))
    except OSError as error:
        raise InputError(f"folder must hold readable images, {path} is not one: {error}") from error
    return image


def _same_size() -> Callable[[Tensor, str], Tensor]:
    """Leaves images as they are, and refuses any that is not of the first one's size."""
    first: list[tuple[Tensor, str]] = []

    def check(image: Tensor, path: str) -> Tensor:
        if not first:
            first.append((image, path))
        wanted, reference = first[0]
        if image.shape != wanted.shape:
            raise InputError(
                f"folder must hold images of one size, {path} has {list(image.shape)} where {reference} has "
                f"{list(wanted.shape)}; data.in_memory=false and a FolderLoader take images of several sizes"
            )
        return image

    return check


def _decode_all(files: ImageFiles, prepare: Callable[[Tensor, str], Tensor], progress: Progress) -> Dataset:
    progress.describe("decoding images")
    first = prepare(decode(files.paths[0]), files.paths[0])
    images = torch.empty(len(files), *first.shape, dtype=torch.uint8)

    def fill(index: int) -> None:
        images[index] = prepare(decode(files.paths[index]), files.paths[index])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for _ in pool.map(fill, range(len(files))):
                progress.advance()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return Dataset(images, files.targets, files.classes)


def _make_folder(cache: Path) -> None:
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cache must be a folder, {cache} cannot be made one: {error.strerror}") from error


def _read(path: Path, classes: int) -> Dataset | None:
    """The data set at `path`; None if there is none, or none that can be read."""
    if not path.is_file():
        return None
    try:
        tensors = safetensors.torch.load_file(path)
        return Dataset(tensors["images"], tensors["targets"], classes)
    except (safetensors.SafetensorError, KeyError, InputError):
        return None
