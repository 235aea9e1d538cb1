"""The environment and the agent of docs/uses.md run."""

import re
from pathlib import Path

from rltemp import LearnedPolicy

PAGE = (Path(__file__).parents[2] / "docs" / "uses.md").read_text(encoding="utf-8")


def test_they_run_as_they_stand() -> None:
    """With fewer rollouts and students than the page's, which would take half a minute."""
    block = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[-1]
    short = block.replace('"agent.rollouts": 2', '"agent.rollouts": 1, "agent.students": 2, "teacher.epochs": 1')
    assert short != block
    names: dict[str, object] = {}
    exec(compile(short, "uses.md", "exec"), names)
    policy = names["policy"]
    assert isinstance(policy, LearnedPolicy)
    assert "alignment" in policy.needs
