from collections.abc import Callable


def test_a_student_learns(learned: Callable[..., float]) -> None:
    sizes = {"data": {"train": 640, "validation": 400}, "teacher": {"train": None, "epochs": 6}}
    teacher = {"teacher.network.options": {"channels": [8, 16]}}
    assert learned("mnist1d", {**sizes, **teacher, "optimization.epochs": 8}) > 0.25  # of ten classes
