"""A data set of two photographs in the form of BCCD, in a folder and in an archive."""

import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from rltemp.detection import load_cells
from rltemp.errors import InputError

OBJECT = "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"


def annotation(*objects: tuple[str, int, int, int, int]) -> str:
    return "<annotation>" + "".join(OBJECT.format(*each) for each in objects) + "</annotation>"


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    root = tmp_path / "data" / "BCCD"
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for name, color in (("one", (200, 10, 10)), ("two", (10, 10, 200))):
        Image.new("RGB", (640, 480), color).save(root / "JPEGImages" / f"{name}.jpg")
    (root / "Annotations" / "one.xml").write_text(
        annotation(("RBC", 64, 48, 320, 240), ("Platelets", 0, 0, 640, 480), ("WBC", 5, 5, 5, 9))
    )
    (root / "Annotations" / "two.xml").write_text(annotation())
    (root / "ImageSets" / "Main" / "train.txt").write_text("one\ntwo\n")
    (root / "ImageSets" / "Main" / "val.txt").write_text("two\n")
    return tmp_path / "data"


@pytest.mark.parametrize("packed", [False, True])
def test_boxes_shrink_with_their_image(cells: Path, packed: bool, tmp_path: Path) -> None:
    where = cells
    if packed:
        where = tmp_path / "cells.zip"
        with zipfile.ZipFile(where, "w") as archive:
            for file in cells.rglob("*.*"):
                archive.write(file, file.relative_to(cells))
    found = load_cells(where, "train", width=96, height=72)
    assert found.images.shape == (2, 3, 72, 96)
    # 640 x 480 px become 96 x 72: 15 % of every length; the box without area is left out.
    torch.testing.assert_close(found.boxes[0], torch.tensor([[9.6, 7.2, 48, 36], [0, 0, 96, 72]]))
    assert found.labels[0].tolist() == [1, 3]
    assert found.boxes[1].shape == (0, 4)
    assert found.images[0, 0].min() > 180 > 30 > found.images[0, 2].max()
    assert len(load_cells(where, "val")) == 1


def test_what_is_no_such_data_set_is_refused(cells: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^path must hold BCCD with ImageSets/Main/train.txt, .* does not$"):
        load_cells(tmp_path / "missing", "train")
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(InputError, match=r"^path must be BCCD's folder or a zip archive, got .*text.zip"):
        load_cells(tmp_path / "text.zip", "train")
    with pytest.raises(InputError, match=r"^path must hold BCCD with test.txt, got none"):
        load_cells(cells, "test")
    root = cells / "BCCD"
    (root / "JPEGImages" / "two.jpg").write_bytes(b"\xff\xd8 no picture")
    with pytest.raises(InputError, match=r"^path must hold readable JPEG files, two.jpg is not one"):
        load_cells(cells, "val")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (annotation(("Cat", 1, 1, 2, 2)), "must hold VOC annotations of cells, two.xml is not"),
        ("<annotation>", "must hold VOC annotations of cells, two.xml is not"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><annotation/>", "two.xml has a document type"),
        ("x" * ((1 << 22) + 1), "of at most 4194304 bytes, two.xml has more"),
    ],
)
def test_damaged_annotations_are_refused(cells: Path, text: str, message: str) -> None:
    (cells / "BCCD" / "Annotations" / "two.xml").write_text(text)
    with pytest.raises(InputError, match=message):
        load_cells(cells, "val")
