"""Decoding of one image file, possibly from an untrusted source, to a tensor."""

from __future__ import annotations

import os

from torch import Tensor

from rltemp.errors import InputError, first_line

__all__ = ["SUFFIXES", "decode"]

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Suffixes of image files, as in `torchvision.datasets.ImageFolder`."""

# The suffix does not decide the format, since data sets mix them up; but some formats of Pillow run other programs.
_FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF")
_MOST_PIXELS = 1 << 26


def decode(path: str) -> Tensor:
    """One image file as uint8 [3, H, W].

    Palettes, gray, and CMYK are converted to RGB, transparency is dropped, and of an animation the first frame is
    taken.

    Raises:
        InputError: for anything but a whole JPEG, PNG, PPM, BMP, TIFF, WebP, or GIF file of at most 2**26 pixels (8192
            x 8192, checked before decoding) and 8 bits per channel.
    """
    from PIL import Image
    from torchvision.transforms.functional import pil_to_tensor  # slow to import, and often not needed

    try:
        if not os.path.isfile(path):
            raise FileNotFoundError("no such file, or no regular one")
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels are more than {_MOST_PIXELS}")
            if image.mode.startswith(("I", "F")):  # Pillow would clip these to 8 bits
                raise ValueError(f"it has more than 8 bits per channel (mode {image.mode})")
            pixels: Tensor = pil_to_tensor(image.convert("RGB"))
    except Exception as error:  # for damaged files Pillow's decoders raise many types
        raise InputError(f"folder must hold readable images, {path} is not one: {first_line(error)}") from error
    return pixels
