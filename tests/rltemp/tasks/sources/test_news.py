import random
from collections.abc import Callable
from pathlib import Path


def test_a_student_learns(learned: Callable[..., float], tmp_path: Path) -> None:
    """Four classes that have a fifth of their words to themselves."""
    rng = random.Random(0)
    for part, count in (("train", 500), ("test", 20)):
        lines = []
        for number in range(count):
            words = [f"word{rng.randrange(100)}" for _ in range(16)] + [f"own{number % 4}{rng.choice('abcd')}"] * 4
            lines.append(f"{' '.join(words)}\tclass {number % 4}\n")
        (tmp_path / f"{part}.tsv").write_text("".join(lines))
    sizes = {"data": {"path": str(tmp_path), "train": 320, "validation": 160}, "policy.probe_size": 64}
    teacher = {"teacher": {"network": {"options": {"width": 8, "channels": 8}}, "train": None, "epochs": 4}}
    assert learned("news", {**sizes, **teacher, "optimization.epochs": 10}) > 0.5
