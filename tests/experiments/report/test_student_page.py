"""A page about a student shows the instances that it names, by picture where there is one, and stays small."""

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rltemp.data import Dataset
from rltemp.experiments.evaluation.instances import InstanceCourses
from rltemp.experiments.evaluation.results import Evaluation
from rltemp.experiments.report.page import write_report
from rltemp.experiments.report.student_page import StudentLink, write_student_page

Image = pytest.importorskip("PIL.Image")
Make = Callable[..., Evaluation]
MOST_BYTES = 600_000


def courses(instances: int = 40, visits: int = 5) -> InstanceCourses:
    """Instance i has cross-entropy i, and temperature 1 + (7 i mod instances)."""
    progress = np.tile((np.arange(visits) + 0.5) / visits, (instances, 1))
    row = np.arange(instances, dtype=np.float64)[:, None] + np.zeros(visits)
    temperature = 1 + 7 * row % instances
    for values in (progress, row, temperature):
        values[0] = np.nan  # left out by every epoch
    return InstanceCourses(progress, temperature, row)


def page(tmp_path: Path, make_evaluation: Make, images: Tensor, wrong: Tensor | None = None, **shape: int) -> str:
    data = Dataset(images, torch.arange(len(images)) % 10, 10)
    result, path = make_evaluation().results[0], tmp_path / "student.html"
    write_student_page(path, "Student 7 under <mine>", "digits", result, courses(len(images), **shape), data, wrong)
    text = path.read_text(encoding="utf-8")
    write_student_page(path, "Student 7 under <mine>", "digits", result, courses(len(images), **shape), data, wrong)
    assert path.read_text(encoding="utf-8") == text
    assert len(text.encode()) < MOST_BYTES
    assert "<script" not in text
    assert not re.search(r"<mine>|(?:src|href)=\"(?:https?:)?//", text)
    return text


def shown(text: str) -> dict[str, list[int]]:
    """Rows of the instances by the title that they stand below, known by their CE."""
    sections = re.findall(r"<h2>(\w+)</h2>(.*?)</ul>", text, flags=re.DOTALL)
    return {name: [int(float(loss)) for loss in re.findall(r"CE&nbsp;([\d.]+)", part)] for name, part in sections}


def test_it_shows_the_extremes_and_the_mislabelled(tmp_path: Path, make_evaluation: Make) -> None:
    wrong = torch.zeros(40, dtype=torch.bool)
    wrong[[1, 39]] = True
    text = page(tmp_path, make_evaluation, torch.rand(40, 1, 8, 8), wrong)
    by_temperature = sorted(range(1, 40), key=lambda row: 7 * row % 40)
    assert shown(text) == {
        "Hottest": by_temperature[:-13:-1],
        "Coldest": by_temperature[:12],
        "Easiest": list(range(2, 14)),
        "Hardest": list(range(38, 26, -1)),
        "Mislabelled": [39, 1],
    }
    assert text.count('<span class="wrong">') == 2 + sum(
        row in rows for row in (1, 39) for name, rows in shown(text).items() if name != "Mislabelled"
    )
    assert '<a href="../report.html">' in text


def test_without_label_noise_nothing_is_said_of_it(tmp_path: Path, make_evaluation: Make) -> None:
    text = page(tmp_path, make_evaluation, torch.rand(40, 1, 8, 8))
    assert list(shown(text)) == ["Hottest", "Coldest", "Easiest", "Hardest"]
    assert "islabelled" not in text


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_pictures_are_the_instances(channels: int, dtype: torch.dtype, tmp_path: Path, make_evaluation: Make) -> None:
    images = torch.randint(0, 256, (40, channels, 6, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    images[0, 0, 0, :2] = torch.tensor([0, 255])
    given = images if dtype == torch.uint8 else images.float() / 10 - 3
    text = page(tmp_path, make_evaluation, given)
    found = re.findall(r'alt="training instance (\d+), class (\d+)" src="data:image/png;base64,([^"]+)"', text)
    assert len(found) == 4 * 12
    for row, label, content in found:
        with Image.open(io.BytesIO(base64.b64decode(content))) as image:
            pixels = np.asarray(image).reshape(6, 6, channels).transpose(2, 0, 1)
        np.testing.assert_array_equal(pixels, images[int(row)].numpy())
        assert int(label) == int(row) % 10


def test_large_images_are_made_small(tmp_path: Path, make_evaluation: Make) -> None:
    images = torch.randint(0, 256, (40, 3, 224, 160), dtype=torch.uint8)
    text = page(tmp_path, make_evaluation, images, torch.ones(40, dtype=torch.bool), visits=24)
    content = re.findall(r'src="data:image/png;base64,([^"]+)"', text)[0]
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        assert image.size == (34, 48)


@pytest.mark.parametrize("shape", [(40,), (1, 40), (1, 1000)])
def test_signals_are_curves(shape: tuple[int, ...], tmp_path: Path, make_evaluation: Make) -> None:
    text = page(tmp_path, make_evaluation, torch.randn(40, *shape))
    assert text.count('<svg class="signal"') == 4 * 12
    assert "<img" not in text


def test_other_data_have_numbers_alone(tmp_path: Path, make_evaluation: Make) -> None:
    for data in (torch.randint(0, 9, (40, 64)), torch.rand(40, 5, 6, 6)):
        text = page(tmp_path, make_evaluation, data)
        assert "<img" not in text
        assert '<svg class="signal"' not in text
        assert text.count('<svg class="course"') == text.count("CE&nbsp;") == 4 * 12


def test_a_single_visit_is_a_dot_and_one_temperature_a_line_in_the_middle(
    tmp_path: Path, make_evaluation: Make
) -> None:
    text = page(tmp_path, make_evaluation, torch.rand(40, 1, 8, 8), visits=1)
    assert text.count("<circle") == 4 * 12
    still = courses()
    still = InstanceCourses(still.progress, np.where(np.isnan(still.progress), np.nan, 4.0), still.difficulty)
    path, data = tmp_path / "still.html", Dataset(torch.rand(40, 1, 8, 8), torch.zeros(40, dtype=torch.int64), 10)
    write_student_page(path, "Student", "digits", make_evaluation().results[0], still, data, None)
    heights = {y for line in re.findall(r'class="course".*?points="([^"]+)"', path.read_text()) for y in line.split()}
    assert {height.split(",")[1] for height in heights} == {"20.0"}


def test_the_report_links_its_pages(tmp_path: Path, make_evaluation: Make) -> None:
    links: list[Any] = [StudentLink("students/a-1.html", "Student 1 under <a>")]
    write_report(tmp_path / "with.html", make_evaluation(), students=links)
    write_report(tmp_path / "without.html", make_evaluation())
    assert '<a href="students/a-1.html">Student 1 under &lt;a&gt;</a>' in (tmp_path / "with.html").read_text()
    assert "Single students" not in (tmp_path / "without.html").read_text()
