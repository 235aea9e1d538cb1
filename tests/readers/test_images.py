"""Image files of strangers."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rltemp.data.decoding import decode
from rltemp.data.folder import list_images
from rltemp.errors import InputError

Reader = tuple[Path, Callable[[], Any]]


def image(folder: Path, suffix: str, mode: str = "RGB") -> Reader:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    path = folder / f"image.{suffix}"
    Image.fromarray(pixels).convert(mode).save(path)
    return path, lambda: decode(str(path))


READERS: dict[str, Callable[[Path], Reader]] = {
    "png": lambda folder: image(folder, "png"),
    "palette": lambda folder: image(folder, "png", "P"),
    "jpeg": lambda folder: image(folder, "jpg"),
    "cmyk": lambda folder: image(folder, "jpg", "CMYK"),
    "tiff": lambda folder: image(folder, "tiff"),
    "webp": lambda folder: image(folder, "webp"),
    "bmp": lambda folder: image(folder, "bmp"),
    "ppm": lambda folder: image(folder, "ppm"),
}


@pytest.mark.filterwarnings("ignore:::PIL")
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_ends_in_a_value_or_in_our_error(name: str, fuzz: Callable[..., None], tmp_path: Path) -> None:
    fuzz(READERS[name](tmp_path))


@pytest.mark.parametrize("name", READERS)
def test_what_is_no_regular_file_is_refused_at_once(
    name: str, refuse_other_files: Callable[[Reader], None], tmp_path: Path
) -> None:
    refuse_other_files(READERS[name](tmp_path))


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    for side in (8193, 12_000, 60_000):  # above our limit, above the one Pillow warns of, above the one it refuses at
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        path = tmp_path / f"{side}.png"
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))
        with pytest.raises(InputError, match=rf"readable images, .*{side}\.png is not one: .*pixels"):
            decode(str(path))


def test_other_modes_are_converted_and_deeper_ones_refused(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    for mode in ("1", "L", "LA", "P", "RGBA"):
        Image.fromarray(pixels).convert(mode).save(tmp_path / "image.png")
        expected = np.asarray(Image.fromarray(pixels).convert(mode).convert("RGB"))
        assert np.array_equal(decode(str(tmp_path / "image.png")).permute(1, 2, 0).numpy(), expected), mode
    for suffix in ("png", "tiff"):
        Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16)).save(tmp_path / f"deep.{suffix}")
        with pytest.raises(InputError, match="more than 8 bits per channel"):
            decode(str(tmp_path / f"deep.{suffix}"))
    frames = [Image.fromarray(frame) for frame in (pixels, 255 - pixels)]
    frames[0].save(tmp_path / "film.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert np.array_equal(decode(str(tmp_path / "film.webp")).permute(1, 2, 0).numpy(), pixels)


def test_a_postscript_file_under_the_name_of_an_image_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    with pytest.raises(InputError, match="readable images"):
        decode(str(tmp_path / "image.png"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / "tree" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "tree" / name / "0.png")
    return tmp_path / "tree"


def test_links_to_images_and_folders_are_followed_and_folders_may_be_called_images(tree: Path) -> None:
    (tree / "a" / "1.png").symlink_to(tree / "b" / "0.png")
    (tree / "a" / "folder.png").symlink_to(tree / "b")
    files = list_images(tree)
    assert [str(Path(path).relative_to(tree)) for path in files.paths] == [
        "a/0.png",
        "a/1.png",
        "a/folder.png/0.png",
        "b/0.png",
    ]
    assert files.targets.tolist() == [0, 0, 0, 1]


def test_a_folder_within_itself_and_a_link_to_nothing_are_refused(tree: Path) -> None:
    (tree / "a" / "loop").symlink_to(tree)
    with pytest.raises(InputError, match=r"no link to a folder around it, got .*loop"):
        list_images(tree)
    (tree / "a" / "loop").unlink()
    (tree / "a" / "1.png").symlink_to(tree / "nowhere")
    with pytest.raises(InputError, match=r"1\.png is no regular file"):
        list_images(tree)
