"""Trees of image files, one folder per class, as one tensor."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
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

__all__ = ["decode", "list_images", "load_image_folder"]

Samples = list[tuple[str, int]]
"""Files and their class indices."""


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
    samples, classes = list_images(folder)
    if cache is None:
        return _decode_all(samples, classes, progress or NoProgress())
    _make_folder(Path(cache))
    stored = Path(cache) / f"{Path(folder).resolve().name}-{_fingerprint(samples)}.safetensors"
    dataset = _read(stored, classes)
    if dataset is None:
        dataset = _decode_all(samples, classes, progress or NoProgress())
        tensors = {"images": dataset.images, "targets": dataset.targets}
        atomic_write(stored, safetensors.torch.save(tensors))
    return dataset


def list_images(folder: str | Path) -> tuple[Samples, int]:
    """Image files of a tree with their classes, sorted, and the number of classes.

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
    return tree.samples, len(tree.classes)


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


def _decode_all(samples: Samples, classes: int, progress: Progress) -> Dataset:
    progress.describe("decoding images")
    images = torch.empty(len(samples), *decode(samples[0][0]).shape, dtype=torch.uint8)

    def fill(index: int) -> None:
        path, _ = samples[index]
        image = decode(path)
        if image.shape != images.shape[1:]:
            raise InputError(
                f"folder must hold images of one size, {path} has {list(image.shape)} "
                f"where {samples[0][0]} has {list(images.shape[1:])}; a FolderLoader takes images of several sizes"
            )
        images[index] = image

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for _ in pool.map(fill, range(len(samples))):
                progress.advance()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return Dataset(images, torch.tensor([target for _, target in samples]), classes)


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


def _fingerprint(samples: Sequence[tuple[str, int]]) -> str:
    """Changes whenever an image is added, removed, renamed, moved to another class or written to."""
    digest = hashlib.sha256()
    for path, target in samples:
        stat = os.stat(path)
        digest.update(f"{os.path.basename(path)}\0{target}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
