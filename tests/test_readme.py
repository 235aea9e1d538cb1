"""The README's promises: its two commands are there, and its code runs as it stands."""

import re
from pathlib import Path

import pytest
import torch

from rltemp import LearnedPolicy
from rltemp.networks import MLP

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_two_commands() -> None:
    assert "pip install uv && uv run rltemp demo" in README
    assert "uv run pytest" in README


def test_every_linked_file_exists() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("number", [0, 1])
def test_reuse_runs_as_it_stands(number: int) -> None:
    generator = torch.Generator().manual_seed(0)
    student = MLP([64, 16, 10], generator)
    images, targets = torch.rand(8, 64, generator=generator), torch.arange(8)
    names = {
        "student": student,
        "images": images,
        "student_logits": student(images),
        "teacher_logits": 5.0 * torch.randn(8, 10, generator=generator),
        "targets": targets,
        "probe_images": torch.rand(20, 64, generator=generator),
        "probe_targets": torch.arange(20) % 10,
        "progress": 0.5,
    }
    exec(compile(BLOCKS[number], "README.md", "exec"), names)
    loss = names["loss"]
    assert isinstance(loss, torch.Tensor)
    loss.backward()
    assert all(parameter.grad is not None for parameter in student.parameters())


def test_the_environment_and_the_agent_run_as_they_stand() -> None:
    """With fewer rollouts and students than the README's, which would take half a minute."""
    short = BLOCKS[2].replace('"agent.rollouts": 2', '"agent.rollouts": 1, "agent.students": 2, "teacher.epochs": 1')
    assert short != BLOCKS[2]
    names: dict[str, object] = {}
    exec(compile(short, "README.md", "exec"), names)
    policy = names["policy"]
    assert isinstance(policy, LearnedPolicy)
    assert "alignment" in policy.needs
