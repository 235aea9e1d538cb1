"""The KD run itself: students side by side, their teacher, their minibatches, and their scores."""

from rltemp.distillation.run import DistillationRun, ForwardPass
from rltemp.distillation.scores import Fidelity, Scores, clean_logits, fidelity, score, score_logits
from rltemp.distillation.students import LoopStudents, StackedStudents, Students
from rltemp.distillation.task import Task
from rltemp.distillation.teacher import Teacher

__all__ = [
    "DistillationRun",
    "Fidelity",
    "ForwardPass",
    "LoopStudents",
    "Scores",
    "StackedStudents",
    "Students",
    "Task",
    "Teacher",
    "clean_logits",
    "fidelity",
    "score",
    "score_logits",
]
