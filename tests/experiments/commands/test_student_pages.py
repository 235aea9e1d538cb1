"""Pages that cannot be made are refused before any work."""

import pytest

from rltemp.errors import InputError
from rltemp.experiments.commands.student_pages import check_student_pages
from rltemp.experiments.evaluation.specs import parse_policies
from rltemp.recipes import change_recipe, load_recipe


def test_images_on_disk_have_no_pages() -> None:
    recipe = change_recipe(load_recipe("digits"), {"data.name": "folder", "data.in_memory": False})
    specs = parse_policies("dtkd")
    with pytest.raises(InputError, match=r"^data\.in_memory must be true for --student-pages, got false$"):
        check_student_pages(recipe, specs, 1)
    check_student_pages(recipe, specs, 0)
    check_student_pages(load_recipe("digits"), specs, 1)
