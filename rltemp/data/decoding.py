"""One image file as a tensor, whoever it comes from."""

from __future__ import annotations

import os

from torch import Tensor

from rltemp.errors import InputError, first_line

__all__ = ["SUFFIXES", "decode"]

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""What the names of image files end in, as in `torchvision.datasets.ImageFolder`."""

# Data sets hold files of one format under the suffix of another; but among those of Pillow are some that run programs.
_FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF")
_MOST_PIXELS = 1 << 26


def decode(path: str) -> Tensor:
    """One image file as uint8 [3, H, W].

    Palettes, gray and CMYK are converted to RGB, transparency is dropped, and of an animation the first frame is taken.

    Raises:
        InputError: for anything but a whole JPEG, PNG, PPM, BMP, TIFF, WebP or GIF file of at most 2**26 pixels (8192 x
            8192, seen before they are decoded) and 8 bits per channel.
    """
    from PIL import Image
    from torchvision.transforms.functional import pil_to_tensor  # a second to import, and the bundled data do without

    try:
        if not os.path.isfile(path):
            raise FileNotFoundError("no such file, or no regular one")
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels are more than {_MOST_PIXELS}")
            if image.mode.startswith(("I", "F")):  # which Pillow would not scale but clip to 8 bits
                raise ValueError(f"it has more than 8 bits per channel (mode {image.mode})")
            pixels: Tensor = pil_to_tensor(image.convert("RGB"))
    except Exception as error:  # Pillow's decoders raise whatever a damaged file leads them to
        raise InputError(f"folder must hold readable images, {path} is not one: {first_line(error)}") from error
    return pixels
