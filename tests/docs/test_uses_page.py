"""The environment and the agent of docs/uses.md run."""

import re
from pathlib import Path

from rltemp import LearnedPolicy

PAGE = (Path(__file__).parents[2] / "docs" / "uses.md").read_text(encoding="utf-8")


def test_they_run_as_they_stand() -> None:
    """With fewer rollouts, students and epochs of the teacher than the page's, which would take half a minute."""
    (block,) = re.findall(r"<!-- tests/docs/test_uses_page.py runs this -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    quick = {
        'Distillation-v0"': 'Distillation-v0", teacher={"epochs": 1}',
        "students=4": 'students=4, teacher={"epochs": 1}',
        '"agent.rollouts": 2': '"agent": {"rollouts": 1, "students": 2}, "teacher.epochs": 1, "optimization.epochs": 1',
    }
    for slow, fast in quick.items():
        assert slow in block
        block = block.replace(slow, fast)
    names: dict[str, object] = {}
    exec(compile(block, "uses.md", "exec"), names)
    policy = names["policy"]
    assert isinstance(policy, LearnedPolicy)
    assert "alignment" in policy.needs
