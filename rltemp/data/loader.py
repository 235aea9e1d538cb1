"""Batches of image files that do not fit into memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate
from torch.utils.data import Dataset as TorchDataset

from rltemp.data.batches import BatchIndices
from rltemp.data.dataset import Dataset
from rltemp.data.decoding import decode
from rltemp.data.folder import ImageFiles, decode_files
from rltemp.errors import InputError
from rltemp.progress import Progress

__all__ = ["FolderBatch", "FolderLoader", "center_crop", "decode_centers", "random_crop"]

Box = tuple[int, int, int, int]
"""Top, left, height, and width of a crop, in pixels."""


class FolderBatch(NamedTuple):
    """A batch of decoded images.

    Attributes:
        images: uint8 [B, 3, S, S].
        targets: [B] class indices.
        indices: [B] positions of the instances in the data.
    """

    images: Tensor
    targets: Tensor
    indices: Tensor


class FolderLoader:
    """Batches of image files, decoded by worker processes while the network computes.

    Iterating yields the rest of the current epoch, and the next iteration the next epoch. Images are cropped and
    resized on the CPU; mirroring and normalizing are left to an `Augmentation` on the device. The batches depend on the
    generator alone, not on the number of workers.

    Args:
        files: N images of any size; see `list_images`.
        side: height and width S of the batches' images, in pixels.
        batch_size: instances per batch, in [1, N].
        generator: draws the order and the crops. This object owns it, and saves its state.
        augment: take random crops (Szegedy et al., 2015, section 6) instead of the center 7/8.
        drop_last: leave out the incomplete batch at the end of each epoch.
        workers: processes that decode; 0 decodes in the calling process.
        share: of the B instances of a batch, which alone are decoded and given.

    Raises:
        InputError: for a side or batch size < 1, or a batch larger than the data.
    """

    def __init__(
        self,
        files: ImageFiles,
        side: int,
        batch_size: int,
        generator: torch.Generator,
        *,
        augment: bool,
        drop_last: bool,
        workers: int = 0,
        share: slice = slice(None),
    ) -> None:
        if side < 1:
            raise InputError(f"side must be >= 1, got {side}")
        self._files = _Files(files, side, augment)
        self._batches = BatchIndices(len(files), batch_size, generator, drop_last=drop_last)
        self._generator = generator
        self._workers = workers
        self._share = share
        self._seeds = self._draw_seeds()

    def __len__(self) -> int:
        """Batches per epoch."""
        return len(self._batches)

    @property
    def batch_size(self) -> int:
        """Instances B per batch, of which this loader may give a share."""
        return self._batches.batch_size

    def __iter__(self) -> Iterator[FolderBatch]:
        """Take the batches left in the current epoch, one by one.

        Raises:
            InputError: for an image that cannot be read.
        """
        batches, seeds = self._batches, self._seeds
        loader = DataLoader(
            self._files,
            batch_sampler=(
                list(zip(batch.tolist(), seeds[batch].tolist(), strict=True))
                for batch in (whole[self._share] for whole in batches.remaining())
            ),
            collate_fn=_collate,
            num_workers=self._workers,
            pin_memory=torch.cuda.is_available(),
            # Without a generator, the loader would draw its workers' seeds from the global one.
            generator=torch.Generator(),
        )
        for batch in loader:
            if isinstance(batch, InputError):
                raise batch
            batches.take()
            if batches.position == 0:
                self._seeds = self._draw_seeds()
            yield FolderBatch(*batch)

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides the batches to come: order, seeds of the crops, and generator."""
        return {"batches": self._batches.state_dict(), "seeds": self._seeds.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict()` returned, so that the batches to come are the same.

        Raises:
            InputError: for the state of another number of instances, or values that are no state of a loader.
        """
        self._batches.load_state_dict(state["batches"])
        seeds = state["seeds"]
        if seeds.dtype != torch.int64 or seeds.shape != self._seeds.shape:
            raise InputError(f"seeds must be int64 [{len(self._files)}], got {seeds.dtype} {list(seeds.shape)}")
        self._seeds = seeds.clone()

    def _draw_seeds(self) -> Tensor:
        """Seeds [N] of the instances' crops in one epoch."""
        size = (len(self._files),)
        return torch.randint(2**63 - 1, size, generator=self._generator, device=self._generator.device)


_Instance = tuple[Tensor, int, int]


def _collate(instances: list[_Instance | InputError]) -> list[Tensor] | InputError:
    """A batch of instances, or the first error among them.

    An error raised in a worker process would arrive with the worker's traceback as its message.
    """
    errors = (instance for instance in instances if isinstance(instance, InputError))
    return next(errors, None) or default_collate(instances)


class _Files(TorchDataset[_Instance | InputError]):
    """Decodes, crops, and resizes instances; an item is a pair of the instance's index and the seed of its crop."""

    def __init__(self, files: ImageFiles, side: int, augment: bool) -> None:
        self._images = files
        self._side = side
        self._augment = augment

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, item: tuple[int, int]) -> _Instance | InputError:
        index, seed = item
        try:
            image, target = decode(self._images.paths[index]), int(self._images.targets[index])
        except InputError as error:
            return error
        height, width = image.shape[1:]
        if self._augment:
            box = random_crop(height, width, torch.Generator().manual_seed(seed))
        else:
            box = center_crop(height, width)
        return _resized_crop(image, box, self._side), target, index


def decode_centers(
    files: ImageFiles, side: int, *, cache: str | Path | None = None, progress: Progress | None = None
) -> Dataset:
    """Decode images of any size for evaluation: the centered 7/8, resized to `side`, in memory.

    Args:
        files: the N images.
        side: height and width of the result uint8 [N, 3, side, side], in pixels.
        cache: a folder, created if missing, where the decoded tensors are kept and looked for; None decodes every time.
        progress: advances with every decoded image.

    Raises:
        InputError: for an image that cannot be read, or a cache that cannot be created.
    """

    def center(path: str) -> Tensor:
        image = decode(path)
        return _resized_crop(image, center_crop(*image.shape[1:]), side)

    return decode_files(files, center, f"centers-{side}", cache, progress)


def _resized_crop(image: Tensor, box: Box, side: int) -> Tensor:
    from torchvision.transforms.v2.functional import resized_crop  # half a second to import

    resized: Tensor = resized_crop(image, *box, size=[side, side], antialias=True)
    return resized


def random_crop(height: int, width: int, generator: torch.Generator) -> Box:
    """A random crop of 8 to 100 % of the area, with an aspect ratio of 3/4 to 4/3, log-uniform.

    It takes up to ten tries; if no crop lies within the image, the result is the largest centered square. Source:
    Szegedy et al. (2015), "Going Deeper with Convolutions", section 6.

    Args:
        height: of the image, in pixels.
        width: of the image, in pixels.
        generator: draws the crop.
    """
    for area, aspect, top, left in torch.rand(10, 4, generator=generator, dtype=torch.float64).tolist():
        pixels = height * width * (0.08 + 0.92 * area)
        ratio = (3 / 4) ** (1 - 2 * aspect)
        rows, columns = round(math.sqrt(pixels / ratio)), round(math.sqrt(pixels * ratio))
        if 1 <= rows <= height and 1 <= columns <= width:
            return int(top * (height - rows + 1)), int(left * (width - columns + 1)), rows, columns
    return _centered(height, width, min(height, width))


def center_crop(height: int, width: int) -> Box:
    """The centered square of 7/8 of the shorter side (224 of 256 px) of an image of `height` x `width` px."""
    return _centered(height, width, max(1, min(height, width) * 7 // 8))


def _centered(height: int, width: int, side: int) -> Box:
    return (height - side) // 2, (width - side) // 2, side, side
