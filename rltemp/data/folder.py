"""Trees of image files, one folder per class: their list, or all images as one tensor."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from rltemp.data.dataset import Dataset
from rltemp.data.decoding import SUFFIXES, decode
from rltemp.errors import InputError
from rltemp.files import atomic_write
from rltemp.progress import NoProgress, Progress
from rltemp.reading import read_safetensors

__all__ = ["ImageFiles", "decode_files", "list_images", "load_image_folder"]


@dataclasses.dataclass(frozen=True, eq=False)
class ImageFiles:
    """Labeled images that stay on disk.

    Attributes:
        paths: of N files.
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
        """The files at `indices` [M] with their targets, in that order."""
        return ImageFiles(tuple(self.paths[i] for i in indices.tolist()), self.targets[indices], self.classes)

    def fingerprint(self) -> str:
        """Digest that changes if an image is added, removed, renamed, moved to another class, or written to."""
        digest = hashlib.sha256()
        for path, target in zip(self.paths, self.targets.tolist(), strict=True):
            stat = os.stat(path)
            digest.update(f"{os.path.basename(path)}\0{target}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        return digest.hexdigest()[:16]


def load_image_folder(
    folder: str | Path, *, cache: str | Path | None = None, progress: Progress | None = None
) -> Dataset:
    """Decode `folder`/<class>/* into one uint8 tensor [N, 3, H, W].

    Classes are numbered in alphabetical order, and images are sorted by path, as in `torchvision.datasets.ImageFolder`.

    Args:
        folder: its sub-folders are the classes, at least two; all images are of one size.
        cache: a folder, created if missing, where the decoded tensors are kept. They are read instead of the images as
            long as no image is added, removed, or changed.
        progress: advances with every decoded image.

    Raises:
        InputError: for a missing folder, fewer than two classes, a class without images, an image that cannot be read,
            images of several sizes, or a cache that cannot be created.
    """
    same_size = _same_size()
    return decode_files(
        list_images(folder),
        lambda path: same_size(decode(path), path),
        Path(folder).resolve().name,
        cache,
        progress,
    )


def decode_files(
    files: ImageFiles,
    read: Callable[[str], Tensor],
    name: str,
    cache: str | Path | None = None,
    progress: Progress | None = None,
    channels: int = 3,
) -> Dataset:
    """Decode all images of `files` into one uint8 tensor [N, channels, H, W].

    Args:
        files: the N images to decode.
        read: returns the image uint8 [channels, H, W] of a file, by its path; H and W are common to all.
        name: of the images, read this way, in the cache.
        cache: a folder, created if missing, where the decoded tensors are kept and looked for; None decodes every time.
        progress: advances with every decoded image.
        channels: of an image.

    Raises:
        InputError: for an image that cannot be read, or a cache that cannot be created.
    """
    if cache is None:
        return _decode_all(files, read, progress or NoProgress())
    _make_folder(Path(cache))
    stored = Path(cache) / f"{name}-{files.fingerprint()}.safetensors"
    dataset = _read(stored, files, channels)
    if dataset is None:
        dataset = _decode_all(files, read, progress or NoProgress())
        tensors = {"images": dataset.images, "targets": dataset.targets}
        atomic_write(stored, safetensors.torch.save(tensors))
    return dataset


def list_images(folder: str | Path) -> ImageFiles:
    """List the image files in the sub-folders of `folder`, one class per sub-folder, sorted; links are followed.

    Raises:
        InputError: for a missing folder, fewer than two classes, a class without images, a link to a folder around
            itself, or an image name that is no regular file.
    """
    if not Path(folder).is_dir():
        raise InputError(f"folder must be a folder with one sub-folder of images per class, got {folder}")
    classes = sorted(entry.path for entry in os.scandir(folder) if entry.is_dir())
    files = [sorted(_images_below(name, frozenset())) for name in classes]
    empty = [name for name, found in zip(classes, files, strict=True) if not found]
    if empty or not classes:
        lacks = f"no image in {', '.join(empty)}" if empty else "no sub-folder"
        raise InputError(f"folder must hold one sub-folder of images per class, got {folder}: {lacks}")
    if len(classes) < 2:
        raise InputError(f"folder must hold at least two classes, {folder} has {len(classes)}")
    paths = tuple(os.path.join(*parts) for found in files for parts in found)
    targets = [target for target, found in enumerate(files) for _ in found]
    return ImageFiles(paths, torch.tensor(targets), len(classes))


def _images_below(folder: str, above: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Folder and name of every image in and below `folder`; `above` are the real paths of the folders around it."""
    real = os.path.realpath(folder)
    if real in above:
        raise InputError(f"folder must hold no link to a folder around it, got {folder}")
    try:
        for entry in os.scandir(folder):
            if entry.is_dir():
                yield from _images_below(entry.path, above | {real})
            elif entry.name.lower().endswith(SUFFIXES):
                if not entry.is_file():
                    raise InputError(f"folder must hold readable images, {entry.path} is no regular file")
                yield folder, entry.name
    except OSError as error:
        raise InputError(f"folder must be readable with all in it, got {folder}: {error}") from error


def _same_size() -> Callable[[Tensor, str], Tensor]:
    """A `prepare` for `decode_files` that leaves images unchanged, and refuses any of another size than the first."""
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


def _decode_all(files: ImageFiles, read: Callable[[str], Tensor], progress: Progress) -> Dataset:
    progress.describe("decoding images")
    first = read(files.paths[0])
    images = torch.empty(len(files), *first.shape, dtype=torch.uint8)

    def fill(index: int) -> None:
        images[index] = read(files.paths[index])

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


def _read(path: Path, files: ImageFiles, channels: int = 3) -> Dataset | None:
    """The decoded `files` in the cache at `path`; None if there are none, or they cannot be read."""
    try:
        tensors = read_safetensors(path)
        images, targets = tensors["images"], tensors["targets"]
    except (InputError, KeyError):
        return None
    fits = images.dtype == torch.uint8 and images.ndim == 4 and images.shape[1] == channels and images.numel() > 0
    if not (fits and len(images) == len(files) and torch.equal(targets, files.targets)):
        return None
    return Dataset(images, files.targets, files.classes)
