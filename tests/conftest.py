"""A distillation problem so small that whole runs of it are tests."""

import signal
from collections.abc import Iterator

import pytest
import torch

from rltemp.distillation import Task
from rltemp.recipes import Recipe, load_recipe
from rltemp.tasks import build_task

torch.set_num_threads(1)
# A shell's background jobs ignore Ctrl-C, and hand that down: the programs under test must not.
signal.signal(signal.SIGINT, signal.default_int_handler)

TINY = {
    "data": {"train": 64, "validation": 50},
    "teacher": {"network": {"options": {"hidden": [8]}}, "members": 1, "epochs": 2},
    "student": {"options": {"hidden": [8]}},
    "optimization": {"epochs": 1, "batch_size": 8},
    "policy": {"probe_size": 32},
}


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Teachers of the tests are kept apart from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RLTEMP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_recipe() -> Recipe:
    """Digits with 64 training images: one epoch of 8 updates on 8 instances, student 64-8-10."""
    return load_recipe("digits-short", TINY)


@pytest.fixture(scope="session")
def tiny_task(tiny_recipe: Recipe) -> Task:
    """The task of `tiny_recipe`."""
    return build_task(tiny_recipe)
