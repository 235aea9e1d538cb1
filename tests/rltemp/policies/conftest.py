"""A policy that has been saved."""

from pathlib import Path

import pytest

from rltemp import save_policy
from tests.rltemp.policies.saved import policy_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_policy(policy_of(), tmp_path / "policy")
