from collections.abc import Callable


def test_a_student_learns(learned: Callable[..., float]) -> None:
    data = {"name": "topics", "path": None, "pool": "all", "train": 640, "validation": 400}
    teacher = {"teacher": {"network": {"options": {"width": 8, "channels": 8}}, "train": 1280, "epochs": 3}}
    changes = {"data": data, "policy.probe_size": 64, "optimization.epochs": 4, "optimization.lr": 2.0}
    assert learned("news", {**changes, **teacher}) > 0.35  # of four classes
