"""The README's promises: its two commands are there, and its code runs as it stands."""

import re
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_two_commands() -> None:
    assert "pip install uv && uv run rltemp demo" in README
    assert "uv run pytest" in README


def test_reuse_runs_as_it_stands() -> None:
    (block,) = BLOCKS
    generator = torch.Generator().manual_seed(0)
    names: dict[str, Any] = {
        "student_logits": torch.randn(8, 10, generator=generator, requires_grad=True),
        "teacher_logits": 5.0 * torch.randn(8, 10, generator=generator),
        "targets": torch.arange(8),
        "progress": 0.5,
    }
    exec(compile(block, "README.md", "exec"), names)
    loss = names["loss"]
    assert isinstance(loss, torch.Tensor)
    loss.backward()
    assert names["student_logits"].grad.abs().sum() > 0
