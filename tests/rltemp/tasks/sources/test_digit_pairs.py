from collections.abc import Callable


def test_a_student_learns(learned: Callable[..., float]) -> None:
    data = {"name": "digit-pairs", "pool": "all", "train": 960, "validation": 400, "shift": 0, "noise": 0.0}
    teacher = {"network": {"options": {"hidden": [64]}}, "members": 1, "train": 2880, "epochs": 4, "shift": 0}
    changes = {"data": data, "teacher": teacher, "policy.probe_size": 64, "optimization.epochs": 6}
    assert learned("digits-short", changes) > 0.1  # of a hundred classes
